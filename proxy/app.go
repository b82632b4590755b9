package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/session"
)

// retryOutage is when a client is told to come back while Redis is away. The breaker asks Redis
// several times a second, so the first retry after its return succeeds.
const retryOutage = 2 * time.Second

// serveApp decides who may pass, and passes the request on, or tells the web server that asks that it may.
func (g *Gateway) serveApp(w http.ResponseWriter, r *http.Request) {
	s := stateOf(r)
	decision, no := g.decide(s.path)
	if no != nil {
		s.Error = no.Reason
		g.refuse(w, r, &refusal{status: no.Status, code: "bad_request",
			tell: "The address of this request can be read in more than one way, so it was not passed on."})
		return
	}
	s.decision = decision
	if s.about == nil {
		s.Rule = decision.Name
	}
	// Before anything is looked up: who is over the limit costs no more than this.
	if !g.allowAddress(w, r, s) {
		return
	}
	if no := g.admit.body(r, s); no != nil {
		s.Error = no.reason
		g.refuse(w, r, no)
		return
	}
	if isWebSocket(r) && !g.admitWebSocket(w, r, s) {
		return
	}

	err := g.authenticate(w, r)
	if !g.allowUser(w, r, s) {
		return
	}
	if decision.Access == config.Protected {
		switch {
		case errors.Is(err, session.ErrUnavailable):
			s.Error = err.Error()
			g.Pages.Problem(w, r, pages.Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", RetryAfter: retryOutage,
				Message: "Who you are cannot be checked at the moment. You are not logged out; please try again shortly."})
			return
		case err != nil:
			g.unauthenticated(w, r)
			return
		case !decision.Allows(s.session.Role):
			s.Error = "role " + s.session.Role + " may not pass"
			g.Pages.Problem(w, r, pages.Problem{Status: http.StatusForbidden, Code: "forbidden",
				Message: "You are logged in, but not allowed to see this page."})
			return
		}
	}
	if s.about != nil {
		g.allow(w, r)
		return
	}
	g.Forward.ServeHTTP(w, r)
}

// decide asks the rules. The form of the application's own login is public whatever they say:
// behind a protected one nobody could ever log in.
func (g *Gateway) decide(p Path) (Decision, *Refusal) {
	d, no := g.rules.Decide(p)
	if no == nil && g.login.app && (p.Raw == g.login.form || g.login.completion[p.Raw]) {
		d.Name, d.Access = "login", config.Public
	}
	return d, no
}

// authenticate looks the request's session up. A request without one is told from one whose
// session could not be looked up: only the error session.ErrUnavailable says the latter, and the
// cookie is never touched for it.
func (g *Gateway) authenticate(w http.ResponseWriter, r *http.Request) error {
	s := stateOf(r)
	token, n := g.Cookies.Read(r.Header)
	if n == 0 {
		return g.authenticateApp(w, r)
	}
	resp, _ := w.(*response)
	if n > 1 {
		// Two cookies of the name: a sibling domain has tossed one (S01). Which one is ours cannot
		// be told, so neither is, and the browser is asked to forget what it has.
		s.Error = "more than one session cookie"
		resp.cookie = g.Cookies.Clear()
		return session.ErrNotFound
	}
	found, err := g.Sessions.Find(r.Context(), token)
	if errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrUnavailable) {
		return g.authenticateApp(w, r)
	}
	if err != nil {
		return err
	}
	s.use(found, token)
	if found.Renew {
		resp.cookie = g.Cookies.Set(token, found.ExpiresAt.Sub(g.Clock()))
	}
	return nil
}

// authenticateApp is authenticate for who logged in before the gateway came and has the application's
// cookie (design: Migration). Its session's new token, once there is one, goes with the answer.
func (g *Gateway) authenticateApp(w http.ResponseWriter, r *http.Request) error {
	app, ok := g.AppCookie.Read(r.Header)
	if !ok {
		return session.ErrNotFound
	}
	found, err := g.Sessions.FindApp(r.Context(), app)
	if err != nil {
		return err
	}
	stateOf(r).use(found, found.Token)
	resp, _ := w.(*response)
	switch lasts := found.ExpiresAt.Sub(g.Clock()); {
	case found.Token != "":
		resp.cookie = g.Cookies.Set(found.Token, lasts)
	case found.Renew:
		resp.cookie = g.AppCookie.Set(app, lasts)
	}
	return nil
}

// unauthenticated sends people to the login page and tells programs 401 (design: A request's story).
// The request's body is never passed on, nor kept: it would be replayed under another session (L07).
func (g *Gateway) unauthenticated(w http.ResponseWriter, r *http.Request) {
	s := stateOf(r)
	w.Header().Set("Cache-Control", "no-store")
	how := ""
	if s.decision.Rule != nil {
		how = s.decision.Rule.Unauthenticated
	}
	next := s.path.Raw
	if s.path.Query != "" {
		next += "?" + s.path.Query
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		next = refererPath(r)
	}
	if how == "json" || pages.IsGRPC(r) || how == "" && (pages.WantsJSON(r) || isWebSocket(r)) {
		g.Pages.JSON(w, r, pages.Problem{Status: http.StatusUnauthorized, Code: "unauthenticated",
			Message: "This needs a session. Log in and try again.", LoginURL: g.loginURL(next)})
		return
	}
	w.Header().Set("Location", g.loginURL(next))
	w.WriteHeader(http.StatusSeeOther)
}

// refererPath is the page a form was on, to come back to: the request itself cannot be repeated
// after login without its body.
func refererPath(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || !strings.EqualFold(u.Host, r.Host) || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	next := u.EscapedPath()
	if u.RawQuery != "" {
		next += "?" + u.RawQuery
	}
	return next
}
