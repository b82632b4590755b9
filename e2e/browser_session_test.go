package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"gatehouse/internal/testcert"
	"gatehouse/internal/testredis"
)

func testTwoBrowsers(t *testing.T, h *house) {
	l := fileLogin()
	g := h.gateway(t, l.backend)
	office, home := h.person(t, g.url), h.person(t, g.url)
	office.login("/account", l.user)
	home.login("/account", l.user)
	if office.cookie("gatehouse") == home.cookie("gatehouse") {
		t.Error("two logins, one token")
	}
	office.logout()
	office.open("/account")
	office.arrive("/login")
	if got := home.open("/account"); got != http.StatusOK || home.here() != "/account" {
		t.Errorf("logging out in one browser ended the session in the other: %d at %s", got, home.here())
	}
	home.see(l.user.email)
}

func testGatewayRestart(t *testing.T, h *house) {
	l := appLogin() // here the application's cookies must survive too
	config := sampleConfig(sampleApp(t), l.backend, h.section())
	g := start(t, config, withUsers())
	b := h.person(t, g.url)
	b.login("/account", l.user)
	token := b.cookie("gatehouse")
	g.kill()
	start(t, "listen: "+g.addr+"\n"+config, withUsers())
	if got := b.open("/account"); got != http.StatusOK || b.here() != "/account" {
		t.Fatalf("after the restart: %d at %s", got, b.here())
	}
	b.see(l.user.email)
	b.see("Own session\t" + l.user.email)
	if b.cookie("gatehouse") != token {
		t.Error("the cookie has changed")
	}
}

func testExpiry(t *testing.T, h *house) {
	l := fileLogin()
	keys := prefix()
	config := strings.Replace(sampleConfig(sampleApp(t), l.backend, redisSection(h.redis, keys)), "session:\n", "session:\n  idle: 2s\n", 1)
	b := h.person(t, start(t, config, withUsers()).url)
	b.login("/account", l.user)
	count := func() int {
		answer := h.redis.Do(t, "KEYS", keys+"session:*")
		all, err := answer.AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if count() != 1 {
		t.Fatal("the session is not in Redis")
	}
	// Nothing may be asked of the gateway meanwhile: that would keep the session alive.
	eventually(t, "the session to expire in Redis", func() bool { return count() == 0 })
	b.open("/account")
	b.arrive("/login")
	b.typeLogin(l.user, l.user.password)
	b.arrive("/account")
	b.see(l.user.email)
}

func testRedisOutage(t *testing.T, h *house) {
	l := appLogin()
	redis := testredis.Start(t, testredis.Persistent())
	app, section := sampleApp(t), redisSection(redis, "")
	g := start(t, sampleConfig(app, l.backend, section), withUsers())
	replica := start(t, sampleConfig(app, l.backend, section), withUsers())
	known, unknown := h.person(t, g.url), h.person(t, replica.url)
	known.login("/account", l.user)
	// Cookies are for a host, whatever the port: this session is one the first gateway has not seen.
	unknown.login("/account", l.admin)
	unknown.base = g.url
	token := unknown.cookie("gatehouse")

	redis.Kill()
	if got := known.open("/account"); got != http.StatusOK || known.here() != "/account" {
		t.Errorf("a known session during the outage: %d at %s", got, known.here())
	}
	known.see(l.user.email)
	if got := unknown.open("/account"); got != http.StatusServiceUnavailable {
		t.Errorf("an unknown session during the outage: %d at %s, want 503", got, unknown.here())
	}
	unknown.see("You are not logged out")
	if got := unknown.open("/"); got != http.StatusOK {
		t.Errorf("a public page during the outage: %d", got)
	}
	unknown.see("Nobody is logged in")
	stranger := h.person(t, g.url)
	stranger.open("/account")
	stranger.arrive("/login")
	stranger.typeLogin(l.user, l.user.password)
	stranger.until("location.pathname === '/login' && performance.getEntriesByType('navigation')[0].responseStatus === 503")
	if got := unknown.cookie("gatehouse"); got != token {
		t.Error("the outage cost somebody the cookie")
	}

	redis.Restart()
	eventually(t, "the unknown session to be served again", func() bool {
		return unknown.open("/account") == http.StatusOK && unknown.here() == "/account"
	})
	unknown.see(l.admin.email)
	if got := known.open("/account"); got != http.StatusOK || known.here() != "/account" {
		t.Errorf("the known session after the outage: %d at %s", got, known.here())
	}
	stranger.login("/account", l.user)
	known.logout()
	known.open("/account")
	known.arrive("/login")
}

// testStreams: an SSE stream and a WebSocket work, and end when another tab logs out (X04).
func testStreams(t *testing.T, h *house) {
	l := appLogin()
	b := h.person(t, h.gateway(t, l.backend).url)
	b.login("/account", l.user)
	b.open("/chat")
	b.see("connected")
	b.fill("#text", "hello")
	b.press(kb.Enter)
	b.see("echo: hello")
	b.until(`(window.events = 0, window.users = new Set(), window.source = new EventSource("/events"),
		source.onmessage = event => { events++; users.add(JSON.parse(event.data).user) })`)
	b.until("events >= 3")
	b.until(fmt.Sprintf("users.size === 1 && users.has(%q)", l.user.email))

	other := b.another()
	other.open("/account")
	other.logout()
	b.until("document.getElementById('log').innerText.includes('closed')")
	b.until("source.readyState === EventSource.CLOSED") // it tried again, and was refused
	for _, complaint := range b.complained() {
		if !strings.Contains(complaint, "/events") { // an interrupted stream is what this is about
			t.Error(complaint)
		}
	}
}

// testScripts: what a script in the application's page can read holds no session (I07, HttpOnly).
func testScripts(t *testing.T, h *house) {
	l := appLogin()
	b := h.person(t, h.gateway(t, l.backend).url)
	b.open("/login")
	if b.cookie("legacy_session") == "" {
		t.Fatal("before the login the application's cookies should pass")
	}
	b.login("/account", l.user)
	b.see("Own session\t" + l.user.email) // the application gets its cookie all the same
	visible, _ := try[string](b, "document.cookie")
	if !strings.Contains(visible, "csrftoken=") {
		t.Errorf("the application's scripts need its CSRF cookie, and see %q", visible)
	}
	for _, secret := range []string{"gatehouse", "legacy_session", b.cookie("gatehouse")} {
		if strings.Contains(visible, secret) {
			t.Errorf("document.cookie is %q", visible)
		}
	}
	all := b.cookies()
	if all["legacy_session"] != nil {
		t.Error("the browser still holds the application's session cookie")
	}
	if own := all["gatehouse"]; !own.HTTPOnly || own.SameSite != "Lax" || own.Path != "/" {
		t.Errorf("the gateway's cookie: %+v", own)
	}
	b.logout()
	if left, _ := try[string](b, "document.cookie"); left != "" {
		t.Errorf("after the logout document.cookie is %q", left)
	}
	if left := b.cookies(); len(left) != 0 {
		t.Errorf("after the logout the browser holds %v", left)
	}
}

// testTLS: with TLS the cookie has the __Host- prefix, and the browser takes it (S01).
func testTLS(t *testing.T, h *house) {
	l := appLogin()
	cert, key := testcert.Write(t, t.TempDir())
	config := strings.Replace(sampleConfig(sampleApp(t), l.backend, h.section()), "secure: false", "secure: true", 1) +
		fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\n", cert, key)
	g := start(t, config, withUsers())
	if u, err := url.Parse(g.url); err != nil || u.Scheme != "https" {
		t.Fatalf("the gateway says it is at %s", g.url)
	}
	b := h.person(t, g.url)
	b.login("/account", l.user)
	b.see(l.user.email)
	own := b.cookies()["__Host-gatehouse"]
	if own == nil || !own.Secure || !own.HTTPOnly || own.Path != "/" || strings.HasPrefix(own.Domain, ".") {
		t.Fatalf("the gateway's cookie: %+v", own)
	}
	b.open("/chat") // a WebSocket over TLS
	b.see("connected")
	b.open("/account")
	b.logout()
	b.open("/account")
	b.arrive("/login")
}
