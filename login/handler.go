// Package login is who somebody is: the backends that check credentials, and the handlers of
// login and logout that turn a checked credential into a session and end it again.
package login

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/login/hashing"
	"gatehouse/pages"
	"gatehouse/ratelimit"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// Sessions is what login needs of *session.Manager.
type Sessions interface {
	Find(ctx context.Context, token string) (session.Session, error)
	FindApp(ctx context.Context, app session.AppToken) (session.Session, error)
	Begin(ctx context.Context) (session.Epoch, error)
	Create(ctx context.Context, l session.Login) (string, *session.Record, error)
	// Revoke ends the session under key. userID is "" when the store could not be asked whose it is.
	Revoke(ctx context.Context, key session.Key, userID string) error
	// List and RevokeUser are for the page on which people see and end their own sessions.
	List(ctx context.Context, userID string) ([]*session.Record, error)
	RevokeUser(ctx context.Context, userID string, except ...session.ID) (int, error)
}

// Application sends requests to the application the way proxied requests are sent. The proxy
// implements it.
type Application interface {
	// Send makes a request out of the client's request in: its headers scrubbed of identity and
	// forwarding headers, then set overriding (a nil value deletes); method, target (origin-form) and
	// body replaced. Cookies: the header "Cookie" of set if present, else the client's without the
	// gateway's cookie. It is never retried (X10). The caller closes the body.
	Send(ctx context.Context, in *http.Request, method, target string, set http.Header, body []byte) (*http.Response, error)
	// Fail answers a request that Send failed for (502, 504, 499).
	Fail(w http.ResponseWriter, r *http.Request, err error)
	// Relay writes the application's answer to the client, without hop-by-hop and identity headers and
	// without a Set-Cookie of the gateway's cookie.
	Relay(w http.ResponseWriter, r *http.Request, resp *http.Response)
}

// Limits are rate limits that all replicas share; *session.RedisStore has them.
type Limits interface {
	// Take takes one event from a bucket of burst events, refilled at perSecond. An error means that
	// nobody knows.
	Take(ctx context.Context, name string, perSecond float64, burst int) (retryAfter time.Duration, ok bool, err error)
}

// Deps are what the handler works with.
type Deps struct {
	Sessions Sessions
	Cookies  session.Cookies
	// AppCookie is nil unless sessions move from the application's table.
	AppCookie *session.AppCookie
	Pages     *pages.Pages
	// App and Vault are only for backend app.
	App   Application
	Vault *Vault
	// Database is only for backend database; *database.DB is one.
	Database database.Querier
	// Hashes is where passwords are hashed; nil: in this process.
	Hashes *hashing.Worker
	// Limits make the limits hold over all replicas together; nil: each replica counts for itself.
	Limits Limits
	Log    zerolog.Logger
	// Metrics may be nil.
	Metrics *telemetry.Metrics
	// Clock is time.Now when nil.
	Clock func() time.Time
	// PublicURL is the origin people type; nil when unknown. TrustedOrigins are further origins that may post.
	PublicURL      *url.URL
	TrustedOrigins []string
}

// maxLimitKeys bounds each limiter: about 200 bytes per key, so some 13 MiB at worst (L03).
const maxLimitKeys = 1 << 16

// Handler answers login and logout. It is safe for concurrent use.
type Handler struct {
	cfg       config.Login
	deps      Deps
	origins   *http.CrossOriginProtection
	addresses *ratelimit.Limiter
	accounts  *ratelimit.Limiter
	backend   backend
	// plain says once that Secure cookies go out over plain http.
	plain sync.Once
}

// NewHandler chooses the backend by cfg and starts it. Errors are the operator's: an origin that is
// none, a user file that cannot be read. Close stops what it starts.
func NewHandler(cfg config.Login, deps Deps) (*Handler, error) {
	if deps.Clock == nil {
		deps.Clock = time.Now
	}
	origins, err := newOrigins(deps.PublicURL, deps.TrustedOrigins)
	if err != nil {
		return nil, err
	}
	limiter := func(rate config.Rate) *ratelimit.Limiter {
		return ratelimit.New(rate.PerSecond(), cfg.Limits.Burst, maxLimitKeys, deps.Clock)
	}
	h := &Handler{
		cfg: cfg, deps: deps, origins: origins,
		addresses: limiter(cfg.Limits.PerAddress), accounts: limiter(cfg.Limits.PerAccount),
	}
	h.backend, err = newBackend(cfg, h)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	return h, nil
}

// Login answers every request at the login path (backends file and database) or a POST there or at a completion path (backend app).
func (h *Handler) Login(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // S13
	h.backend.serveLogin(w, r)
}

// Close stops the backend.
func (h *Handler) Close() error { return h.backend.close() }
