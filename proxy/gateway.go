// Package proxy is the path of a request through the gateway: it is judged, its client's identity
// headers are deleted, the rules decide, the session is looked up, and the application gets it with
// the identity headers of its user (design: A request's story).
package proxy

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// Sessions is what the proxy asks of [session.Manager].
type Sessions interface {
	Find(ctx context.Context, token string) (session.Session, error)
	FindApp(ctx context.Context, app session.AppToken) (session.Session, error)
	Check(ctx context.Context, key session.Key) (session.Session, error)
	Stores(ctx context.Context) map[string]error
}

// LoginHandler answers at the login and logout paths, and at /.gatehouse/sessions.
type LoginHandler interface {
	Login(w http.ResponseWriter, r *http.Request)
	Logout(w http.ResponseWriter, r *http.Request)
	Sessions(w http.ResponseWriter, r *http.Request)
}

// Vault keeps cookies of the application in the session and out of the browser (I07).
type Vault interface {
	// Outgoing gives the Cookie header for the application out of the client's.
	Outgoing(rec *session.Record, token, path, client string) (string, error)
	// Incoming takes the vault's Set-Cookie lines out of h and keeps them.
	Incoming(ctx context.Context, rec *session.Record, token, path string, h http.Header) error
}

// Deps are the parts the gateway is put together from. Vault is nil unless the application's own
// form is the login backend.
type Deps struct {
	Sessions Sessions
	Cookies  session.Cookies
	// AppCookie is nil unless sessions move from the application's table.
	AppCookie *session.AppCookie
	Login     LoginHandler
	Forward   *Forwarder
	Streams   *Streams
	Pages     *pages.Pages
	Log       zerolog.Logger
	Metrics   *telemetry.Metrics
	Clock     func() time.Time
}

// Gateway is the handler of the public listener.
type Gateway struct {
	Deps
	cfg      *config.Config
	rules    *Rules
	scrubber *Scrubber
	admit    admission
	limits   perRule[*requestLimits]
	asks     verifier
	login    loginPaths
	ready    readiness
	draining atomic.Bool
	handler  http.Handler
}

// loginPaths are the paths the login handler answers, compared with the raw path of the request
// (I01: POST /login/%2e%2e/uploads/e.json is no login).
type loginPaths struct {
	app        bool // the application's own form: only POST is ours
	form       string
	logout     string
	completion map[string]bool
	spellings  map[string]bool // form and completion, folded
}

func (p *loginPaths) set(cfg config.Login) {
	*p = loginPaths{app: cfg.Backend == "app", form: cfg.Path, logout: cfg.LogoutPath, completion: make(map[string]bool)}
	for _, path := range cfg.App.CompletionPaths {
		p.completion[path] = true
	}
	p.spellings = make(map[string]bool)
	for _, path := range append([]string{cfg.Path}, cfg.App.CompletionPaths...) {
		if folded, no := foldPath(path); no == nil {
			folded = strings.TrimRight(folded, "/")
			p.spellings[folded], p.spellings[withoutSuffix(folded)] = true, true
		}
	}
}

// takes reports whether a request is a login: the gateway's page whatever the method, or a POST to
// the application's form.
func (p *loginPaths) takes(method, raw string) bool {
	if !p.app {
		return raw == p.form
	}
	return method == http.MethodPost && (raw == p.form || p.completion[raw])
}

// New puts the gateway together. cfg must have come from config.Load.
func New(cfg *config.Config, deps Deps) *Gateway {
	g := &Gateway{
		Deps:     deps,
		cfg:      cfg,
		rules:    deps.Forward.rules,
		scrubber: deps.Forward.scrubber,
		admit:    newAdmission(cfg, deps.Forward.hop),
		asks:     newVerifier(cfg),
	}
	g.limits = newRequestLimits(cfg.RequestLimits, g.rules, deps.Clock)
	g.login.set(cfg.Login)
	g.ready = readiness{sessions: deps.Sessions, dial: deps.Forward.Reach, clock: deps.Clock, log: deps.Log}
	g.handler = g.chain()
	return g
}

// chain is the whole path of a request, outermost last.
func (g *Gateway) chain() http.Handler {
	var h http.Handler = http.HandlerFunc(g.route)
	h = g.scrub(h)   // no header of the client's says who it is
	h = g.judge(h)   // method, target, host and limits, or a refusal
	h = g.verify(h)  // a request a web server asks about takes the place of the one that asks
	h = g.survive(h) // a panic is one request's 500
	h = g.observe(h) // id, client address, access line, metrics
	return h
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handler.ServeHTTP(w, r) }

// Drain makes the gateway say that it is not ready, for load balancers to go elsewhere.
func (g *Gateway) Drain() { g.draining.Store(true) }

// scrub deletes every header by which a client could pose as a user or as a proxy (H01, H02, H04),
// on every path, public ones too, and upgrades the rules do not know.
func (g *Gateway) scrub(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.scrubber.Scrub(r.Header)
		// After a 101 the bytes of a connection are not judged any more, so the only upgrade is
		// WebSocket, by GET (X02). Without these two headers an app has nothing to agree to.
		r.Header.Del("HTTP2-Settings")
		if r.Header.Get("Upgrade") != "" && !isWebSocket(r) {
			r.Header.Del("Upgrade")
		}
		next.ServeHTTP(w, r)
	})
}

// route sends the request to whoever answers it.
func (g *Gateway) route(w http.ResponseWriter, r *http.Request) {
	s := stateOf(r)
	path := s.path.Raw
	if s.about != nil {
		if what := g.endpointFor(r.Method, s.path); what != "" {
			g.ownPath(w, r, what)
			return
		}
	}
	switch {
	case s.path.Asterisk:
		g.serveAsterisk(w, r)
	case isGatewayPath(s.path.Match):
		g.serveEndpoint(w, r)
	case path == g.login.logout:
		s.Rule = "logout"
		g.Login.Logout(w, r)
	case g.login.takes(r.Method, path):
		s.Rule = "login"
		g.Login.Login(w, r)
	case r.Method == http.MethodPost && g.login.resembles(s.path):
		// The application may take it for its login: without limit, and its cookie would go to the
		// browser without any session of the gateway's.
		s.Error = "POST to another spelling of login.path or completion_paths"
		g.refuse(w, r, &refusal{status: http.StatusBadRequest, code: "bad_request", tell: "This is not how the address of the login is written here."})
	default:
		g.serveApp(w, r)
	}
}

// resembles reports whether some application may take a path for its login that is spelled otherwise
// in the settings: other case, a slash or a suffix at the end (/Login, /login/, /login.json, /login;x).
func (p *loginPaths) resembles(path Path) bool {
	if !p.app || path.Raw == p.form || p.completion[path.Raw] {
		return false
	}
	folded, no := foldPath(path.Match)
	if no != nil {
		return false // refused by the rules
	}
	folded, _, _ = strings.Cut(folded, ";")
	folded = strings.TrimRight(folded, "/. ")
	return p.spellings[folded] || p.spellings[withoutSuffix(folded)]
}

// withoutSuffix cuts one .json, .html or the like off the last segment.
func withoutSuffix(path string) string {
	if dot := strings.LastIndexByte(path, '.'); dot > strings.LastIndexByte(path, '/')+1 {
		return path[:dot]
	}
	return path
}

// loginURL is where people without a session are sent, with the page to come back to.
func (g *Gateway) loginURL(next string) string {
	const tooLong = 2048 // of a URL inside a URL, many servers stop at 8 KiB for the line
	if next == "" || next == "/" || len(next) > tooLong {
		return g.login.form
	}
	return g.login.form + "?" + url.Values{"next": {next}}.Encode()
}
