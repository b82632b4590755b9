package pages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/telemetry"
)

// everyPage gives one answer of each kind.
func everyPage(p *pages.Pages) map[string]*httptest.ResponseRecorder {
	answers := map[string]*httptest.ResponseRecorder{}
	write := func(name string, f func(http.ResponseWriter, *http.Request)) {
		w := httptest.NewRecorder()
		f(w, request("GET", "/"))
		answers[name] = w
	}
	write("login", func(w http.ResponseWriter, r *http.Request) {
		p.Login(w, r, 200, pages.LoginView{Action: "/login", Next: "/account"})
	})
	write("login refused", func(w http.ResponseWriter, r *http.Request) {
		p.Login(w, r, 401, pages.LoginView{Action: "/login", Account: "ann@example.com", Message: "Email or password is wrong."})
	})
	write("logout", func(w http.ResponseWriter, r *http.Request) {
		p.Logout(w, r, 200, pages.LogoutView{Action: "/logout", User: "Ann", Next: "/account"})
	})
	write("sessions", func(w http.ResponseWriter, r *http.Request) { p.Sessions(w, r, 200, threeSessions()) })
	write("one session", func(w http.ResponseWriter, r *http.Request) {
		v := threeSessions()
		v.Message, v.Sessions = "", v.Sessions[:1]
		p.Sessions(w, r, 200, v)
	})
	write("no such session", func(w http.ResponseWriter, r *http.Request) {
		v := threeSessions()
		v.Failed = true
		p.Sessions(w, r, 404, v)
	})
	write("logged out", func(w http.ResponseWriter, r *http.Request) { p.Logout(w, r, 200, pages.LogoutView{}) })
	for _, status := range []int{400, 403, 404, 405, 408, 413, 414, 415, 421, 429, 431, 500, 502, 503, 504, 508} {
		write(http.StatusText(status), func(w http.ResponseWriter, r *http.Request) {
			p.Problem(w, r, pages.Problem{Status: status, RetryAfter: 5 * time.Second})
		})
	}
	return answers
}

func TestEveryPage(t *testing.T) {
	t.Parallel()
	for name, w := range everyPage(newPages(t, config.Pages{})) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := parse(t, w.Body)
			if !strings.HasPrefix(w.Body.String(), "<!doctype html>") {
				t.Errorf("no doctype, so browsers render in quirks mode: %.40q", w.Body)
			}
			if lang := page.one(t, "html").get("lang"); lang != "en" {
				t.Errorf("lang %q", lang)
			}
			heading := page.one(t, "h1").text()
			if title := page.one(t, "title").text(); title != heading+" – app.example.com" {
				t.Errorf("title %q for heading %q", title, heading)
			}
			page.one(t, "main")
			viewport := ""
			for _, m := range page.all("meta") {
				if m.get("name") == "viewport" {
					viewport = m.get("content")
				}
			}
			if viewport != "width=device-width, initial-scale=1" {
				t.Errorf("viewport %q: a phone would shrink the page, or forbid zooming", viewport)
			}
			checkLabels(t, page)
			checkSelfContained(t, page)
			checkHeaders(t, w.Header(), page)
		})
	}
}

func checkLabels(t *testing.T, page node) {
	t.Helper()
	labelled := map[string]bool{}
	for _, l := range page.all("label") {
		labelled[l.get("for")] = true
	}
	ids := map[string]bool{}
	for c := range page.Descendants() {
		if id := (node{c}).get("id"); id != "" {
			if ids[id] {
				t.Errorf("id %q twice", id)
			}
			ids[id] = true
		}
	}
	for _, in := range page.all("input") {
		if in.get("type") != "hidden" && !labelled[in.get("id")] {
			t.Errorf("input %q has no label", in.get("name"))
		}
		if by := in.get("aria-describedby"); by != "" && !ids[by] {
			t.Errorf("input %q is described by %q, which is not there", in.get("name"), by)
		}
	}
}

func checkSelfContained(t *testing.T, page node) {
	t.Helper()
	for c := range page.Descendants() {
		n := node{c}
		if c.Data == "script" || c.Data == "link" || c.Data == "img" || n.get("src") != "" || n.get("style") != "" {
			t.Errorf("<%s> loads or runs something", c.Data)
		}
	}
	if style := page.one(t, "style").text(); strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("the style sheet loads something")
	}
}

func checkHeaders(t *testing.T, h http.Header, page node) {
	t.Helper()
	sum := sha256.Sum256([]byte(page.one(t, "style").FirstChild.Data))
	want := map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"X-Frame-Options":        "DENY",
		"Referrer-Policy":        "same-origin",
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}
	for name, value := range want {
		if got := h.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

func TestLoginForm(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newPages(t, config.Pages{Title: "Shop"}).Login(w, request("GET", "/login"), 401,
		pages.LoginView{Action: "/signin", Next: "/a?b=c&d", Account: "ann@example.com", Message: "Wrong."})
	page := parse(t, w.Body)
	form, account, password := page.one(t, "form"), page.input(t, "account"), page.input(t, "password")
	alert := ""
	for _, p := range page.all("p") {
		if p.get("role") == "alert" && p.get("id") == account.get("aria-describedby") {
			alert = p.text()
		}
	}
	for _, c := range []struct{ what, got, want string }{
		{"method", form.get("method"), "post"},
		{"action", form.get("action"), "/signin"},
		{"account autocomplete", account.get("autocomplete"), "username"},
		{"account value", account.get("value"), "ann@example.com"},
		{"password type", password.get("type"), "password"},
		{"password autocomplete", password.get("autocomplete"), "current-password"},
		{"password value", password.get("value"), ""},
		{"next", page.input(t, "next").get("value"), "/a?b=c&d"},
		{"alert", alert, "Wrong."},
		{"title", page.one(t, "title").text(), "Log in – Shop"},
		{"challenge", w.Header().Get("WWW-Authenticate"), `Session realm="gatehouse"`},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}

	w = httptest.NewRecorder()
	newPages(t, config.Pages{}).Login(w, request("GET", "/login"), 200, pages.LoginView{Action: "/login"})
	if body := w.Body.String(); strings.Contains(body, "alert\"") || strings.Contains(body, `name="next"`) {
		t.Error("an empty message or next left a trace")
	}
	if w.Header().Get("WWW-Authenticate") != "" {
		t.Error("200 with a challenge")
	}
}

func TestHostileTextStaysText(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	for _, evil := range []string{
		`"><script>alert(1)</script>`, `</style><script>x</script>`, `' onfocus='x`, `javascript:alert(1)`,
		"\x00<b>", "{{.Style}}", strings.Repeat("<i>", 5000), "\u202e<u>", "</title><h1>",
	} {
		w := httptest.NewRecorder()
		p.Login(w, request("GET", "/login"), 401, pages.LoginView{Action: "/login", Next: evil, Account: evil, Message: evil})
		page := parse(t, w.Body)
		sameStructure(t, evil, page, "label", "label", "input", "input", "input", "button")
		want := strings.ReplaceAll(evil, "\x00", "\uFFFD")
		if got := page.input(t, "account").get("value"); got != want {
			t.Errorf("account %.40q became %.40q", evil, got)
		}

		w = httptest.NewRecorder()
		p.Logout(w, request("GET", "/logout"), 200, pages.LogoutView{Action: evil, User: evil, Next: evil})
		page = parse(t, w.Body)
		sameStructure(t, evil, page, "input", "button", "a")
		checkLink(t, page.one(t, "a").get("href"))
		checkLink(t, page.one(t, "form").get("action"))

		w = httptest.NewRecorder()
		r := request("GET", "/")
		r.Host = evil
		facts := telemetry.RequestFrom(r.Context())
		facts.ID, facts.Host = evil, evil
		p.Problem(w, r, pages.Problem{Status: 403, Message: evil, Code: evil, LoginURL: evil})
		page = parse(t, w.Body)
		sameStructure(t, evil, page, "code", "a")
		checkLink(t, page.one(t, "a").get("href"))
	}
}

// sameStructure fails when text has become elements: those of interest must be exactly the given ones.
func sameStructure(t *testing.T, evil string, page node, want ...string) {
	t.Helper()
	count := map[string]int{"script": 0, "b": 0, "i": 0, "u": 0, "h1": 1, "title": 1, "style": 1, "form": len(page.all("form"))}
	for _, element := range want {
		count[element]++
	}
	for element, n := range count {
		if got := len(page.all(element)); got != n {
			t.Errorf("%.40q: %d <%s>, want %d", evil, got, element, n)
		}
	}
	for c := range page.Descendants() {
		for _, a := range c.Attr {
			if strings.HasPrefix(a.Key, "on") {
				t.Errorf("%.40q became the attribute %s", evil, a.Key)
			}
		}
	}
}

func checkLink(t *testing.T, href string) {
	t.Helper()
	if strings.HasPrefix(strings.ToLower(href), "javascript:") {
		t.Errorf("link to %q", href)
	}
}

func TestLongNamesAreCut(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	long := strings.Repeat("ü", 5000)
	w, r := httptest.NewRecorder(), request("GET", "/logout")
	telemetry.RequestFrom(r.Context()).Host = long
	p.Logout(w, r, 200, pages.LogoutView{Action: "/logout", User: long})
	page := parse(t, w.Body)
	if got := page.one(t, "span").text(); got != strings.Repeat("ü", 99)+"…" {
		t.Errorf("the host takes %d bytes", len(got))
	}
	if got := page.one(t, "strong").text(); got != strings.Repeat("ü", 199)+"…" {
		t.Errorf("the user takes %d bytes", len(got))
	}

	for _, c := range []struct{ title, facts, host, want string }{
		{"Shop", "a.example", "b.example", "Shop"}, {"", "a.example", "b.example", "a.example"}, {"", "", "b.example", "b.example"},
	} {
		w, r := httptest.NewRecorder(), request("GET", "/")
		telemetry.RequestFrom(r.Context()).Host, r.Host = c.facts, c.host
		newPages(t, config.Pages{Title: c.title}).Logout(w, r, 200, pages.LogoutView{})
		if got := parse(t, w.Body).one(t, "span").text(); got != c.want {
			t.Errorf("%+v: the page is called %q", c, got)
		}
	}
}

func TestS13_no_store(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	t.Run("S13_login_logout_and_401_are_never_stored", func(t *testing.T) {
		answers := everyPage(p)
		w := httptest.NewRecorder()
		p.JSON(w, request("GET", "/"), pages.Problem{Status: 401})
		answers["401 JSON"] = w
		for name, w := range answers {
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("%s: Cache-Control %q", name, got)
			}
		}
	})
}
