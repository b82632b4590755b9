package login_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/login"
	"gatehouse/login/password"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// faults is the real manager over an embedded Redis, with errors on demand.
type faults struct {
	*session.Manager
	mu                          sync.Mutex
	find, begin, create, revoke error
	calls                       []string
	logins                      []session.Login
}

func (f *faults) called(what string, fault *error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
	return *fault
}

func (f *faults) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *faults) Find(ctx context.Context, token string) (session.Session, error) {
	if err := f.called("find", &f.find); err != nil {
		return session.Session{}, err
	}
	return f.Manager.Find(ctx, token)
}

func (f *faults) Begin(ctx context.Context) (session.Epoch, error) {
	if err := f.called("begin", &f.begin); err != nil {
		return session.Epoch{}, err
	}
	return f.Manager.Begin(ctx)
}

func (f *faults) Create(ctx context.Context, l session.Login) (string, *session.Record, error) {
	if err := f.called("create", &f.create); err != nil {
		return "", nil, err
	}
	f.mu.Lock()
	f.logins = append(f.logins, l)
	f.mu.Unlock()
	return f.Manager.Create(ctx, l)
}

func (f *faults) Revoke(ctx context.Context, key session.Key, userID string) error {
	if err := f.called("revoke "+userID, &f.revoke); err != nil {
		return err
	}
	return f.Manager.Revoke(ctx, key, userID)
}

// The people in the user file, all with the password "correct-horse-1".
const (
	ada      = "ada@example.com"  // id 1, admin
	bob      = "Bob@Example.com"  // id u-2
	disabled = "gone@example.com" // id 3
	secret   = "correct-horse-1"
)

// quick are the smallest parameters argon2id has, for tests that are not about the hash.
var quick = password.Params{Memory: 8, Time: 1, Threads: 1}

func userFile(p password.Params) string {
	hash := password.New(secret, p)
	return fmt.Sprintf(`users:
  - {id: 1, email: %s, name: Ada, role: admin, email_verified: true, password_hash: %q}
  - {id: u-2, email: %s, password_hash: %q}
  - {id: 3, email: %s, disabled: true, password_hash: %q}
`, ada, hash, bob, hash, disabled, hash)
}

// gate is a handler with backend file and everything it works with.
type gate struct {
	*login.Handler
	sessions *faults
	cookies  session.Cookies
	metrics  *telemetry.Metrics
	file     string

	mu  sync.Mutex
	log bytes.Buffer
	now time.Time
}

// Write is the log.
func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.Write(p)
}

func (g *gate) logged() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.log.Reset()
	return g.log.String()
}

// clock is the limiters' and the cookies' clock; the sessions have the real one.
func (g *gate) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gate) advance(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

// setup changes what the gate is made of.
type setup struct {
	cfg     config.Login
	session config.Session
	deps    login.Deps
	users   string
}

func newGate(t *testing.T, changes ...func(*setup)) *gate {
	t.Helper()
	g := &gate{now: time.Now(), metrics: telemetry.NewMetrics(), file: filepath.Join(t.TempDir(), "users.yaml")}
	s := &setup{
		cfg: config.Login{Path: "/login", LogoutPath: "/logout", Backend: "file", Limits: config.LoginLimits{
			PerAddress: config.Rate{Events: 60, Per: time.Minute}, PerAccount: config.Rate{Events: 60, Per: time.Minute},
			Burst: 1000, MaxConcurrentHashes: 2,
		}},
		session: config.Session{Idle: time.Hour, Absolute: 24 * time.Hour, MaxPerUser: 20},
		users:   userFile(quick),
	}
	public, err := url.Parse("https://app.example")
	if err != nil {
		t.Fatal(err)
	}
	s.deps.PublicURL, s.deps.TrustedOrigins = public, []string{"https://partner.example"}
	for _, change := range changes {
		change(s)
	}
	s.cfg.File.Path = g.file
	if err := os.WriteFile(g.file, []byte(s.users), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{"embedded"}, Timeout: 5 * time.Second}, session.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	g.sessions = &faults{Manager: session.NewManager(store, s.session, config.Outage{}, session.Options{Log: zerolog.Nop()})}
	t.Cleanup(func() { g.sessions.Close(context.Background()) })
	p, err := pages.New(config.Pages{})
	if err != nil {
		t.Fatal(err)
	}
	g.cookies = session.NewCookies(config.Cookie{Secure: true}, s.session.Absolute)
	s.deps.Sessions, s.deps.Cookies, s.deps.Pages = g.sessions, g.cookies, p
	s.deps.Log, s.deps.Metrics, s.deps.Clock = zerolog.New(g), g.metrics, g.clock
	g.Handler, err = login.NewHandler(s.cfg, s.deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// visit is one request and who sends it.
type visit struct {
	method, target, body string
	client               string // address; 192.0.2.1 when empty
	token                string // in the gateway's cookie
	header               []string
}

// answer is what came of it.
type answer struct {
	*httptest.ResponseRecorder
	facts *telemetry.Request
}

func (g *gate) send(v visit) answer {
	if v.method == "" {
		v.method = http.MethodPost
	}
	if v.target == "" {
		v.target = "/login"
	}
	r := httptest.NewRequest(v.method, "https://app.example"+v.target, strings.NewReader(v.body))
	if v.body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if v.token != "" {
		r.Header.Set("Cookie", g.cookies.Name()+"="+v.token)
	}
	for i := 0; i+1 < len(v.header); i += 2 {
		if v.header[i] == "Content-Type" {
			r.Header.Del("Content-Type")
		}
		r.Header.Add(v.header[i], v.header[i+1])
	}
	if v.client == "" {
		v.client = "192.0.2.1"
	}
	facts := &telemetry.Request{ID: "req-1", Host: "app.example", HTTPS: true}
	if v.client != "@" {
		facts.Client = netip.MustParseAddr(v.client)
	}
	w := httptest.NewRecorder()
	r = r.WithContext(telemetry.WithRequest(r.Context(), facts))
	if r.URL.Path == "/logout" {
		g.Logout(w, r)
	} else {
		g.Login(w, r)
	}
	return answer{w, facts}
}

// typed is the body of a login form.
func typed(account, password string, more ...string) string {
	form := url.Values{"account": {account}, "password": {password}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return form.Encode()
}

// cookie is the gateway's cookie in the answer; nil when it sets none.
func (g *gate) cookie(a answer) *http.Cookie {
	var last *http.Cookie // of several, browsers keep the last
	for _, c := range a.Result().Cookies() {
		if c.Name == g.cookies.Name() {
			last = c
		}
	}
	return last
}

// login logs in and gives the token.
func (g *gate) login(t *testing.T, account string) string {
	t.Helper()
	a := g.send(visit{body: typed(account, secret)})
	c := g.cookie(a)
	if a.Code != http.StatusSeeOther || c == nil {
		t.Fatalf("login of %s: %d %s", account, a.Code, a.Body)
	}
	return c.Value
}

// lives reports whether the token's session is alive.
func (g *gate) lives(token string) bool {
	_, err := g.sessions.Manager.Find(context.Background(), token)
	return err == nil
}

// counted gives the metrics' lines of a name.
func (g *gate) counted(name string) string {
	w := httptest.NewRecorder()
	g.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, name+"{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// wantCounted checks that a counter with these labels has the value.
func (g *gate) wantCounted(t *testing.T, line string) {
	t.Helper()
	name, _, _ := strings.Cut(line, "{")
	if got := g.counted(name); !strings.Contains(got+"\n", line+"\n") {
		t.Errorf("metrics have\n%s\nwant %s", got, line)
	}
}
