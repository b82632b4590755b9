package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/assertion"
	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// fakeSessions answers from a map of tokens to records, or with err.
type fakeSessions struct {
	mu    sync.Mutex
	known map[string]*session.Record
	err   error
	renew bool
	pings int
}

func (f *fakeSessions) Find(_ context.Context, token string) (session.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return session.Session{}, f.err
	}
	if rec := f.known[token]; rec != nil {
		return session.Session{Record: rec, Source: session.FromCache, Renew: f.renew}, nil
	}
	return session.Session{}, session.ErrNotFound
}

// FindApp: without a migration there are none.
func (f *fakeSessions) FindApp(context.Context, session.AppToken) (session.Session, error) {
	return session.Session{}, session.ErrNotFound
}

func (f *fakeSessions) Check(_ context.Context, key session.Key) (session.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return session.Session{}, f.err
	}
	for _, rec := range f.known {
		if rec.Key() == key {
			return session.Session{Record: rec, Source: session.FromCache}, nil
		}
	}
	return session.Session{}, session.ErrNotFound
}

func (f *fakeSessions) Stores(context.Context) map[string]error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pings++
	return map[string]error{"redis": f.err}
}

// add gives a user a session and returns its token.
func (f *fakeSessions) add(u session.User) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	token := session.NewToken(u.ID)
	key, _ := session.ParseToken(token)
	if f.known == nil {
		f.known = make(map[string]*session.Record)
	}
	now := time.Now()
	f.known[token] = &session.Record{ID: key.ID, User: u, CreatedAt: now, LastAccessed: now, ExpiresAt: now.Add(time.Hour)}
	return token
}

func (f *fakeSessions) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeSessions) forget(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, token)
}

// fakeLogin says that it was reached, or does what it is told.
type fakeLogin struct{ do http.HandlerFunc }

func (f *fakeLogin) Login(w http.ResponseWriter, r *http.Request) {
	if f.do != nil {
		f.do(w, r)
		return
	}
	_, _ = io.WriteString(w, "login handler")
}

func (f *fakeLogin) Logout(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "logout handler")
}

// lab is a gateway on a real listener, in front of an application.
type lab struct {
	sessions *fakeSessions
	login    *fakeLogin
	gateway  *Gateway
	streams  *Streams
	metrics  *telemetry.Metrics
	server   *httptest.Server
	log      *syncBuffer
}

type syncBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// newLab starts a gateway; change may alter the settings: everything is public but /private and
// /admin (role admin). strip are headers of answers that are for the gateway alone.
func newLab(t testing.TB, app http.Handler, change func(*config.Config), strip ...string) *lab {
	t.Helper()
	upstream := httptest.NewServer(app)
	t.Cleanup(func() { upstream.CloseClientConnections(); upstream.Close() })
	u, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Upstream = &config.Upstream{URL: u}
	cfg.Default = config.Public
	cfg.Rules = []config.Rule{{Path: "/private", Access: config.Protected}, {Path: "/admin", Access: config.Protected, Roles: []string{"admin"}}}
	cfg.Session.Cookie = config.Cookie{Name: "gatehouse", SameSite: "lax"}
	if change != nil {
		change(cfg)
	}
	l := &lab{sessions: &fakeSessions{}, login: &fakeLogin{}, metrics: telemetry.NewMetrics(), log: &syncBuffer{}}
	log := zerolog.New(l.log)
	views, err := pages.New(cfg.Pages)
	if err != nil {
		t.Fatal(err)
	}
	cookies := session.NewCookies(cfg.Session.Cookie, cfg.Session.Absolute)
	l.streams = NewStreams(l.sessions, l.metrics)
	deps := ForwarderDeps{Strip: strip, Cookies: cookies, Streams: l.streams, Pages: views, Log: log, Clock: time.Now}
	if deps.Secret, err = assertion.NewSecret(cfg.IdentitySecretHeader, time.Now, log); err != nil {
		t.Fatal(err)
	}
	if cfg.Assertion.Enabled() {
		if deps.Assertions, err = assertion.New(cfg, time.Now, log); err != nil {
			t.Fatal(err)
		}
	}
	forward, err := NewForwarder(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(forward.Close)
	l.gateway = New(cfg, Deps{Sessions: l.sessions, Cookies: cookies, Login: l.login, Forward: forward, Streams: l.streams,
		Pages: views, Log: log, Metrics: l.metrics, Clock: time.Now})
	l.server = httptest.NewServer(l.gateway)
	t.Cleanup(func() { l.server.CloseClientConnections(); l.server.Close() })
	return l
}

// get sends a GET with the token (or none) and gives the answer, its body read.
func (l *lab) get(t *testing.T, path, token string, headers ...string) (*http.Response, string) {
	t.Helper()
	return l.do(t, http.MethodGet, path, token, nil, headers...)
}

func (l *lab) do(t *testing.T, method, path, token string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, l.server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Cookie", "gatehouse="+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := l.server.Client().Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// eventually waits for something another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
