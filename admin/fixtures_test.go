package admin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/admin"
	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// secret is the token of the tests' listeners.
const secret = "0123456789abcdef0123456789ABCDEF"

// listener is an admin listener and what stands behind it.
type listener struct {
	t       testing.TB
	url     string
	client  *http.Client
	metrics *telemetry.Metrics
	log     *buffer
	clock   *clock
	// manager is nil unless a Redis stands behind the listener.
	manager *session.Manager
	redis   *testredis.Server
}

// settings are what a test may change.
type settings struct {
	config.Admin
	admin.Deps
}

// listen starts a listener; what is behind it says change.
func listen(t testing.TB, change ...func(*settings)) *listener {
	t.Helper()
	l := &listener{t: t, metrics: telemetry.NewMetrics(), log: &buffer{}, clock: &clock{at: time.Now()}}
	s := &settings{Admin: config.Admin{Token: secret}, Deps: admin.Deps{
		Pages: telemetry.NewAdmin(l.metrics), Log: zerolog.New(l.log), Metrics: l.metrics, Clock: l.clock.now,
	}}
	for _, c := range change {
		c(s)
	}
	handler, err := admin.New(s.Admin, s.Deps)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = nil
	srv.Start()
	t.Cleanup(srv.Close)
	l.url, l.client = srv.URL, srv.Client()
	return l
}

// withRedis starts a listener in front of real sessions.
func withRedis(t *testing.T) *listener {
	t.Helper()
	server := testredis.Start(t)
	l := &listener{}
	log := &buffer{}
	opts := session.Options{Log: zerolog.New(log)}
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{server.Addr}, Timeout: 5 * time.Second}, opts)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	manager := session.NewManager(store, cfg.Session, cfg.Outage, opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = manager.Close(ctx) // a revocation may be left over, from a Redis that a test has ended
	})
	l = listen(t, func(s *settings) { s.Sessions, s.Changes = session.NewOperator(manager), manager })
	l.manager, l.redis = manager, server
	return l
}

// login makes a session.
func (l *listener) login(user string, change ...func(*session.User)) (token string, rec *session.Record) {
	l.t.Helper()
	u := session.User{ID: user, Email: "u@example.com", Name: "Uma", Role: "admin"}
	for _, c := range change {
		c(&u)
	}
	began, err := l.manager.Begin(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	token, rec, err = l.manager.Create(l.t.Context(), session.Login{
		User: u, Backend: "file", IP: "192.0.2.7", UserAgent: "browser", Secrets: []byte("the application's cookies"), Began: began,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return token, rec
}

// alive reports whether a token's session is found.
func (l *listener) alive(token string) bool {
	_, err := l.manager.Find(context.Background(), token)
	return err == nil
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body []byte
}

// says fails unless the answer is an error with this status and code.
func (a answer) says(t testing.TB, status int, code string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(string(a.body), `"code":"`+code+`"`) {
		t.Errorf("%s %s: %d %s, want %d %s", a.Request.Method, a.Request.URL, a.StatusCode, a.body, status, code)
	}
}

// ask sends a request with the token and validates it and its answer against the description. header is pairs; a value "" deletes.
func (l *listener) ask(method, path, body string, header ...string) answer {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	if method == "PATCH" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header[header[i]] = append(req.Header[header[i]], header[i+1])
		}
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := l.client.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	got := answer{Response: resp}
	if got.body, err = io.ReadAll(resp.Body); err != nil {
		l.t.Fatalf("%s %s: %v after %q", method, path, err, got.body)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		l.t.Errorf("%s %s: headers %v", method, path, resp.Header)
	}
	asDescribed(l.t, req, body, got)
	return got
}

// metric gives a line of the metrics, without its value.
func (l *listener) metric(name string) string {
	w := httptest.NewRecorder()
	l.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return value
		}
	}
	return "0"
}

// buffer is a log that many goroutines write.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String gives all of it.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// clock stands still unless told.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// fake is what stands behind a listener whose answers a test makes up.
type fake struct {
	err     error // of every call
	user    string
	id      string
	except  []session.ID
	change  session.Change
	records []*session.Record
	each    func(f func(*session.Record, error) error) error
	called  []string
}

func (f *fake) note(what, user string) error {
	f.called, f.user = append(f.called, what), user
	return f.err
}

func (f *fake) Show(_ context.Context, id, user string) (*session.Record, error) {
	f.id = id
	return f.record(user), f.note("show", user)
}

func (f *fake) record(user string) *session.Record {
	token := session.NewToken(user)
	key, _ := session.ParseToken(token)
	return &session.Record{Version: 1, ID: key.ID, User: session.User{ID: user}, CreatedAt: time.Now(), LastAccessed: time.Now(), ExpiresAt: time.Now()}
}

func (f *fake) List(_ context.Context, user string) ([]*session.Record, error) {
	return f.records, f.note("list", user)
}

func (f *fake) Revoke(_ context.Context, rec *session.Record) error {
	return f.note("revoke", rec.User.ID)
}

func (f *fake) RevokeUser(_ context.Context, user string, except ...session.ID) (int, error) {
	f.except = except
	return 3, f.note("revoke user", user)
}

func (f *fake) Each(_ context.Context, _ func(done, total int64), each func(*session.Record, error) error) error {
	if f.each != nil {
		return f.each(each)
	}
	return f.note("each", "")
}

func (f *fake) Stats(context.Context, func(done, total int64)) (*session.Stats, error) {
	return &session.Stats{PerUser: []session.Range{}}, f.note("stats", "")
}

func (f *fake) Audit(_ context.Context, repair bool, _ func(done, total int64)) (*session.AuditReport, error) {
	return &session.AuditReport{Kinds: map[session.Kind]int64{}, Findings: []session.Finding{}}, f.note(fmt.Sprint("audit ", repair), "")
}

func (f *fake) Change(_ context.Context, user string, c session.Change) (int, error) {
	f.change = c
	return 2, f.note("change", user)
}

// withFake starts a listener in front of a fake.
func withFake(t testing.TB, f *fake, change ...func(*settings)) *listener {
	t.Helper()
	return listen(t, append([]func(*settings){func(s *settings) { s.Sessions, s.Changes = f, f }}, change...)...)
}
