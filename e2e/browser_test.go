package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"gatehouse/internal/testredis"
	"gatehouse/sample"
)

// house is what the browser tests work with: one browser and one Redis for all of them.
type house struct {
	*chromium
	redis *testredis.Server
}

// TestBrowser goes a person's ways through the gateway and the sample application, in Chromium.
func TestBrowser(t *testing.T) {
	h := &house{startChromium(t), testredis.Start(t)}
	// The group ends when all of its parallel tests have, and only then the browser does.
	t.Run("group", func(t *testing.T) {
		for _, way := range []struct {
			name string
			run  func(*testing.T, *house)
		}{
			{"S13_pages_of_any_caching", testBackPlainApp},
			{"redis_killed_and_back", testRedisOutage},
			{"keyboard_only", testKeyboardOnly},
			{"limited", testLimited},
			{"two_browsers_of_one_user", testTwoBrowsers},
			{"session_survives_a_restart", testGatewayRestart},
			{"session_expires", testExpiry},
			{"L01_logout_asks_first", testLogoutPage},
			{"S01_host_prefix_with_tls", testTLS},
			{"I07_scripts_see_no_session", testScripts},
			{"X04_streams_end_with_logout", testStreams},
			{"console_is_watched", testConsoleIsWatched},
		} {
			t.Run(way.name, func(t *testing.T) {
				t.Parallel()
				way.run(t, h)
			})
		}
		for _, way := range []struct {
			name string
			run  func(*testing.T, *house, loginWay)
		}{
			{"login_lands_on_the_wanted_page", testLogin},
			{"wrong_password", testWrongPassword},
			{"no_access", testNoAccess},
			{"S13_back_after_logout", testBack},
		} {
			for _, l := range []loginWay{fileLogin(), appLogin()} {
				t.Run(way.name+"/"+l.backend, func(t *testing.T) {
					t.Parallel()
					way.run(t, h, l)
				})
			}
		}
	})
}

// loginWay is a backend and the people who can log in through it.
type loginWay struct {
	backend     string
	user, admin visitor
	// refusal is what a wrong password is answered with.
	refusal string
}

func fileLogin() loginWay {
	return loginWay{backend: "file", refusal: "Check the email and the password",
		user: visitor{userEmail, userPassword, "Uma User"}, admin: visitor{adminEmail, adminPassword, "Ada Admin"}}
}

func appLogin() loginWay {
	of := func(u sample.User) visitor { return visitor{u.Email, u.Password, u.Name} }
	return loginWay{backend: "app", refusal: "Wrong email or password.",
		user: of(sample.Users()[1]), admin: of(sample.Users()[0])}
}

// sampleConfig puts the gateway in front of the sample application. Keys in more win.
func sampleConfig(upstream, backend, redis string) string {
	return fmt.Sprintf(`upstream: %s
default: public
rules:
  - path: /dashboard
  - path: /account
  - path: /admin
    roles: [admin]
  - path: /events
  - path: /ws
  - path: /api
    unauthenticated: json
login:
  backend: %s
  file: {path: users.yaml}
  app:
    success: {status: [302], location: ["/dashboard"]}
    identity:
      from: whoami
      whoami_path: /api/me
      fields: {userId: id, email: email, name: name, role: role}
  limits: {per_address: 6000/m, per_account: 6000/m, burst: 1000}
session:
  cookie: {secure: false}
%s`, upstream, backend, redis)
}

// sampleApp starts the sample application.
func sampleApp(t *testing.T) string {
	t.Helper()
	return startHTTPApp(t, sample.New(sample.Options{TrustHeaders: true, EventInterval: 20 * time.Millisecond}))
}

// section is a `redis:` section with keys of its own on the shared Redis.
func (h *house) section() string {
	return redisSection(h.redis, prefix())
}

// redisSection has a long timeout: the browser may keep both cores busy for a while.
func redisSection(server *testredis.Server, keyPrefix string) string {
	return fmt.Sprintf("redis: {addresses: [%q], key_prefix: %q, timeout: 2s}\n", server.Addr, keyPrefix)
}

// gateway starts a gateway in front of a sample application.
func (h *house) gateway(t *testing.T, backend string) *gateway {
	t.Helper()
	return start(t, sampleConfig(sampleApp(t), backend, h.section()), withUsers())
}

// testConsoleIsWatched shows that the other tests would see what they look for.
func testConsoleIsWatched(t *testing.T, h *house) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "script-src 'nonce-a'")
		_, _ = io.WriteString(w, `<link rel="icon" href="data:,"><script>blocked()</script><script nonce="a">console.error("said"); undefined.member</script>`)
	}))
	defer page.Close()
	b := h.person(t, page.URL)
	b.open("/")
	var all string
	eventually(t, "a blocked script, an error and an exception in the console", func() bool {
		all += strings.Join(b.complained(), "\n")
		return strings.Contains(all, "Content Security Policy") && strings.Contains(all, "console.error") && strings.Contains(all, "exception")
	})
}

func testLogin(t *testing.T, h *house, l loginWay) {
	b := h.person(t, h.gateway(t, l.backend).url)
	b.login("/account?from=mail", l.user)
	if got := b.here(); got != "/account?from=mail" {
		t.Errorf("the login led to %s", got)
	}
	for _, want := range []string{l.user.email, l.user.name, "the gateway's headers"} {
		b.see(want)
	}
	b.open("/login")
	b.typeLogin(l.admin, l.admin.password)
	b.until("location.pathname !== '/login'")
	if got := b.open("/admin"); got != http.StatusOK {
		t.Errorf("the admin gets %d at /admin after changing accounts", got)
	}
	b.see("Ada Admin")
}

func testWrongPassword(t *testing.T, h *house, l loginWay) {
	b := h.person(t, h.gateway(t, l.backend).url)
	b.open("/account?from=mail")
	b.typeLogin(l.user, "wrong")
	b.until(fmt.Sprintf("document.querySelector('[role=alert]')?.innerText.includes(%q)", l.refusal))
	if b.cookie("gatehouse") != "" {
		t.Error("a wrong password was given a session")
	}
	b.typeLogin(l.user, l.user.password)
	b.arrive("/account")
	if got := b.here(); got != "/account?from=mail" {
		t.Errorf("the second try led to %s", got)
	}
	b.see(l.user.email)
}

func testNoAccess(t *testing.T, h *house, l loginWay) {
	b := h.person(t, h.gateway(t, l.backend).url)
	b.login("/account", l.user)
	if got := b.open("/admin"); got != http.StatusForbidden {
		t.Errorf("/admin without the role: %d, want 403", got)
	}
	b.see("No access")
	b.click("a.button")
	b.arrive("/")
	b.see("You are " + l.user.name)
}

func testLimited(t *testing.T, h *house) {
	l := fileLogin()
	config := strings.Replace(sampleConfig(sampleApp(t), l.backend, h.section()), "per_account: 6000/m, burst: 1000", "per_account: 1/m, burst: 2", 1)
	b := h.person(t, start(t, config, withUsers()).url)
	b.open("/login")
	for range 2 {
		b.typeLogin(l.user, "wrong")
		b.until("document.querySelector('[role=alert]') && document.querySelector('input[type=password]').value === ''")
	}
	b.typeLogin(l.user, l.user.password)
	b.see("Too many attempts")
	b.see("Try again in")
	if got := b.status(); got != http.StatusTooManyRequests {
		t.Errorf("status %d, want 429", got)
	}
	if b.cookie("gatehouse") != "" {
		t.Error("a limited login has a session")
	}
}

// testKeyboardOnly: no mouse, and at each step one sees where one is.
func testKeyboardOnly(t *testing.T, h *house) {
	l := fileLogin()
	b := h.person(t, h.gateway(t, l.backend).url)
	said.secret(l.user.password)
	focused := func(selector string) {
		t.Helper()
		b.until(fmt.Sprintf(`document.activeElement.matches(%q) && document.activeElement.matches(':focus-visible') &&
			getComputedStyle(document.activeElement).outlineStyle === 'solid'`, selector))
	}
	b.open("/account")
	b.arrive("/login")
	focused("#account")
	b.press(l.user.email + kb.Tab)
	focused("#password")
	b.press("wrong" + kb.Tab)
	focused("button")
	b.press(kb.Enter)
	b.until("document.querySelector('[role=alert]')")
	focused("#account")
	b.press(l.user.email + kb.Tab + l.user.password + kb.Enter)
	b.arrive("/account")
	b.open("/logout?next=%2Fecho")
	b.press(kb.Tab)
	focused("button")
	b.press(kb.Tab)
	focused("a")
	b.press(kb.Enter) // stay
	b.arrive("/echo")
	b.see(l.user.email)
	b.open("/logout?next=%2Fecho")
	b.press(kb.Tab)
	focused("button")
	b.press(kb.Enter)
	b.arrive("/echo")
	b.until("!document.body.innerText.includes('X-User-')")
}

// testLogoutPage: opening the logout path asks, pressing the button logs out (L01).
func testLogoutPage(t *testing.T, h *house) {
	l := fileLogin()
	b := h.person(t, h.gateway(t, l.backend).url)
	b.login("/account", l.user)
	if got := b.open("/logout"); got != http.StatusOK {
		t.Errorf("the logout page has status %d", got)
	}
	b.see("You are logged in as " + l.user.name)
	if got := b.open("/account"); got != http.StatusOK || b.here() != "/account" {
		t.Fatalf("looking at the logout page has logged out: %d at %s", got, b.here())
	}
	b.open("/logout")
	b.click("button")
	b.arrive("/")
	b.see("Nobody is logged in")
	for _, path := range []string{"/account", "/dashboard", "/admin"} {
		b.open(path)
		b.arrive("/login")
	}
	b.open("/logout")
	b.see("You are logged out")
}
