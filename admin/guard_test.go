package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/admin"
	"gatehouse/config"
)

// pages are what the listener serves beside the API.
var pages = []string{"/", "/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/nothing"}

func without(s *settings) { s.Token = "" }

// TestTokenIsNeeded: for everything on the listener, whatever the Host.
func TestTokenIsNeeded(t *testing.T) {
	t.Parallel()
	f := &fake{}
	l := withFake(t, f)
	all := examples()
	for _, path := range pages {
		all = append(all, example{"", "GET", path, ""})
	}
	for _, e := range all {
		for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer x", "Bearer " + secret + "x", "Bearer " + secret[:31], "Bearer " + strings.ToLower(secret),
			"Basic " + secret, secret, "Bearer " + secret + ", Bearer " + secret} {
			l.clock.advance(time.Minute) // the limit is not what this is about
			got := l.ask(e.method, e.path, e.body, "Authorization", authorization)
			got.says(t, 401, "unauthorized")
			if !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), `Bearer realm="`) {
				t.Errorf("WWW-Authenticate %q", got.Header.Get("WWW-Authenticate"))
			}
		}
		if got := l.ask(e.method, e.path, e.body, "Host", "gatehouse.example:9090"); got.StatusCode == 401 || got.StatusCode == 403 {
			t.Errorf("%s %s with the token: %d", e.method, e.path, got.StatusCode)
		}
	}
	if got := l.ask("GET", "/metrics", "", "Authorization", "bEARER   "+secret+" "); got.StatusCode != 200 {
		t.Errorf("the scheme in other letters: %d", got.StatusCode)
	}
	if got := l.ask("GET", "/metrics?token="+secret, "", "Authorization", ""); got.StatusCode != 401 {
		t.Errorf("the token in the query: %d", got.StatusCode)
	}
	log := l.log.String()
	if !strings.Contains(log, `"event":"admin_denied","client":"127.0.0.1","reason":"wrong_token"`) || !strings.Contains(log, `"reason":"no_token"`) || strings.Contains(log, secret) {
		t.Errorf("the log: %.2000s", log)
	}
}

// Two Authorization headers are none.
func TestTwoTokens(t *testing.T) {
	t.Parallel()
	l := withFake(t, &fake{})
	req := httptest.NewRequest("GET", "/metrics", nil)
	req.Header["Authorization"] = []string{"Bearer " + secret, "Bearer " + secret}
	req.RequestURI, req.URL.Scheme, req.URL.Host = "", "http", strings.TrimPrefix(l.url, "http://")
	resp, err := l.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(resp); err != nil || resp.StatusCode != 401 {
		t.Errorf("%d, %v", resp.StatusCode, err)
	}
}

// Without a token: metrics and profiles on loopback as ever, the sessions not at all.
func TestWithoutToken(t *testing.T) {
	t.Parallel()
	f := &fake{}
	l := withFake(t, f, without)
	for _, e := range examples() {
		got := l.ask(e.method, e.path, e.body, "Authorization", "")
		if strings.HasPrefix(e.id, "openapi") {
			if got.StatusCode != 200 {
				t.Errorf("%s: %d", e.path, got.StatusCode)
			}
			continue
		}
		got.says(t, 403, "token_required")
		if !strings.Contains(string(got.body), "admin.token_file") {
			t.Errorf("it does not say what to do: %s", got.body)
		}
	}
	for _, path := range pages[:4] {
		if got := l.ask("GET", path, "", "Authorization", ""); got.StatusCode != 200 {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
	if len(f.called) != 0 {
		t.Errorf("the store was asked: %v", f.called)
	}
}

// TestHost: a web page whose host name resolves to 127.0.0.1 must not read the metrics through the operator's browser.
func TestHost(t *testing.T) {
	t.Parallel()
	l := withFake(t, &fake{}, without)
	for host, allowed := range map[string]bool{
		"localhost": true, "LOCALHOST:9090": true, "127.0.0.1:9090": true, "127.8.9.1": true, "[::1]:9090": true, "[::1]": true,
		"evil.example": false, "evil.example:9090": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"192.0.2.1:9090": false, "0.0.0.0:9090": false,
	} {
		for _, path := range []string{"/", "/metrics", "/api/v1/openapi.yaml", "/api/v1/openapi.json", "/api/v1/stats"} {
			got := l.ask("GET", path, "", "Host", host)
			if refused := got.StatusCode == 403 && strings.Contains(string(got.body), `"code":"host"`); refused == allowed {
				t.Errorf("host %q, %s: %d", host, path, got.StatusCode)
			}
		}
	}
}

// Wrong tokens are slowed down, also for many at once, and shut nobody out: behind one proxy all clients have one address.
func TestGuessing(t *testing.T) {
	t.Parallel()
	l := withFake(t, &fake{})
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range 200 {
		all.Go(func() {
			got := l.ask("GET", "/api/v1/stats", "", "Authorization", fmt.Sprint("Bearer ", i))
			mu.Lock()
			defer mu.Unlock()
			statuses[got.StatusCode]++
		})
	}
	all.Wait()
	if statuses[401] != 10 || statuses[429] != 190 {
		t.Errorf("of 200 wrong tokens: %v, want 10 answered with 401", statuses)
	}
	for _, e := range examples() {
		for _, wrong := range []string{"", "Bearer x"} {
			got := l.ask(e.method, e.path, e.body, "Authorization", wrong)
			got.says(t, 429, "too_many_attempts")
			if got.Header.Get("Retry-After") != "6" {
				t.Errorf("Retry-After %q", got.Header.Get("Retry-After"))
			}
		}
		if got := l.ask(e.method, e.path, e.body); got.StatusCode == 401 || got.StatusCode == 429 {
			t.Errorf("%s %s: the operator is shut out: %d", e.method, e.path, got.StatusCode)
		}
	}
	if got := l.metric(`gatehouse_limited_total{limit="admin"}`); got == "0" {
		t.Error("not counted")
	}
	if n := strings.Count(l.log.String(), `"event":"admin_denied"`); n != 10 {
		t.Errorf("%d audit lines, want 10: who guesses must not fill the log", n)
	}
	l.clock.advance(6 * time.Second) // room for one more; the right token takes none of it
	for range 50 {
		if got := l.ask("GET", "/metrics", ""); got.StatusCode != 200 {
			t.Fatalf("later: %d", got.StatusCode)
		}
	}
	for _, want := range []int{401, 429} {
		if got := l.ask("GET", "/metrics", "", "Authorization", ""); got.StatusCode != want {
			t.Errorf("a wrong one: %d, want %d", got.StatusCode, want)
		}
	}
}

// from gives the status for a client.
func from(h http.Handler, client, token string) int {
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr = client
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestGuessersAreToldApart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h, err := admin.New(config.Admin{Token: secret}, admin.Deps{Pages: http.NotFoundHandler(), Log: zerolog.Nop(), Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"192.0.2.1:1", "[2001:db8::1]:1", "not an address"} {
		for range 20 {
			from(h, client, "wrong")
		}
	}
	for client, want := range map[string]int{
		"192.0.2.1:2": 429, "192.0.2.2:1": 401, "[2001:db8::2]:1": 429, "[2001:db8:0:1::1]:1": 401, "[::ffff:192.0.2.1]:9": 429, "@": 429,
	} {
		if got := from(h, client, "wrong"); got != want {
			t.Errorf("%s: %d, want %d", client, got, want)
		}
		if got := from(h, client, secret); got != 404 {
			t.Errorf("%s with the token: %d", client, got)
		}
	}
	// Memory is bounded: with enough other addresses the first is forgotten.
	for i := range 11_000 {
		from(h, fmt.Sprintf("10.%d.%d.1:1", i/256, i%256), "wrong")
	}
	if got := from(h, "192.0.2.1:3", "wrong"); got != 401 {
		t.Errorf("after 11,000 others: %d", got)
	}
}

// The file of the token is followed.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := strings.Repeat("another-token-", 3)
	write(" " + secret + "\r\n")
	l := withFake(t, &fake{}, func(s *settings) { s.Token, s.TokenFile = secret, file })
	is := func(what, token, refused string) {
		t.Helper()
		l.clock.advance(time.Minute)
		if got := l.ask("GET", "/metrics", "", "Authorization", "Bearer "+token); got.StatusCode != 200 {
			t.Errorf("%s: the token is refused: %d", what, got.StatusCode)
		}
		if got := l.ask("GET", "/metrics", "", "Authorization", "Bearer "+refused); got.StatusCode != 401 {
			t.Errorf("%s: the other token: %d", what, got.StatusCode)
		}
	}
	is("as it was", secret, other)
	write(other)
	is("changed", other, secret)
	for what, text := range map[string]string{"empty": "", "short": "short", "two lines": secret + "\n" + secret} {
		write(text)
		is(what, other, secret)
		is(what+", still", other, secret)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	is("gone", other, secret)
	write(secret + "\n")
	is("back", secret, other)
	log := l.log.String()
	if n := strings.Count(log, "stays in force"); n != 4 {
		t.Errorf("%d lines about the file, want one for each thing that was wrong: %s", n, log)
	}
	if strings.Contains(log, other) || strings.Contains(log, secret) || !strings.Contains(log, "has 5 characters") {
		t.Errorf("the log: %s", log)
	}
	// It is not read for every request.
	write(other)
	if got := l.ask("GET", "/metrics", ""); got.StatusCode != 200 {
		t.Errorf("within a second: %d", got.StatusCode)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		cfg  config.Admin
		text string
		says string
	}{
		"short":        {config.Admin{Token: "hunter2"}, "", "admin.token: has 7 characters"},
		"short file":   {config.Admin{TokenFile: "short"}, "hunter2", "admin.token_file: " + filepath.Join(dir, "short") + ": has 7 characters"},
		"missing file": {config.Admin{TokenFile: "missing"}, "", "missing: no such file or directory"},
	} {
		if c.cfg.TokenFile != "" {
			c.cfg.TokenFile = filepath.Join(dir, c.cfg.TokenFile)
			if c.text != "" {
				if err := os.WriteFile(c.cfg.TokenFile, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, err := admin.New(c.cfg, admin.Deps{})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") || strings.Count(err.Error(), dir) > 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
