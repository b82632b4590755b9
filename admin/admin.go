// Package admin is the operator's listener: who may ask there, and the API by which programs list, end and change
// sessions (openapi.yaml). It is never reachable through the gateway's own listener.
package admin

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/ratelimit"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// Sessions is what the API does with sessions; [session.Operator] is it.
type Sessions interface {
	Show(ctx context.Context, id, userID string) (*session.Record, error)
	List(ctx context.Context, userID string) ([]*session.Record, error)
	Revoke(ctx context.Context, rec *session.Record) error
	RevokeUser(ctx context.Context, userID string, except ...session.ID) (int, error)
	Each(ctx context.Context, progress func(done, total int64), f func(*session.Record, error) error) error
	Stats(ctx context.Context, progress func(done, total int64)) (*session.Stats, error)
	Audit(ctx context.Context, repair bool, progress func(done, total int64)) (*session.AuditReport, error)
}

// Changes writes what has changed about a user into his sessions; [session.Manager] is it.
type Changes interface {
	Change(ctx context.Context, userID string, c session.Change) (changed int, err error)
}

// Deps are the parts the listener is put together from.
type Deps struct {
	Sessions Sessions
	Changes  Changes
	// Pages is what else the listener serves: metrics and profiles.
	Pages http.Handler
	Log   zerolog.Logger
	// Metrics may be nil.
	Metrics *telemetry.Metrics
	// Clock is time.Now when nil.
	Clock func() time.Time
}

// prefix of the API's paths.
const prefix = "/api/v1"

// New gives the listener's handler: the guard, then the API below /api/, then what else there is. An error is one of
// the configuration: a token file that cannot be read or holds no token.
func New(cfg config.Admin, deps Deps) (http.Handler, error) {
	if deps.Clock == nil {
		deps.Clock = time.Now
	}
	token, err := newToken(cfg, deps.Clock(), deps.Log)
	if err != nil {
		return nil, err
	}
	a := &api{Deps: deps, open: token != nil}
	sessions := a.handler()
	// No mux: it would answer a path that is not clean by a redirect to another one.
	both := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.EscapedPath(), "/api/") {
			sessions.ServeHTTP(w, r)
			return
		}
		deps.Pages.ServeHTTP(w, r)
	})
	return &guard{Deps: deps, token: token, guesses: ratelimit.New(1/guessEvery.Seconds(), guessBurst, maxGuessers, deps.Clock), next: both}, nil
}

// api is the session API.
type api struct {
	Deps
	// open: there is a token, and whoever comes this far has shown it. Without one the sessions stay closed: they hold
	// personal data, and ending them is a power that not every program on this machine should have.
	open bool
	// scan is held by whoever goes through all sessions. Several at once would only slow each other, and Redis.
	scan sync.Mutex
}

// endpoint is what answers at one path.
type endpoint struct {
	path    string
	methods map[string]operation
}

// operation is one method of an endpoint.
type operation struct {
	// query are the parameters it takes. Any other is refused: a mistyped "except" must not end the session it was to spare.
	query []string
	// public: documentation, answered without a token as well.
	public bool
	// body: it reads the request's body. That of any other is read away before.
	body   bool
	answer func(w http.ResponseWriter, r *http.Request) error
}

func (a *api) endpoints() []endpoint {
	return []endpoint{
		{"/users/{userID}/sessions", map[string]operation{
			"GET":    {answer: reply(a.list)},
			"DELETE": {answer: reply(a.revokeUser), query: []string{"except"}},
			"PATCH":  {answer: a.change, body: true},
		}},
		{"/users/{userID}/sessions/{id}", map[string]operation{"GET": {answer: reply(a.show)}, "DELETE": {answer: reply(a.revoke)}}},
		{"/sessions/{id}", map[string]operation{"GET": {answer: reply(a.show)}, "DELETE": {answer: reply(a.revoke)}}},
		{"/stats", map[string]operation{"GET": {answer: reply(a.stats)}}},
		{"/audit", map[string]operation{"GET": {answer: reply(a.audit)}}},
		{"/audit/repair", map[string]operation{"POST": {answer: reply(a.repair)}}},
		{"/export", map[string]operation{"GET": {answer: a.export}}},
		{"/openapi.yaml", map[string]operation{"GET": {answer: describeYAML, public: true}}},
		{"/openapi.json", map[string]operation{"GET": {answer: describeJSON, public: true}}},
	}
}
