package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/pages"
	"gatehouse/session"
)

// endpointPrefix is where the gateway answers for itself; the application never sees these paths.
const endpointPrefix = "/.gatehouse"

func isGatewayPath(path string) bool {
	return path == endpointPrefix || strings.HasPrefix(path, endpointPrefix+"/")
}

// serveEndpoint answers below /.gatehouse/.
func (g *Gateway) serveEndpoint(w http.ResponseWriter, r *http.Request) {
	s := stateOf(r)
	s.Rule = "gateway"
	w.Header().Set("Cache-Control", "no-store")
	if s.path.Match == endpointPrefix+"/sessions" {
		if !g.allowAddress(w, r, s) {
			return
		}
		g.Login.Sessions(w, r) // which takes POST too
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		g.Pages.Problem(w, r, pages.Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "Only GET and HEAD are answered here."})
		return
	}
	switch endpoint := strings.TrimPrefix(s.path.Match, endpointPrefix); {
	case endpoint == "/healthz":
		writeJSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
	case endpoint == "/readyz":
		g.serveReady(w, r)
	case endpoint == "/userinfo":
		g.serveUserinfo(w, r)
	case endpoint == "/jwks.json" && g.Forward.assertions != nil:
		g.serveJWKS(w, r)
	default:
		g.Pages.Problem(w, r, pages.Problem{Status: http.StatusNotFound, Code: "not_found", Message: "There is no such page of the gateway."})
	}
}

// serveReady says whether this replica should be sent requests, and if not, why.
func (g *Gateway) serveReady(w http.ResponseWriter, r *http.Request) {
	checks := g.ready.check()
	status, text := http.StatusOK, "ready"
	for _, outcome := range checks {
		if outcome != "ok" {
			status, text = http.StatusServiceUnavailable, "not ready"
		}
	}
	if g.draining.Load() {
		status, text = http.StatusServiceUnavailable, "shutting down"
	}
	writeJSON(w, r, status, map[string]any{"status": text, "checks": checks})
}

// userinfo is the session's user as its own browser may know it.
type userinfo struct {
	UserID        string    `json:"userId"`
	Email         string    `json:"email,omitempty"`
	Name          string    `json:"name,omitempty"`
	EmailVerified bool      `json:"emailVerified"`
	Role          string    `json:"role,omitempty"`
	SessionID     string    `json:"sessionId"`
	CreatedAt     time.Time `json:"createdAt"`
	ExpiresAt     time.Time `json:"expiresAt"`
}

func (g *Gateway) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	if !g.allowAddress(w, r, stateOf(r)) {
		return
	}
	err := g.authenticate(w, r)
	if !g.allowUser(w, r, stateOf(r)) {
		return
	}
	switch {
	case errors.Is(err, session.ErrUnavailable):
		stateOf(r).Error = err.Error()
		g.Pages.JSON(w, r, pages.Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", RetryAfter: retryOutage,
			Message: "Who you are cannot be checked at the moment. Please try again shortly."})
		return
	case err != nil:
		g.Pages.JSON(w, r, pages.Problem{Status: http.StatusUnauthorized, Code: "unauthenticated", Message: "Nobody is logged in.", LoginURL: g.loginURL("")})
		return
	}
	rec := stateOf(r).session.Record
	writeJSON(w, r, http.StatusOK, userinfo{
		UserID: rec.User.ID, Email: rec.Email, Name: rec.Name, EmailVerified: rec.EmailVerified, Role: rec.Role,
		SessionID: rec.ID.String(), CreatedAt: rec.CreatedAt, ExpiresAt: rec.ExpiresAt,
	})
}

// serveAsterisk answers OPTIONS *, which asks about the server as a whole (RFC 9110, 9.3.7).
func (g *Gateway) serveAsterisk(w http.ResponseWriter, r *http.Request) {
	stateOf(r).Rule = "gateway"
	w.Header().Set("Allow", strings.Join(g.admit.methods, ", "))
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
}

// readiness remembers its answer for a moment: the endpoint is open to everybody, and must not be
// a way to make the gateway dial.
type readiness struct {
	sessions interface {
		Stores(context.Context) map[string]error
	}
	dial  func(context.Context) error
	clock func() time.Time
	log   zerolog.Logger

	mu   sync.Mutex
	at   time.Time
	last map[string]string
}

const (
	readyFor     = time.Second
	readyTimeout = 2 * time.Second
)

func (p *readiness) check() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.clock(); p.last == nil || now.Sub(p.at) >= readyFor || now.Before(p.at) {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		defer cancel()
		before := p.last
		p.last = map[string]string{"app": p.outcome("app", before, p.dial(ctx))}
		for name, err := range p.sessions.Stores(ctx) {
			p.last[name] = p.outcome(name, before, err)
		}
		p.at = p.clock()
	}
	return p.last
}

// outcome puts an error into words that tell a stranger no addresses and no file names; the log
// has the error, once for each change.
func (p *readiness) outcome(what string, before map[string]string, err error) string {
	words := inWords(err)
	if err != nil && before[what] != words {
		p.log.Warn().Err(err).Str("check", what).Msg("not ready")
	}
	return words
}

func inWords(err error) string {
	var timeout net.Error
	text := fmt.Sprint(err)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOPERM"):
		return "refuses the credentials"
	case strings.Contains(text, "LOADING"):
		return "is still loading its data"
	default:
		return "unavailable, the log says why"
	}
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types only
	}
	body = append(body, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}
