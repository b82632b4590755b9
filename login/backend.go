package login

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gatehouse/config"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// The names of the backends, as they stand in the config, in records, logs and metrics.
const (
	BackendFile     = "file"
	BackendApp      = "app"
	BackendDatabase = "database"
)

// backend knows who somebody is. What every login needs whoever vouches for the user (origin
// check, limits, the session, the cookie, audit lines) is done by [Handler], whose helpers in
// this file the backends call; so no backend can forget how, only that.
type backend interface {
	// name is BackendFile, BackendApp or BackendDatabase.
	name() string
	// serveLogin answers a request that Handler.Login was given.
	// Cache-Control: no-store is set already.
	serveLogin(w http.ResponseWriter, r *http.Request)
	// logout ends what the backend itself keeps of the user's visit. It is called after the session
	// has been revoked (or refused by this replica at least). rec is nil when the browser had no
	// session or the store could not be asked; token is "" when the browser sent none. r's body
	// (64 KB at most) is there to be sent on. An error does not undo the logout: it is logged.
	logout(ctx context.Context, r *http.Request, rec *session.Record, token string) (appLogout, error)
	// close releases what newXBackend started.
	close() error
}

// appLogout is what the application answered to a logout.
type appLogout struct {
	// Location the application wants the browser to go to; followed when it is a safe path (SafeNext)
	// and the form named no next. "" = none.
	Location string
	// SetCookie are lines for the browser, relayed as they are. The backend has already removed those of
	// the gateway's cookie.
	SetCookie []string
}

// newBackend chooses by the config. Backend app is made by
// newAppBackend(cfg config.Login, h *Handler) (backend, error).
func newBackend(cfg config.Login, h *Handler) (backend, error) {
	switch cfg.Backend {
	case BackendApp:
		return newAppBackend(cfg, h)
	case BackendDatabase:
		return newDatabaseBackend(cfg, h)
	case BackendFile, "":
		return newFileBackend(cfg, h)
	default:
		return nil, errors.New("login.backend is " + cfg.Backend + ", which is none: write file, app or database")
	}
}

// admit does what comes before any credential is looked at: the origin check, then the limit of the
// client's address. Errors: ErrCrossSite, *LimitError. Pass them to refuse.
func (h *Handler) admit(r *http.Request) error {
	if err := h.sameOrigin(r); err != nil {
		return err
	}
	return h.allowAddress(r)
}

// begin takes the login's epoch. Call it BEFORE a credential is checked: a revoke-all that comes
// between the check and the session would otherwise be missed by this session (S06).
// Error: session.ErrUnavailable.
func (h *Handler) begin(ctx context.Context) (session.Epoch, error) {
	return h.deps.Sessions.Begin(ctx)
}

// establish makes the session of a user who has proved who they are and puts its cookie into w's
// header; the caller writes the answer. User, Began and Secrets are the caller's; the backend's
// name, address, user agent and the session that ends for it (S03) are filled in here. It writes
// the audit line and the metric of a success. On an error nothing is written or counted: pass it
// to refuse, or to failed when the answer is not the gateway's.
// Errors: session.ErrUnavailable, ErrSuperseded, ErrLimit, ErrTooLarge.
func (h *Handler) establish(w http.ResponseWriter, r *http.Request, l session.Login) (*session.Record, error) {
	facts := telemetry.RequestFrom(r.Context())
	l.Backend = h.backend.name()
	l.UserAgent = r.UserAgent()
	if facts.Client.IsValid() {
		l.IP = facts.Client.String()
	}
	// A token that was preset is never adopted (S03); what it names ends.
	l.Previous, _ = h.deps.Cookies.Read(r.Header)
	l.PreviousApp, _ = h.deps.AppCookie.Read(r.Header)
	token, rec, err := h.deps.Sessions.Create(r.Context(), l)
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, h.deps.Cookies.Set(token, rec.ExpiresAt.Sub(h.deps.Clock())))
	h.forgetApp(w)
	facts.UserID, facts.Session = rec.User.ID, rec.ID.Short()
	if h.deps.Cookies.Set("", 0).Secure && !facts.HTTPS {
		h.plain.Do(func() {
			h.deps.Log.Warn().Str("id", facts.ID).Str("host", facts.Host).Msg("a login came over plain http, and session.cookie.secure is on: away from localhost " +
				"the browser drops the cookie and the person is asked to log in again and again. Put TLS in front and list that proxy in trusted_proxies, or set session.cookie.secure: false for trying out")
		})
	}
	h.deps.Metrics.Login(l.Backend, outcomeSuccess)
	telemetry.LogAudit(&h.deps.Log, telemetry.Audit{
		Event: telemetry.EventLogin, RequestID: facts.ID, Client: clientText(facts),
		UserID: rec.User.ID, Session: rec.ID.Short(), Backend: l.Backend,
	})
	return rec, nil
}

// failed writes the audit line and the metric of a login that came to nothing, without answering.
// account is what was typed, and only when that account is known to exist; else "", because people
// type their password there by mistake.
func (h *Handler) failed(r *http.Request, account string, err error) {
	facts := telemetry.RequestFrom(r.Context())
	o := judge(err)
	facts.Error = o.reason
	if o.status >= http.StatusInternalServerError {
		facts.Error = err.Error() // the cause is for operators
	}
	h.deps.Metrics.Login(h.backend.name(), o.metric)
	event := telemetry.EventLoginFailed
	if o.limit != "" {
		event = telemetry.EventLimit
		h.deps.Metrics.Limited(o.limit)
	}
	telemetry.LogAudit(&h.deps.Log, telemetry.Audit{
		Event: event, RequestID: facts.ID, Client: clientText(facts),
		Backend: h.backend.name(), Account: account, Reason: o.reason,
	})
}

// refuse is failed plus the gateway's answer: a page for people, JSON for programs. Errors that are
// ErrBadCredentials or session.ErrSuperseded get 401 and one and the same body (L04).
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, account string, err error) {
	h.failed(r, account, err)
	h.deps.Pages.Problem(w, r, judge(err).problem(h.cfg.Path))
}

// clientText is the client's address for logs; a unix socket's peer has none.
func clientText(f *telemetry.Request) string {
	if !f.Client.IsValid() {
		return ""
	}
	return f.Client.String()
}

// retryUnavailable is what is told when Redis is away: the breaker asks it again every 250 ms,
// so a few seconds are enough and keep the herd apart.
const retryUnavailable = 5 * time.Second
