package sample_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	"gatehouse/sample"
)

// browser is a client with cookies that follows no redirect.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

func open(t *testing.T, opts sample.Options) *browser {
	t.Helper()
	srv := httptest.NewServer(sample.New(opts))
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, srv.URL, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

type answer struct {
	*http.Response
	text string
}

func (b *browser) do(method, path string, body io.Reader, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp, string(text)}
}

func (b *browser) get(path string, header ...string) answer {
	b.t.Helper()
	return b.do("GET", path, nil, header...)
}

func (b *browser) post(path string, form url.Values) answer {
	b.t.Helper()
	return b.do("POST", path, strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
}

func (b *browser) cookie(name string) string {
	b.t.Helper()
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

var csrfField = regexp.MustCompile(`name="csrf_token" value="([^"]+)"`)

func (b *browser) signIn(email, password string) answer {
	b.t.Helper()
	form := b.get("/login")
	m := csrfField.FindStringSubmatch(form.text)
	if m == nil {
		b.t.Fatalf("no CSRF field in the login form:\n%s", form.text)
	}
	return b.post("/login", url.Values{"email": {email}, "password": {password}, "csrf_token": {m[1]}})
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	for _, u := range sample.Users() {
		b := open(t, sample.Options{})
		if got := b.get("/account"); got.StatusCode != 302 || got.Header.Get("Location") != "/login" {
			t.Fatalf("account before login: %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
		b.get("/login")
		anonymous, csrf := b.cookie("legacy_session"), b.cookie("csrftoken")
		if anonymous == "" || csrf == "" {
			t.Fatal("the login form sets no cookies")
		}
		if got := b.signIn(u.Email, u.Password); got.StatusCode != 302 || got.Header.Get("Location") != "/dashboard" {
			t.Fatalf("login: %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
		if b.cookie("legacy_session") == anonymous || b.cookie("csrftoken") == csrf {
			t.Error("the cookies were not rotated at login")
		}
		if got := b.get("/account"); got.StatusCode != 200 || !strings.Contains(got.text, u.Email) {
			t.Errorf("account: %d %s", got.StatusCode, got.text)
		}
		var me struct {
			ID                int64
			Email, Name, Role string
		}
		if err := json.Unmarshal([]byte(b.get("/api/me").text), &me); err != nil || me.ID != u.ID || me.Email != u.Email || me.Name != u.Name || me.Role != u.Role {
			t.Errorf("me = %+v, %v", me, err)
		}
		session := b.cookie("legacy_session")
		if got := b.post("/logout", nil); got.StatusCode != 302 || b.cookie("legacy_session") != "" || b.cookie("csrftoken") != "" {
			t.Errorf("logout: %d, cookies left", got.StatusCode)
		}
		if got := b.get("/api/me", "Cookie", "legacy_session="+session); got.StatusCode != 401 {
			t.Errorf("the session lives on after logout: %d", got.StatusCode)
		}
	}
}

func TestSignInRefused(t *testing.T) {
	t.Parallel()
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		b := open(t, sample.Options{})
		got := b.signIn("user@example.com", "correct-horse-1")
		if got.StatusCode != 302 || got.Header.Get("Location") != "/login?error=1" {
			t.Fatalf("%d to %q", got.StatusCode, got.Header.Get("Location"))
		}
		if page := b.get("/login?error=1"); !strings.Contains(page.text, "Wrong email or password") {
			t.Error("the form does not say what is wrong")
		}
		if b.get("/api/me").StatusCode != 401 {
			t.Error("logged in all the same")
		}
	})
	t.Run("unknown user", func(t *testing.T) {
		t.Parallel()
		if got := open(t, sample.Options{}).signIn("nobody@example.com", ""); got.Header.Get("Location") != "/login?error=1" {
			t.Errorf("%d to %q", got.StatusCode, got.Header.Get("Location"))
		}
	})
	t.Run("no CSRF token", func(t *testing.T) {
		t.Parallel()
		b := open(t, sample.Options{})
		b.get("/login")
		got := b.post("/login", url.Values{"email": {"user@example.com"}, "password": {"correct-horse-2"}})
		if got.StatusCode != 403 || b.get("/api/me").StatusCode != 401 {
			t.Errorf("%d", got.StatusCode)
		}
	})
	t.Run("expired session", func(t *testing.T) {
		t.Parallel()
		now := time.Now()
		b := open(t, sample.Options{Clock: func() time.Time { return now }})
		b.signIn("user@example.com", "correct-horse-2")
		now = now.Add(25 * time.Hour)
		if got := b.get("/account"); got.StatusCode != 302 {
			t.Errorf("%d", got.StatusCode)
		}
	})
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	httpOnly := map[string]bool{}
	for _, c := range open(t, sample.Options{}).get("/login").Cookies() {
		httpOnly[c.Name] = c.HttpOnly
	}
	if only, ok := httpOnly["legacy_session"]; !ok || !only {
		t.Error("legacy_session must be HttpOnly")
	}
	if only, ok := httpOnly["csrftoken"]; !ok || only {
		t.Error("csrftoken must be readable by scripts")
	}
}

func TestIdentityHeaders(t *testing.T) {
	t.Parallel()
	ada := []string{"X-User-Id", "1", "X-User-Email", "admin@example.com", "X-User-Name", "J%C3%B6s%C3%A9", "X-User-Role", "admin"}
	uma := []string{"X-User-Id", "2", "X-User-Email", "user@example.com", "X-User-Role", "user"}
	for _, c := range []struct {
		name   string
		trust  bool
		path   string
		header []string
		status int
		text   string
	}{
		{"trusted", true, "/account", ada, 200, "Jösé"},
		{"trusted admin", true, "/admin", ada, 200, "user@example.com"},
		{"trusted user is no admin", true, "/admin", uma, 403, "for administrators"},
		{"name missing", true, "/", uma, 200, "user@example.com"},
		{"untrusted", false, "/account", ada, 302, ""},
		{"untrusted admin", false, "/admin", ada, 302, ""},
		{"nobody", true, "/", nil, 200, "Nobody is logged in"},
		{"role alone", true, "/admin", []string{"X-User-Role", "admin"}, 302, ""},
		{"whoami goes by the cookie", true, "/api/me", ada, 401, "not logged in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := open(t, sample.Options{TrustHeaders: c.trust}).get(c.path, c.header...)
			if got.StatusCode != c.status || !strings.Contains(got.text, c.text) {
				t.Errorf("%d, want %d with %q:\n%s", got.StatusCode, c.status, c.text, got.text)
			}
		})
	}
}

func TestHomeLinksEverything(t *testing.T) {
	t.Parallel()
	b := open(t, sample.Options{EventInterval: time.Hour})
	links := regexp.MustCompile(`href="(/[^"]*)"`).FindAllStringSubmatch(b.get("/").text, -1)
	if len(links) < 12 {
		t.Fatalf("%d links", len(links))
	}
	for _, l := range links {
		if l[1] == "/events" {
			continue // never ends; has its own test
		}
		if got := b.get(l[1]); got.StatusCode >= 500 || got.StatusCode == 404 {
			t.Errorf("%s: %d", l[1], got.StatusCode)
		}
	}
	if got := b.get("/nothing"); got.StatusCode != 404 || !strings.Contains(got.text, "There is no page at this address.") {
		t.Errorf("unknown path: %d\n%s", got.StatusCode, got.text)
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	b := open(t, sample.Options{})
	var got struct {
		Method, Target, Proto, Host string
		Headers                     http.Header
	}
	raw := b.do("POST", "/echo?format=json&a=%7b", nil, "X-Some", `<b>"x"</b>`)
	if err := json.Unmarshal([]byte(raw.text), &got); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.Target != "/echo?format=json&a=%7b" || got.Headers.Get("X-Some") != `<b>"x"</b>` || got.Host == "" {
		t.Errorf("%+v", got)
	}
	page := b.get("/echo", "X-Some", `<b>"x"</b>`)
	if !strings.Contains(page.text, "X-Some") || strings.Contains(page.text, "<b>") {
		t.Errorf("the page lacks the header, or does not escape it:\n%s", page.text)
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	b := open(t, sample.Options{})
	if got := b.do("POST", "/upload", bytes.NewReader(make([]byte, 1_234_567))); !strings.Contains(got.text, `"bytes":1234567`) {
		t.Errorf("upload: %s", got.text)
	}
	if got := b.get("/download?bytes=100001"); len(got.text) != 100_001 || got.ContentLength != 100_001 {
		t.Errorf("download: %d bytes, Content-Length %d", len(got.text), got.ContentLength)
	}
	for _, path := range []string{"/download", "/download?bytes=-1", "/download?bytes=99999999999", "/slow", "/slow?ms=-1", "/slow?ms=600000"} {
		if got := b.get(path); got.StatusCode != 400 {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
	if got := b.get("/slow?ms=1"); got.StatusCode != 200 {
		t.Errorf("slow: %d", got.StatusCode)
	}
	if got := b.get("/api/time"); got.Header.Get("Content-Type") != "application/json" || !strings.Contains(got.text, `"time"`) {
		t.Errorf("time: %s", got.text)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := open(t, sample.Options{EventInterval: time.Millisecond, TrustHeaders: true})
	req, err := http.NewRequestWithContext(t.Context(), "GET", b.base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-User-Id", "2")
	req.Header.Set("X-User-Email", "user@example.com")
	resp, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	var data []string
	for len(data) < 3 && lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = append(data, rest)
		}
	}
	if len(data) < 3 || !strings.Contains(data[2], `"n":3`) || !strings.Contains(data[2], "user@example.com") {
		t.Errorf("events: %q", data)
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, origin, forwarded string
		trust, ok               bool
	}{
		{"no origin", "", "", false, true},
		{"forwarded host", "https://app.example.com", "app.example.com", true, true},
		{"forwarded host not trusted", "https://app.example.com", "app.example.com", false, false},
		{"another origin", "https://evil.example", "app.example.com", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := open(t, sample.Options{TrustHeaders: c.trust})
			header := http.Header{}
			if c.origin != "" {
				header.Set("Origin", c.origin)
				header.Set("X-Forwarded-Host", c.forwarded)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			conn, _, err := websocket.Dial(ctx, b.base+"/ws", &websocket.DialOptions{HTTPHeader: header})
			if (err == nil) != c.ok {
				t.Fatalf("dial: %v", err)
			}
			if !c.ok {
				return
			}
			defer conn.CloseNow()
			if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if kind, got, err := conn.Read(ctx); err != nil || kind != websocket.MessageText || string(got) != "hello" {
				t.Errorf("echo: %v %q %v", kind, got, err)
			}
		})
	}
}

// TestLogHoldsNoSecrets reads what the application logs at its chattiest.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := open(t, sample.Options{Log: zerolog.New(&log)})
	b.signIn("user@example.com", "correct-horse-2")
	for _, secret := range []string{"correct-horse-2", b.cookie("legacy_session"), b.cookie("csrftoken")} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds a secret:\n%s", log.String())
		}
	}
	if !strings.Contains(log.String(), "login") {
		t.Errorf("no login in the log:\n%s", log.String())
	}
}
