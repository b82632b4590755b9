// Package sample is a small legacy web application: server-rendered pages, its own users, login
// form, sessions and cookies. `gatehouse demo` runs it behind the gateway, and so do the end-to-end
// tests. It knows nothing of Gatehouse but the identity headers (see [Options.TrustHeaders]).
package sample

import (
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Options of [New]. The zero value is a working application that believes nobody but itself.
type Options struct {
	// Log gets a debug line per request and an info line per login. Default: nothing is written.
	Log zerolog.Logger
	// Clock tells the time. Default [time.Now].
	Clock func() time.Time
	// TrustHeaders makes the application believe the X-User-* headers. Only right when nobody can
	// reach it but through the gateway, which deletes what clients send under these names.
	TrustHeaders bool
	// EventInterval is the time between two events of /events. Default 1s.
	EventInterval time.Duration
}

// app is what the handlers share.
type app struct {
	opts     Options
	sessions *sessions
	pages    *pages
}

// New makes the application. It keeps its state in memory and needs no closing.
func New(opts Options) http.Handler {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.EventInterval <= 0 {
		opts.EventInterval = time.Second
	}
	a := &app{opts: opts, sessions: newSessions(opts.Clock), pages: newPages()}
	return a.logged(a.routes())
}

func (a *app) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("/", a.notFound)
	mux.HandleFunc("GET /login", a.loginForm)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /dashboard", a.signedIn(a.dashboard))
	mux.HandleFunc("GET /account", a.signedIn(a.account))
	mux.HandleFunc("GET /admin", a.signedIn(a.admin))
	mux.HandleFunc("GET /chat", a.chat)
	mux.HandleFunc("GET /ws", a.webSocket)
	mux.HandleFunc("GET /events", a.events)
	mux.HandleFunc("/echo", a.echo)
	mux.HandleFunc("GET /api/me", a.me)
	mux.HandleFunc("GET /api/time", a.time)
	mux.HandleFunc("GET /upload", a.uploadForm)
	mux.HandleFunc("POST /upload", a.upload)
	mux.HandleFunc("PUT /upload", a.upload)
	mux.HandleFunc("GET /download", a.download)
	mux.HandleFunc("GET /slow", a.slow)
	return mux
}

func (a *app) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.opts.Log.Debug().Str("method", r.Method).Str("path", r.URL.Path).Msg("sample application")
		next.ServeHTTP(w, r)
	})
}
