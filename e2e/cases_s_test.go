package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testcert"
	"gatehouse/sample"
)

// sessionCases: sessions and their cookie (security case group S). What time, crashes and races do to
// sessions is in sessions_test.go, what outages do in outage_test.go.
var sessionCases = []securityCase{
	{"S01_exactly_one_cookie", both, func(t *testing.T, s *setup) {
		g, a := s.usual()
		b := s.browser(t, g)
		b.login(userEmail, userPassword)
		good, evil := "gatehouse="+b.token(), "gatehouse="+tagOf("2")+"."+strings.Repeat("A", 43)
		if got := s.one(t, g, "GET /account", "Cookie: "+good); got.StatusCode != 200 || got.Header["Set-Cookie"] != nil {
			t.Fatalf("one cookie: %s, %q", got.Status, got.Header["Set-Cookie"])
		}
		for name, lines := range map[string][]string{
			"evil first": {"Cookie: " + evil + "; " + good}, "good first": {"Cookie: " + good + "; " + evil}, "the same twice": {"Cookie: " + good + "; x=y; " + good},
			"two lines": {"Cookie: " + good, "Cookie: " + evil}, "two lines, evil first": {"Cookie: a=b; " + evil, "Cookie: " + good},
			"junk": {"Cookie: gatehouse=evil; " + good}, "empty": {"Cookie: " + good + "; gatehouse="}, "no value": {"Cookie: gatehouse; " + good},
			"odd blanks": {"Cookie: " + good + ";\t gatehouse =x"},
		} {
			for target, want := range map[string]int{"/account": 303, "/login": 200, "/logout": 200, "/.gatehouse/userinfo": 401, "/public/x": 200} {
				got := s.one(t, g, "GET "+target, lines...)
				cleared := got.Cookies()
				if got.StatusCode != want || len(cleared) != 1 || cleared[0].Name != "gatehouse" || cleared[0].MaxAge >= 0 || cleared[0].Path != "/" {
					t.Errorf("%s, %s: %s, Set-Cookie %q; want %d and the cookie cleared", name, target, got.Status, got.Header["Set-Cookie"], want)
				}
			}
			if r := a.last(t); r.Target != "/public/x" || r.Header["X-User-Id"] != nil || strings.Contains(r.Raw, "gatehouse") {
				t.Errorf("%s: the app got %q", name, r.Raw)
			}
		}
		// Browsers tell names apart by case, so this is another cookie. The app, which may not, sees neither.
		if got := s.one(t, g, "GET /account", "Cookie: Gatehouse=x; "+good); got.StatusCode != 200 || strings.Contains(a.last(t).Raw, "atehouse=") {
			t.Errorf("a cookie in another case: %s, the app got %q", got.Status, a.last(t).Raw)
		}
		// A browser may send one header line of HTTP/1.1 as several fields of HTTP/2 (RFC 9113, 8.2.3): one cookie among them is one.
		if s.h2() {
			got := s.one(t, g, "GET /account", "Cookie: a=b", "Cookie: "+good, "Cookie: c=d")
			if r := a.last(t); got.StatusCode != 200 || r.Header.Get("X-User-Id") != "2" || strings.Join(r.Header["Cookie"], "|") != "a=b; c=d" {
				t.Errorf("one cookie among crumbs: %s, the app got %q", got.Status, r.Header["Cookie"])
			}
		} else {
			t.Run("name", func(t *testing.T) { cookieName(t, s, s.app) })
		}
	}},

	{"S02_the_cookie_stays_between_browser_and_gateway", both, func(t *testing.T, s *setup) {
		set := []string{"gatehouse=evil", "GATEHOUSE=evil; Path=/", " Gatehouse = evil; HttpOnly", "gatehouse=; Max-Age=0", "other=1; Path=/", `j={"x":1}; Secure`, "gatehouse2=fine"}
		a := startApp(t, func(w io.Writer, _ seen) {
			lines := make([]string, len(set))
			for i, c := range set {
				lines[i] = "Set-Cookie: " + c
			}
			reply(w, "200 OK", "text/plain", "x", lines...)
		})
		g := s.start(t, baseConfig(a.url, s.section()), withUsers())
		b := s.browser(t, g)
		b.login(userEmail, userPassword)
		_, secret, _ := strings.Cut(b.token(), ".")
		for sent, want := range map[string]string{
			`j={"x":1}; gatehouse=T; sp=a b`:      `j={"x":1}; sp=a b`,
			`gatehouse=T`:                         "",
			`gatehouse=T; a="q,\"u"; e=; novalue`: `a="q,\"u"; e=; novalue`,
			`a=%zz;b=2;gatehouse=T`:               `a=%zz;b=2`,
			`u=ü€; gatehouse=T; gatehouse2=mine`:  `u=ü€; gatehouse2=mine`,
			`a=1; GateHouse=T; gatehouse=T; b=2`:  `a=1; b=2`,
			`a=1; %67atehouse=T; gatehouse=T`:     `a=1`,
			`x=1, gatehouse=T; gatehouse=T`:       `x=1`,
		} {
			for _, target := range []string{"/account", "/public/x"} {
				got := s.one(t, g, "GET "+target, "Cookie: "+strings.ReplaceAll(sent, "T", b.token()))
				if r := a.last(t); got.StatusCode != 200 || r.Target != target || strings.Join(r.Header["Cookie"], "|") != want || strings.Contains(r.Raw, secret) {
					t.Errorf("Cookie: %s: %s, arrives as %q, want %q", sent, got.Status, r.Header["Cookie"], want)
				}
				if s.h2() { // the same in crumbs
					crumbs := []string{}
					for crumb := range strings.SplitSeq(strings.ReplaceAll(sent, "T", b.token()), "; ") {
						crumbs = append(crumbs, "Cookie: "+crumb)
					}
					got = s.one(t, g, "GET "+target, crumbs...)
					if r := a.last(t); got.StatusCode != 200 || strings.Join(r.Header["Cookie"], "; ") != want || strings.Contains(r.Raw, secret) {
						t.Errorf("Cookie in crumbs: %s: %s, arrives as %q, want %q", sent, got.Status, r.Header["Cookie"], want)
					}
				}
				if lines := strings.Join(got.Header["Set-Cookie"], "|"); lines != `other=1; Path=/|j={"x":1}; Secure|gatehouse2=fine` {
					t.Errorf("the client got Set-Cookie %q", lines)
				}
			}
		}
	}},

	{"S03_login_makes_a_new_token", onlyH1, func(t *testing.T, s *setup) {
		sp := s.space()
		cfg := baseConfig(whoApp(t), sp.section())
		here, there := start(t, cfg, withUsers()), start(t, cfg, withUsers())
		attacker := newBrowser(t, here.url)
		attacker.login(userEmail, userPassword)
		planted, unknown := attacker.token(), tagOf("1")+"."+strings.Repeat("A", 43)
		for name, preset := range map[string]string{"another user's session": planted, "a token nobody issued": unknown, "junk": "evil"} {
			victim := holder(t, here, preset)
			if got := victim.post("/login", form("email", adminEmail, "password", "wrong")); got.StatusCode != 401 || victim.token() != preset {
				t.Errorf("%s, login refused: %s, the cookie has changed: %v", name, got.Status, victim.token() != preset)
			}
			if preset == planted && attacker.at(there).get("/account").StatusCode != 200 {
				t.Error("a login that was refused ended the session the browser had")
			}
			victim.login(adminEmail, adminPassword)
			if victim.token() == preset {
				t.Errorf("%s was adopted", name)
			}
			if got := victim.at(there).get("/account"); !strings.Contains(got.body, "user=1 ") {
				t.Errorf("%s: the victim is %s %q", name, got.Status, got.body)
			}
		}
		for i, g := range []*gateway{here, there} {
			for _, preset := range []string{planted, unknown} {
				if got := holder(t, g, preset).get("/account"); got.StatusCode != 303 {
					t.Errorf("a token from before the login still gives %s on replica %d", got.Status, i)
				}
			}
		}
		if sp.number(t, "EXISTS", sp.session(planted)) != 0 {
			t.Error("the previous session is still in Redis")
		}
		if got := metricSum(t, `gatehouse_sessions_ended_total{reason="replaced"}`, here); got != 1 {
			t.Errorf("the metric counts %d replaced sessions, want 1", got)
		}
		b := newBrowser(t, here.url)
		b.login(userEmail, userPassword)
		first := b.token()
		b.at(there).login(userEmail, userPassword)
		if b.token() == first || holder(t, here, first).get("/account").StatusCode != 303 || b.get("/account").StatusCode != 200 {
			t.Error("logging in again must replace the session of the same user")
		}
	}},

	{"S04_redis_holds_no_token", onlyH1, func(t *testing.T, s *setup) {
		sp := s.space()
		g := start(t, baseConfig(whoApp(t), sp.section()), withUsers())
		app := &spy{next: sample.New(sample.Options{})}
		viaApp := start(t, appConfig(startHTTPApp(t, app), sp.section(), sampleLogin), options{})
		b, c := newBrowser(t, g.url), newBrowser(t, viaApp.url)
		b.login(userEmail, userPassword)
		c.signInAtApp("admin@example.com", "correct-horse-1")
		vaulted := app.cookie("legacy_session")
		if got := c.get("/account"); got.StatusCode != 200 || vaulted == "" {
			t.Fatalf("through the app's form: %s, cookie of the app %q", got.Status, vaulted)
		}
		said.secret(vaulted)
		dump := sp.dump(t)
		for _, text := range dump {
			for name, secret := range map[string]string{
				"a token": b.token(), "a token's secret": b.token()[12:], "the other token's secret": c.token()[12:],
				"the app's cookie": vaulted, "a password": userPassword, "the app's password": "correct-horse-1",
			} {
				if strings.Contains(text, secret) {
					t.Errorf("Redis holds %s: %s", name, text)
				}
			}
		}
		replayed := 0
		for _, value := range cookiesOutOf(dump) {
			replayed++
			if got := one(t, g, "GET /api/x HTTP/1.1", "Cookie: gatehouse="+value); got.StatusCode != 401 {
				t.Errorf("%q out of Redis as cookie: %s", value, got.Status)
			}
		}
		if got := one(t, g, "GET /api/x HTTP/1.1", cookieHeader(b)); got.StatusCode != 200 || len(sp.sessions(t)) != 2 || replayed < 50 {
			t.Errorf("the real token gives %s, there are %d sessions, %d strings were replayed: this shows nothing", got.Status, len(sp.sessions(t)), replayed)
		}
		t.Logf("%d strings out of Redis were replayed as cookies", replayed)
		for _, secret := range []string{b.token()[12:], c.token()[12:], vaulted} {
			if strings.Contains(g.output()+viaApp.output(), secret) {
				t.Error("a log line holds a token or a cookie of the app")
			}
		}
	}},

	{"S05_malformed_tokens_cost_nothing", both, func(t *testing.T, s *setup) {
		sp := ownSpace(t)
		a := startApp(t, nil)
		g := s.start(t, baseConfig(a.url, sp.section()), withUsers())
		b := s.browser(t, g)
		b.login(userEmail, userPassword)
		good := b.token()
		bad := []string{"", "x", ".", good[:54], good + "A", good + "=", good[:11] + "." + good[:43], "=" + good[1:], strings.Replace(good, ".", "_", 1), `"` + good + `"`,
			good[:54] + "+", good[:54] + "%", "%2e" + good, good[:53] + "=", strings.Repeat("A", 9<<10), "." + good[:54], sessionID(good), good[:11], strings.Repeat(".", 55),
			// The last character holds two bits too many: lenient decoders take 4 texts for the same bytes.
			good[:54] + "B", good[:54] + "C", good[:54] + "D"}
		before := sp.commands(t)
		for _, token := range bad {
			for _, c := range []struct {
				line string
				want int
			}{{"GET /account", 303}, {"GET /public/x", 200}, {"GET /.gatehouse/userinfo", 401}, {"GET /logout", 200}, {"POST /logout", 303}} {
				if got := s.one(t, g, c.line, "Cookie: gatehouse="+token, "Content-Length: 0"); got.StatusCode != c.want {
					t.Errorf("%.60q, %s: %s, want %d", token, c.line, got.Status, c.want)
				}
			}
			if r := a.last(t); r.Header["X-User-Id"] != nil {
				t.Errorf("%.60q counts as user %s", token, r.Header["X-User-Id"])
			}
		}
		if asked := sp.since(t, before); len(asked) != 0 {
			t.Errorf("%d requests with malformed tokens made the gateway ask Redis: %v", 5*len(bad), asked)
		}
		before = sp.commands(t)
		s.one(t, g, "GET /account", "Cookie: gatehouse="+tagOf("2")+"."+strings.Repeat("A", 43))
		if asked := sp.since(t, before); asked["get"] == 0 {
			t.Errorf("a well-formed token was not looked up, so this case shows nothing: %v", asked)
		}
	}},

	{"S06_nothing_brings_a_session_back", onlyH1, nothingComesBack},
	{"S07_the_index_is_right_after_a_crash", onlyH1, indexAfterCrash},
	{"S08_idle_and_absolute_limits", onlyH1, func(t *testing.T, s *setup) {
		t.Run("limits", func(t *testing.T) { limitsHold(t, s) })
		t.Run("skewed clocks", func(t *testing.T) { skewedClocks(t, s) })
	}},
	{"S09_a_thousand_requests_one_write", onlyH1, oneWrite},
	{"S10_redis_away", onlyH1, redisAway},
	{"S11_records_that_cannot_be_read", onlyH1, unreadableRecords},
	{"S12_nobody_gets_anothers_identity", onlyH1, noMixUp},

	{"S13_what_caches_may_keep", onlyH1, func(t *testing.T, s *setup) {
		app := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if value := r.URL.Query().Get("cc"); value != "" {
				w.Header().Set("Cache-Control", value)
			}
			w.Header().Set("Content-Type", r.URL.Query().Get("type"))
			fmt.Fprint(w, "x")
		}))
		g := start(t, baseConfig(app, s.section()), withUsers())
		b := newBrowser(t, g.url)
		noStore := func(what string, got answer, status int) {
			t.Helper()
			if got.StatusCode != status || got.Header.Get("Cache-Control") != "no-store" || len(got.Header["Cache-Control"]) != 1 {
				t.Errorf("%s: %s with Cache-Control %q, want %d and no-store", what, got.Status, got.Header["Cache-Control"], status)
			}
		}
		noStore("login page", b.get("/login"), 200)
		noStore("refused login", b.post("/login", form("email", userEmail, "password", "x")), 401)
		noStore("bad login", b.post("/login", form("email", "a", "email", "b")), 400)
		noStore("redirect to login", b.get("/account"), 303)
		noStore("401", b.get("/api/x"), 401)
		noStore("userinfo, 401", b.get("/.gatehouse/userinfo"), 401)
		if got := b.get("/public/x?cc=public,max-age=60"); got.Header.Get("Cache-Control") != "public,max-age=60" {
			t.Errorf("anonymous answer of the app: %q", got.Header["Cache-Control"])
		}
		noStore("login", b.login(userEmail, userPassword), 303)
		noStore("userinfo", b.get("/.gatehouse/userinfo"), 200)
		noStore("logout page", b.get("/logout"), 200)
		for query, want := range map[string]string{
			"?cc=public": "private", "?cc=public,+max-age=60": "private, max-age=60", "?cc=max-age=60,+s-maxage=600": "private, max-age=60", "?cc=PUBLIC": "private",
			"?cc=max-age=60": "private, max-age=60", "?cc=private,+max-age=5": "private, max-age=5", "?cc=no-store": "no-store", "?type=image/png": "private",
			"?cc=no-cache": "private, no-cache", "?type=text/html": "private, no-store",
		} {
			if got := b.get("/account" + query).Header["Cache-Control"]; len(got) != 1 || got[0] != want {
				t.Errorf("protected, app says %s: %q, want %q", query, got, want)
			}
			got := strings.Join(b.get("/public/x" + query).Header["Cache-Control"], ",")
			if strings.Contains(got, "public") || strings.Contains(got, "s-maxage") || !strings.Contains(got, "private") && !strings.Contains(got, "no-store") {
				t.Errorf("public path, logged in, app says %s: %q", query, got)
			}
		}
		got := b.post("/logout", nil)
		noStore("logout", got, 303)
		if data := got.Header.Get("Clear-Site-Data"); data != `"cache"` {
			t.Errorf("logout: Clear-Site-Data %q", data)
		}
	}},
}

// cookieName: what the cookie is called, and what `check` refuses.
func cookieName(t *testing.T, s *setup, a *app) {
	dir := t.TempDir()
	cert, key := testcert.Write(t, dir)
	secure := strings.Replace(baseConfig(a.url, s.section()), "  cookie: {secure: false}\n", "  idle: 168h\n", 1)
	g := start(t, secure+fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\n", cert, key), withUsers())
	b := newBrowser(t, g.url)
	b.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	line := b.login(userEmail, userPassword).Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-gatehouse=", "; Secure", "; HttpOnly", "; Path=/", "; SameSite=Lax", "; Max-Age="} {
		if !strings.Contains(line, want) {
			t.Errorf("with TLS the cookie lacks %q: %q", want, line)
		}
	}
	if strings.Contains(line, "Domain") {
		t.Errorf("with TLS: %q", line)
	}
	for _, cookie := range []string{`{name: __Host-x, domain: example.com}`, `{name: __Host-x, secure: false}`} {
		file := filepath.Join(t.TempDir(), "g.yaml")
		writeFile(t, file, strings.Replace(baseConfig(a.url, s.section()), "{secure: false}", cookie, 1))
		if out, code := runCommand(t, "", "check", "--config", file); code != 1 || !strings.Contains(out, "session.cookie") || !strings.Contains(out, "__Host-") {
			t.Errorf("check with %s: exit %d, %s", cookie, code, out)
		}
	}
}

// cookiesOutOf makes cookie values of everything a thief of Redis would try: each string, its parts,
// the fields of records, and the parts put together to the form of a token.
func cookiesOutOf(dump []string) []string {
	var parts []string
	for _, text := range dump {
		parts = append(parts, text)
		parts = append(parts, strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(`:{}",`, r) })...)
		var fields map[string]any
		if json.Unmarshal([]byte(text), &fields) == nil {
			for _, v := range fields {
				parts = append(parts, fmt.Sprint(v))
			}
		}
	}
	known := make(map[string]bool)
	var all []string
	add := func(value string) {
		if !known[value] && value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			known[value] = true
			all = append(all, value)
		}
	}
	for _, part := range parts {
		add(part)
		if len(part) != 43 { // the length of a session ID, which is that of a token's secret too
			continue
		}
		for _, tag := range parts {
			if len(tag) == 11 {
				add(tag + "." + part)
			}
		}
	}
	return all
}

// skewedClocks (S08): replicas that disagree by two minutes about the time agree about who is logged in.
func skewedClocks(t *testing.T, s *setup) {
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	sp := s.space()
	var gateways []*gateway
	for _, skew := range []string{"-60s", "0s", "60s"} {
		opts := withUsers()
		opts.program, opts.env = program, []string{"GATEHOUSE_CLOCK=" + skew}
		gateways = append(gateways, start(t, baseConfig(whoApp(t), sp.section()), opts))
	}
	const idle, off = 168 * time.Hour, 61 * time.Second
	everywhere := func(what string, b *browser, want int) {
		t.Helper()
		for i, g := range gateways {
			eventually(t, fmt.Sprintf("%s to be answered %d by gateway %d", what, want, i), func() bool { return b.at(g).get("/account").StatusCode == want })
		}
	}
	for i, g := range gateways {
		what := fmt.Sprintf("a session of gateway %d", i)
		b := newBrowser(t, g.url)
		b.login(userEmail, userPassword)
		for k, at := range gateways { // at once, not in the end
			if got := b.at(at).get("/account"); got.StatusCode != 200 {
				t.Errorf("%s at gateway %d: %s", what, k, got.Status)
			}
		}
		first, key := sp.record(t, b.token()), sp.session(b.token())
		lives := func() time.Duration { return time.Duration(sp.number(t, "PTTL", key)) * time.Millisecond }
		if left := lives(); left > idle+off || left < idle-off {
			t.Errorf("%s lives for %v in Redis", what, left)
		}
		// A renewal by whichever moves neither the absolute limit nor the life by more than the clocks differ.
		for k, at := range gateways {
			sp.age(t, 20*time.Hour, b.token())
			aged := sp.text(t, "GET", key)
			if got := b.at(at).get("/account"); got.StatusCode != 200 {
				t.Errorf("%s, due to be renewed, at gateway %d: %s", what, k, got.Status)
			}
			eventually(t, what+" to be renewed", func() bool {
				_ = b.at(at).get("/account")
				return sp.text(t, "GET", key) != aged
			})
			if r := sp.record(t, b.token()); !r.ExpiresAt.Equal(first.ExpiresAt) || !r.CreatedAt.Equal(first.CreatedAt) {
				t.Errorf("%s, renewed by gateway %d, ends at %v and not at %v", what, k, r.ExpiresAt, first.ExpiresAt)
			}
			if left := lives(); left > idle+off || left < idle-off {
				t.Errorf("%s, renewed by gateway %d, lives for %v", what, k, left)
			}
		}
		everywhere(what, b, 200)
		// An end is one for all, and a login after it holds, whoever's clock says that it was before.
		other := gateways[(i+1)%len(gateways)]
		ended := holder(t, other, b.token())
		if got := b.at(other).post("/logout", nil); got.StatusCode != 303 {
			t.Errorf("logout: %s", got.Status)
		}
		everywhere(what+" that has ended", ended, 303)
		again := newBrowser(t, g.url)
		again.login(userEmail, userPassword)
		everywhere(what+", made again", again, 200)
	}
}
