package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// sessionsPath is where the proxy serves Sessions.
const sessionsPath = "/.gatehouse/sessions"

// Sessions answers every request at /.gatehouse/sessions, where people see and end their own sessions. GET
// and HEAD list them, as a page or as JSON. POST ends some (order):
//
//   - another one, or all others: 303 back to the page, which says what has happened; programs get
//     200 {"ended": n};
//   - this one, alone or with all: as Logout does, cookies and all;
//   - 404 for an ID that is none of the caller's live sessions, whatever else it may be;
//   - 503 when Redis could not confirm: this replica refuses what was ended from now on, and goes on telling Redis.
//
// Without a session people are led to the login and programs get 401; while nobody can tell, it is 503 and the
// cookie stays.
func (h *Handler) Sessions(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := methods(w, r, "GET, HEAD, POST", http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
		h.refuseSessions(w, r, err)
		return
	}
	var o order
	if r.Method == http.MethodPost {
		var err error
		if o, err = h.readOrder(w, r); err != nil {
			h.refuseSessions(w, r, err)
			return
		}
	}
	c, err := h.caller(w, r)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		h.cannotTell(w, r, err)
	case err != nil:
		h.leadToLogin(w, r)
	case r.Method == http.MethodPost:
		h.obey(w, r, c, o)
	default:
		h.list(w, r, c)
	}
}

// caller is who asks.
type caller struct {
	session.Session
	// token is the gateway's that names the session, "" when the application's cookie does.
	token string
	// renewed is the cookie this request's answer should send; nil: none.
	renewed *http.Cookie
}

// caller looks the session up as the proxy does for the application's pages. Errors: session.ErrNotFound,
// session.ErrUnavailable.
func (h *Handler) caller(w http.ResponseWriter, r *http.Request) (*caller, error) {
	token, n := h.deps.Cookies.Read(r.Header)
	if n > 1 {
		http.SetCookie(w, h.deps.Cookies.Clear()) // S01
		return nil, session.ErrNotFound
	}
	c := &caller{token: token}
	err := session.ErrNotFound
	if n == 1 {
		if c.Session, err = h.deps.Sessions.Find(r.Context(), token); err == nil && c.Renew {
			c.renewed = h.deps.Cookies.Set(token, c.ExpiresAt.Sub(h.deps.Clock()))
		}
	}
	if errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrUnavailable) {
		err = h.appCaller(r, c)
	}
	if err != nil {
		return nil, err
	}
	facts := telemetry.RequestFrom(r.Context())
	facts.UserID, facts.Session, facts.Source = c.User.ID, c.ID.Short(), string(c.Source)
	return c, nil
}

// appCaller is caller for who has the application's cookie only, while sessions move.
func (h *Handler) appCaller(r *http.Request, c *caller) (err error) {
	c.token = ""
	app, ok := h.deps.AppCookie.Read(r.Header)
	if !ok {
		return session.ErrNotFound
	}
	if c.Session, err = h.deps.Sessions.FindApp(r.Context(), app); err != nil {
		return err
	}
	switch lasts := c.ExpiresAt.Sub(h.deps.Clock()); {
	case c.Token != "":
		c.renewed = h.deps.Cookies.Set(c.Token, lasts)
	case c.Renew:
		c.renewed = h.deps.AppCookie.Set(app, lasts)
	}
	return nil
}

// keep sends the cookie again where that is due. Answers that log out do not.
func (c *caller) keep(w http.ResponseWriter) {
	if c.renewed != nil {
		http.SetCookie(w, c.renewed)
	}
}

// list answers a GET.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, c *caller) {
	own, err := h.ownSessions(r.Context(), c)
	if err != nil {
		h.cannotTell(w, r, err)
		return
	}
	c.keep(w)
	if pages.WantsJSON(r) {
		h.writeJSON(w, r, sessionsJSON(own, c))
		return
	}
	h.showSessions(w, r, http.StatusOK, c, own, happened(r))
}

// ownSessions are the caller's live sessions: this one first, then those seen last. This one is among them
// whatever the index of sessions says. Error: session.ErrUnavailable.
func (h *Handler) ownSessions(ctx context.Context, c *caller) ([]*session.Record, error) {
	own, err := h.deps.Sessions.List(ctx, c.User.ID)
	if err != nil {
		return nil, err
	}
	here := func(rec *session.Record) bool { return rec.ID == c.ID }
	if !slices.ContainsFunc(own, here) {
		own = append(own, c.Record)
	}
	slices.SortStableFunc(own, func(a, b *session.Record) int {
		if here(a) != here(b) {
			return map[bool]int{true: -1, false: 1}[here(a)]
		}
		return b.LastAccessed.Compare(a.LastAccessed)
	})
	return own, nil
}

// showSessions writes the page.
func (h *Handler) showSessions(w http.ResponseWriter, r *http.Request, status int, c *caller, own []*session.Record, message string) {
	v := pages.SessionsView{Action: sessionsPath, User: nameOf(c.User), Message: message, Failed: status >= 400, Now: h.deps.Clock()}
	for _, rec := range own {
		v.Sessions = append(v.Sessions, pages.SessionView{
			ID: rec.ID.String(), Device: device(rec.UserAgent), UserAgent: rec.UserAgent, Address: rec.IP, Current: rec.ID == c.ID,
			LoggedIn: rec.CreatedAt, LastSeen: rec.LastAccessed, Ends: rec.ExpiresAt,
		})
	}
	h.deps.Pages.Sessions(w, r, status, v)
}

// nameOf is what people know an account by.
func nameOf(u session.User) string {
	for _, name := range []string{u.Name, u.Email} {
		if name != "" {
			return name
		}
	}
	return u.ID
}

// sessionJSON is a session for programs.
type sessionJSON struct {
	ID           string    `json:"id"`
	Current      bool      `json:"current"`
	Device       string    `json:"device"`
	UserAgent    string    `json:"userAgent,omitempty"`
	IP           string    `json:"ip,omitempty"`
	CreatedAt    time.Time `json:"createdAt"`
	LastAccessed time.Time `json:"lastAccessed"`
	ExpiresAt    time.Time `json:"expiresAt"`
}

func sessionsJSON(own []*session.Record, c *caller) any {
	all := make([]sessionJSON, 0, len(own))
	for _, rec := range own {
		all = append(all, sessionJSON{
			ID: rec.ID.String(), Current: rec.ID == c.ID, Device: device(rec.UserAgent), UserAgent: rec.UserAgent, IP: rec.IP,
			CreatedAt: rec.CreatedAt, LastAccessed: rec.LastAccessed, ExpiresAt: rec.ExpiresAt,
		})
	}
	return map[string]any{"sessions": all}
}

// happened is what the page says after a POST. The address only chooses among our own sentences, and a link
// on another site chooses none: nobody is to be told that their stolen session has ended when it has not.
func happened(r *http.Request) string {
	if from := r.Header.Get("Sec-Fetch-Site"); from != "" && from != "same-origin" {
		return ""
	}
	return outcomes[r.URL.Query().Get("done")]
}

// leadToLogin answers who has no session.
func (h *Handler) leadToLogin(w http.ResponseWriter, r *http.Request) {
	location := h.cfg.Path + "?" + url.Values{fieldNext: {sessionsPath}}.Encode()
	if pages.WantsJSON(r) {
		h.deps.Pages.JSON(w, r, pages.Problem{Status: http.StatusUnauthorized, Message: "This needs a session. Log in and try again.", LoginURL: location})
		return
	}
	seeOther(w, location)
}

// cannotTell answers while the store is away. Nothing has been ended, and the cookie stays.
func (h *Handler) cannotTell(w http.ResponseWriter, r *http.Request, err error) {
	telemetry.RequestFrom(r.Context()).Error = "sessions: " + err.Error()
	message := "Your sessions cannot be looked up at the moment. You are not logged out; please try again shortly."
	if r.Method == http.MethodPost {
		message = "Your sessions cannot be looked up at the moment, so none was ended. You are not logged out; please try again shortly."
	}
	h.deps.Pages.Problem(w, r, pages.Problem{Status: http.StatusServiceUnavailable, RetryAfter: retryUnavailable, Message: message})
}

// refuseSessions answers a request that is none for this page. It counts as none of the logins.
func (h *Handler) refuseSessions(w http.ResponseWriter, r *http.Request, err error) {
	o := judge(err)
	telemetry.RequestFrom(r.Context()).Error = fmt.Sprintf("sessions: %s", o.reason)
	h.deps.Pages.Problem(w, r, o.problem(""))
}
