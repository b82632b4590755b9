package login_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/login"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// site is an application behind a gateway that is just large enough: login, logout, vault.
type site struct {
	t        *testing.T
	url      string
	app      *upstream
	sessions *appSessions
	vault    *login.Vault
	handler  *login.Handler
	cookies  session.Cookies
	log      *logBuffer
}

// logBuffer is a log that may be read while others write it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// appConfig is the configuration of most applications here.
func appConfig() config.Login {
	many := config.Rate{Events: 100_000, Per: time.Minute}
	return config.Login{
		Path: "/login", LogoutPath: "/logout", Backend: login.BackendApp,
		App: config.LoginApp{
			Success: config.AppSuccess{Status: []int{302}, Location: []string{"/dashboard"}},
			Identity: config.AppIdentity{From: "whoami", WhoamiPath: "/api/me",
				Fields: config.IdentityFields{UserID: "id", Email: "email", Name: "name", Role: "role"}},
			Vault:         config.Vault{HTTPOnly: true},
			AccountFields: []string{"email", "username"},
			MaxResponse:   64 << 10,
			Timeout:       10 * time.Second,
		},
		Limits: config.LoginLimits{PerAddress: many, PerAccount: many, Burst: 100_000, MaxConcurrentHashes: 2},
	}
}

func openSite(t *testing.T, cfg config.Login, app http.Handler) *site {
	t.Helper()
	upstreamServer := httptest.NewServer(app)
	t.Cleanup(upstreamServer.Close)
	s := &site{t: t, sessions: &appSessions{records: map[session.ID]*session.Record{}}, log: &logBuffer{}}
	s.cookies = session.NewCookies(config.Cookie{Name: "gatehouse", SameSite: "lax"}, time.Hour)
	s.app = newUpstream(upstreamServer.URL, "gatehouse")
	log := zerolog.New(s.log)
	s.vault = login.NewVault(cfg.App.Vault, s.sessions, log, nil)
	views, err := pages.New(config.Pages{})
	if err != nil {
		t.Fatal(err)
	}
	s.handler, err = login.NewHandler(cfg, login.Deps{
		Sessions: s.sessions, Cookies: s.cookies, Pages: views, App: s.app, Vault: s.vault, Log: log, Metrics: telemetry.NewMetrics(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.handler.Close() })
	gateway := httptest.NewServer(s.gateway(cfg))
	t.Cleanup(gateway.Close)
	s.url = gateway.URL
	return s
}

// gateway sends requests where the proxy would.
func (s *site) gateway(cfg config.Login) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		facts := &telemetry.Request{ID: "request-1", Client: netip.MustParseAddr("192.0.2.7"), Host: r.Host}
		r = r.WithContext(telemetry.WithRequest(r.Context(), facts))
		path, _, _ := strings.Cut(r.RequestURI, "?")
		switch {
		case r.Method == http.MethodPost && (path == cfg.Path || slices.Contains(cfg.App.CompletionPaths, path)):
			s.handler.Login(w, r)
		case path == cfg.LogoutPath:
			s.handler.Logout(w, r)
		default:
			s.pass(w, r)
		}
	})
}

// pass proxies a request with the session's vault.
func (s *site) pass(w http.ResponseWriter, r *http.Request) {
	token, _ := s.cookies.Read(r.Header)
	found, err := s.sessions.Find(r.Context(), token)
	client := cutCookie(strings.Join(r.Header["Cookie"], "; "), "gatehouse")
	if err == nil {
		if client, err = s.vault.Outgoing(found.Record, token, r.URL.EscapedPath(), client); err != nil {
			s.t.Error(err)
		}
	}
	set := http.Header{"Cookie": nil}
	if client != "" {
		set.Set("Cookie", client)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	resp, err := s.app.Send(r.Context(), r, r.Method, r.RequestURI, set, body)
	if err != nil {
		s.app.Fail(w, r, err)
		return
	}
	defer resp.Body.Close()
	if found.Record != nil {
		if err := s.vault.Incoming(r.Context(), found.Record, token, r.URL.EscapedPath(), resp.Header); err != nil {
			s.t.Log(err)
		}
	}
	s.app.Relay(w, r, resp)
}

func cutCookie(header, name string) string {
	var kept []string
	for piece := range strings.SplitSeq(header, ";") {
		if n, _, _ := strings.Cut(strings.TrimSpace(piece), "="); n != name {
			kept = append(kept, strings.TrimSpace(piece))
		}
	}
	return strings.Join(kept, "; ")
}

// person is a browser: cookies, and no redirects followed.
type person struct {
	t    *testing.T
	base string
	http http.Client
}

func (s *site) person() *person {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &person{t: s.t, base: s.url}
	p.http.Jar = jar
	p.http.Transport = &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	p.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return p
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	text string
}

func (p *person) do(method, target string, body string, header ...string) reply {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+target, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body == "" {
		req.Body = nil
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply{resp, string(text)}
}

func (p *person) get(target string, header ...string) reply {
	p.t.Helper()
	return p.do("GET", target, "", header...)
}

func (p *person) post(target string, form url.Values, header ...string) reply {
	p.t.Helper()
	return p.do("POST", target, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

// cookies are what the browser holds.
func (p *person) cookies() map[string]string {
	p.t.Helper()
	u, err := url.Parse(p.base)
	if err != nil {
		p.t.Fatal(err)
	}
	held := map[string]string{}
	for _, c := range p.http.Jar.Cookies(u) {
		held[c.Name] = c.Value
	}
	return held
}

func (r reply) want(t *testing.T, status int, location string) {
	t.Helper()
	if r.StatusCode != status || r.Header.Get("Location") != location {
		t.Fatalf("answer %d to %q, want %d to %q\n%.500s", r.StatusCode, r.Header.Get("Location"), status, location, r.text)
	}
}
