package e2e

import (
	"bufio"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	if out, code := runCommand(t, "", "version"); code != 0 || !strings.Contains(out, "gatehouse ") || !strings.Contains(out, "go1.") {
		t.Errorf("version: exit %d, %s", code, out)
	}
	for _, args := range [][]string{{}, {"serve"}, {"demo"}, {"check"}, {"explain"}, {"users"}, {"users", "add"}, {"users", "passwd"}, {"users", "remove"}, {"users", "list"}, {"sample"}, {"healthcheck"}, {"version"}, {"completion"}} {
		out, code := runCommand(t, "", append(args, "--help")...)
		if code != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, "gatehouse") {
			t.Errorf("%v --help: exit %d, no examples: %s", args, code, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, code := runCommand(t, "", "completion", shell); code != 0 || !strings.Contains(out, "gatehouse") {
			t.Errorf("completion %s: exit %d", shell, code)
		}
	}
	if out, code := runCommand(t, "", "users", "bogus"); code != 1 || !strings.Contains(out, "bogus") {
		t.Errorf("a mistyped subcommand: exit %d, %s", code, out)
	}
	if out, code := runCommand(t, "", "serv"); code != 1 || !strings.Contains(out, "serve") {
		t.Errorf("a mistyped command is not helped: exit %d, %s", code, out)
	}
	if out, code := runCommand(t, "", "serve"); code != 1 || !strings.Contains(out, "--config") || !strings.Contains(out, "--upstream") {
		t.Errorf("serve without anything: exit %d, %s", code, out)
	}
}

func TestCheckPrintsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "bad.yaml")
	writeFile(t, file, `listen: 127.0.0.1:8080
upstraem: http://127.0.0.1:3000
upstream: ftp://127.0.0.1:3000
trusted_proxies: [0.0.0.0/0]
rules:
  - path: admin
  - path: "*.css"
    access: public
session:
  idle: 2 weeks
redis:
  addresses: ["`+nobody(t)+`"]
`)
	out, code := runCommand(t, "", "check", "--config", file)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{
		":2: upstraem", "upstream", ":3: upstream", ":4: trusted_proxies[0]", ":6: rules[0].path", "/admin", ":7: rules[1].path", ":10: session.idle",
		"redis.addresses: 127.0.0.1:", "refused", "problems",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// Every application is tried, and named.
	two := filepath.Join(dir, "two.yaml")
	first, second := nobody(t), nobody(t)
	writeFile(t, two, "upstream: http://"+first+"\nrules: [{path: /api, upstream: \"http://"+second+"\"}]\nredis: {addresses: [embedded]}\nlogin: {file: {path: two-users.yaml}}\n")
	writeFile(t, filepath.Join(dir, "two-users.yaml"), usersYAML())
	if out, code := runCommand(t, "", "check", "--config", two); code != 1 || !strings.Contains(out, "upstream: http://"+first+": ") ||
		!strings.Contains(out, "rules[0].upstream: http://"+second+": ") || !strings.Contains(out, "2 problems") {
		t.Errorf("two applications are away: exit %d\n%s", code, out)
	}
	// What is right says so, and what it points to is tried.
	redis, section := storeFor(t)
	a := startApp(t, nil)
	writeFile(t, filepath.Join(dir, "users.yaml"), usersYAML())
	good := filepath.Join(dir, "good.yaml")
	writeFile(t, good, baseConfig(a.url, section))
	if out, code := runCommand(t, "", "check", "--config", good); code != 0 || strings.Count(out, "ok ") < 4 || !strings.Contains(out, "2 users") {
		t.Errorf("good config: exit %d\n%s", code, out)
	}
	redis.Kill()
	_ = a.listener.Close()
	writeFile(t, filepath.Join(dir, "users.yaml"), "users: [{email: x}]")
	out, code = runCommand(t, "", "check", "--config", good)
	if code != 1 || strings.Count(out, "problem ") != 3 || !strings.Contains(out, "3 problems") {
		t.Errorf("everything around is broken: exit %d\n%s", code, out)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "g.yaml")
	cfg := baseConfig("http://127.0.0.1:3000", "redis: {addresses: [embedded]}\n")
	cfg = strings.Replace(cfg, "    unauthenticated: json\n", "    unauthenticated: json\n    max_body: 2MiB\n    request_limits: {per_user: 5/s}\n    security_headers: {frame_options: deny}\n", 1)
	writeFile(t, file, cfg+"request_limits: {per_address: 300/m, burst: 20}\nsecurity_headers: {hsts: 24h, content_type_options: true}\n")
	for _, c := range []struct {
		method, target string
		want           []string
	}{
		{"GET", "/api", []string{"body up to 2MiB", "5/s for each user, 5 at once", "X-Frame-Options: DENY", "X-Content-Type-Options: nosniff", "Strict-Transport-Security: max-age=86400 (https only)"}},
		{"GET", "/elsewhere", []string{"body up to 1GiB", "300/m from each address, 20 at once", "X-Content-Type-Options: nosniff"}},
		{"GET", "/admin/x", []string{"rules[1] (path: /admin)", "role is admin", "303 to /login", "X-User-Id: 42", "X-User-Role: admin", "http://127.0.0.1:3000"}},
		{"GET", "/ADMIN", []string{"rules[1]"}},
		{"GET", "/admin/health", []string{"rules[2]", "everybody"}},
		{"GET", "/api/x?y=z", []string{"rules[3]", "401 JSON"}},
		{"GET", "/other", []string{"`default: public` decides"}},
		{"GET", "/public/..%2fadmin", []string{"400"}},
		{"TRACE", "/", []string{"405"}},
		{"GET", "/login", []string{"by the gateway itself: login"}},
		{"POST", "/logout", []string{"by the gateway itself: logout"}},
		{"GET", "/.gatehouse/readyz", []string{"endpoint readyz"}},
	} {
		out, code := runCommand(t, "", "explain", "--config", file, c.method, c.target)
		if code != 0 {
			t.Errorf("%s %s: exit %d: %s", c.method, c.target, code, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s %s: no %q in\n%s", c.method, c.target, want, out)
			}
		}
	}
}

func TestUsersCommands(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.yaml")
	run := func(want int, stdin string, args ...string) string {
		t.Helper()
		out, code := runCommand(t, stdin, append(append([]string{"users"}, args...), "--file", file)...)
		if code != want {
			t.Fatalf("%v: exit %d\n%s", args, code, out)
		}
		return out
	}
	run(0, "correct-horse-9\n", "add", "--email", "new@example.com", "--name", "Nina New", "--role", "admin", "--password-stdin")
	if out := run(0, "", "list"); !strings.Contains(out, "new@example.com") || !strings.Contains(out, "admin") || strings.Contains(out, "$argon2") {
		t.Errorf("list: %s", out)
	}
	if text, _ := os.ReadFile(file); !strings.Contains(string(text), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the file: %s", text)
	}
	if out := run(1, "correct-horse-9\n", "add", "--email", "NEW@example.com", "--password-stdin"); !strings.Contains(out, "already") {
		t.Errorf("the same account twice: %s", out)
	}
	if out := run(1, "short\n", "add", "--email", "b@example.com", "--password-stdin"); !strings.Contains(out, "8") {
		t.Errorf("a short password: %s", out)
	}

	// A running gateway follows the file: the new user can log in, with the new password after passwd, not
	// after remove; a broken edit keeps the old users and says so.
	a := startApp(t, nil)
	_, section := storeFor(t)
	cfg := strings.Replace(baseConfig(a.url, section), "users.yaml", file, 1)
	g := start(t, cfg, options{})
	tries := func(password string) int {
		return newBrowser(t, g.url).post("/login", form("email", "new@example.com", "password", password)).StatusCode
	}
	if got := tries("correct-horse-9"); got != 303 {
		t.Fatalf("login of the added user: %d", got)
	}
	run(0, "battery-staple-9\n", "passwd", "--email", "new@example.com", "--password-stdin")
	eventually(t, "the new password to work", func() bool { return tries("battery-staple-9") == 303 })
	if got := tries("correct-horse-9"); got != 401 {
		t.Errorf("the old password: %d", got)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, "users:\n  - {email: broken")
	eventually(t, "a log line about the broken edit", func() bool {
		return strings.Contains(g.output(), "users.yaml") && strings.Contains(g.output(), `"level":"error"`)
	})
	if got := tries("battery-staple-9"); got != 303 {
		t.Errorf("a broken edit logs people out: %d", got)
	}
	writeFile(t, file, string(good))
	run(0, "", "remove", "--email", "new@example.com")
	eventually(t, "the removed user to be refused", func() bool { return tries("battery-staple-9") == 401 })
}

func TestServeWithUpstreamAlone(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil)
	dir := t.TempDir()
	out, code := runCommand(t, "correct-horse-9\n", "users", "add", "--file", filepath.Join(dir, "users.yaml"), "--email", "a@example.com", "--password-stdin")
	if code != 0 {
		t.Fatal(out)
	}
	g := launch(t, dir, []string{"serve", "--upstream", a.url, "--listen", "127.0.0.1:0"}, []string{"GATEHOUSE_LOG_FORMAT=json"})
	if log := g.output(); !strings.Contains(log, "EMBEDDED STORE") || !strings.Contains(log, `"level":"warn"`) {
		t.Errorf("no loud warning: %s", log)
	}
	b := newBrowser(t, g.url)
	if got := b.get("/x"); got.StatusCode != 303 {
		t.Errorf("everything is protected: %s", got.Status)
	}
	b.login("a@example.com", "correct-horse-9")
	if got := b.get("/x"); got.StatusCode != 200 || a.last(t).Header.Get("X-User-Email") != "a@example.com" {
		t.Errorf("after login: %s, %v", got.Status, a.last(t).Header)
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil)
	dir := t.TempDir()
	secret := filepath.Join(dir, "redis-password")
	writeFile(t, secret, "pässword-of-redis\n")
	said.secret("pässword-of-redis")
	redis := testredis.Start(t, testredis.Password("pässword-of-redis"))
	cfg := baseConfig("http://127.0.0.1:1", fmt.Sprintf("redis: {addresses: [%q]}\n", redis.Addr))
	g := start(t, cfg, options{files: withUsers().files,
		env:  []string{"GATEHOUSE_REDIS_PASSWORD_FILE=" + secret, "GATEHOUSE_UPSTREAM=http://127.0.0.1:2", "GATEHOUSE_SESSION_COOKIE_NAME=mine"},
		args: []string{"--upstream", a.url}})
	b := newBrowser(t, g.url)
	got := b.post("/login", form("email", userEmail, "password", userPassword))
	if c := got.Cookies(); got.StatusCode != 303 || len(c) != 1 || c[0].Name != "mine" {
		t.Fatalf("login: %s, cookies %v", got.Status, c)
	}
	if got := b.get("/account"); got.StatusCode != 200 {
		t.Errorf("the flag does not win over the environment: %s", got.Status)
	}
	bad := exec.Command(binary, "serve", "--config", filepath.Join(g.dir, "gatehouse.yaml"))
	bad.Env = append(os.Environ(), "GATEHOUSE_REDIS_PASWORD=x", "GATEHOUSE_SESSION_IDLE=soon")
	out, err := bad.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "GATEHOUSE_REDIS_PASSWORD") || !strings.Contains(string(out), "GATEHOUSE_SESSION_IDLE") {
		t.Errorf("bad environment: %v\n%s", err, out)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"app", "file"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(binary, "demo", "--listen", "127.0.0.1:0", "--backend", backend)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			var text, base string
			for lines.Scan() {
				text += lines.Text() + "\n"
				if m := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(lines.Text()); m != "" && base == "" {
					base = m
					t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
				}
				if strings.Contains(lines.Text(), "Ctrl-C") {
					break
				}
			}
			for _, want := range []string{"admin@example.com", "correct-horse-1", "user@example.com", "correct-horse-2", "1. ", "5. ", "trying out only"} {
				if !strings.Contains(text, want) {
					t.Errorf("the demo does not print %q:\n%s", want, text)
				}
			}
			b := newBrowser(t, base)
			if got := b.get("/account"); got.StatusCode != 303 || got.location() != "/login?next=%2Faccount" {
				t.Errorf("/account: %s to %s", got.Status, got.location())
			}
			page := b.get("/login?next=%2Faccount")
			fields := hiddenFields(page.body)
			account := "email"
			if fields.Has("account") { // the gateway's own page
				account = "account"
			}
			fields.Set(account, "user@example.com")
			fields.Set("password", "correct-horse-2")
			got := b.post("/login?next=%2Faccount", fields, "Origin", base, "Referer", base+"/login?next=%2Faccount")
			if got.StatusCode/100 != 3 || got.location() != "/account" || b.token() == "" {
				t.Fatalf("login: %s to %q, %s", got.Status, got.location(), got.body)
			}
			if got := b.get("/account"); got.StatusCode != 200 || !strings.Contains(got.body, "user@example.com") {
				t.Errorf("/account: %s %s", got.Status, got.body)
			}
			if got := b.get("/admin"); got.StatusCode != 403 {
				t.Errorf("/admin as a user: %s", got.Status)
			}
			if got := b.get("/echo?format=json"); !strings.Contains(got.body, "X-User-Id") {
				t.Errorf("/echo: %s", got.body)
			}
			if got := b.get("/api/time", "Accept", "application/json"); got.StatusCode != 200 {
				t.Errorf("/api/time: %s", got.Status)
			}
			if got := b.post("/logout", nil); got.StatusCode != 303 {
				t.Errorf("logout: %s", got.Status)
			}
			if got := b.get("/account"); got.StatusCode != 303 {
				t.Errorf("after logout: %s", got.Status)
			}
			_ = cmd.Process.Signal(os.Interrupt)
			if err := cmd.Wait(); err != nil {
				t.Errorf("Ctrl-C does not end it cleanly: %v", err)
			}
		})
	}
}

// hiddenFields reads the hidden fields of the form on a page.
func hiddenFields(page string) url.Values {
	fields := make(url.Values)
	for _, input := range regexp.MustCompile(`<input[^>]*>`).FindAllString(page, -1) {
		name := regexp.MustCompile(`name="([^"]*)"`).FindStringSubmatch(input)
		value := regexp.MustCompile(`value="([^"]*)"`).FindStringSubmatch(input)
		if name != nil && value != nil {
			fields.Set(name[1], html.UnescapeString(value[1]))
		}
	}
	return fields
}

func TestHealthcheckCommand(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil)
	redis, section := storeFor(t)
	g := start(t, baseConfig(a.url, section), withUsers())
	ready := func() (string, int) { return runCommand(t, "", "healthcheck", "--url", g.url+"/.gatehouse/readyz") }
	if out, code := runCommand(t, "", "healthcheck", "--url", g.url+"/.gatehouse/healthz"); code != 0 {
		t.Errorf("healthz: exit %d, %s", code, out)
	}
	eventually(t, "readiness", func() bool { _, code := ready(); return code == 0 })
	redis.Kill()
	eventually(t, "readyz to tell that Redis is away", func() bool {
		out, code := ready()
		return code == 1 && strings.Contains(out, "redis") && strings.Contains(out, `"app":"ok"`)
	})
	if _, code := runCommand(t, "", "healthcheck", "--url", g.url+"/.gatehouse/healthz"); code != 0 {
		t.Error("healthz fails because Redis is away")
	}
}

func TestTermination(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/public/slow" {
			close(arrived)
			<-release
		}
		fmt.Fprint(w, "finished")
	}))
	_, section := storeFor(t)
	g := start(t, baseConfig(upstream, section)+"shutdown_delay: 2s\n", withUsers())
	got := make(chan string, 1)
	go func() {
		resp, err := http.Get(g.url + "/public/slow")
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		line, _ := bufio.NewReader(resp.Body).ReadString('\n')
		got <- line
	}()
	<-arrived
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	g.logged(t, map[string]any{"message": "shutting down: no new connections, running requests finish"})
	// Not ready comes first, on new connections too.
	if out, code := runCommand(t, "", "healthcheck", "--url", g.url+"/.gatehouse/readyz"); code != 1 || !strings.Contains(out, "shutting down") {
		t.Errorf("readyz after SIGTERM: exit %d, %s", code, out)
	}
	close(release)
	if body := <-got; body != "finished" {
		t.Errorf("the running request got %q", body)
	}
	select {
	case <-g.gone:
		if g.err != nil {
			t.Errorf("SIGTERM: %v", g.err)
		}
	case <-time.After(15 * time.Second):
		t.Error("the gateway did not end")
	}
}

func TestSessionSurvivesARestartOfTheGateway(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil)
	_, section := storeFor(t)
	g := start(t, baseConfig(a.url, section), withUsers())
	b := newBrowser(t, g.url)
	b.login(userEmail, userPassword)
	g.kill()
	again := start(t, baseConfig(a.url, section), withUsers())
	b.base = again.url
	if got := b.get("/account"); got.StatusCode != 200 || a.last(t).Header.Get("X-User-Id") != "2" {
		t.Errorf("after kill -9 and a new start: %s", got.Status)
	}
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
