package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// testBack: S13, with the pages of the sample application, which sets no Cache-Control on them. Of the
// public page, what it says of the person must be gone too.
func testBack(t *testing.T, h *house, l loginWay) {
	b := h.person(t, h.gateway(t, l.backend).url)
	b.login("/dashboard", l.user)
	for _, path := range []string{"/echo", "/account"} {
		b.open(path)
		b.see(l.user.email)
	}
	b.logout()
	for _, page := range []string{"/login?next=%2Faccount", "/echo", "/login?next=%2Fdashboard"} {
		b.back()
		b.until(fmt.Sprintf("location.pathname + location.search === %q && document.readyState === 'complete'", page))
		for _, secret := range []string{l.user.email, l.user.name, "Your account"} {
			if text := b.text(); strings.Contains(text, secret) {
				t.Errorf("after logout the Back button shows at %s:\n%s", page, text)
			}
		}
	}
}

// testBackPlainApp: S13, for whatever an application says about caching. Chromium keeps pages for the
// Back button even when they must not be stored; the page without a session shows that it does so here.
func testBackPlainApp(t *testing.T, h *house) {
	pages := []struct {
		cacheControl, etag string
		// lasting: the application lets the browser keep the page. Then it is gone unless it is the very
		// page that was logged out from.
		lasting bool
	}{
		{"", "", false},
		{"", `"1"`, false},
		{"no-cache, private", "", false},
		{"max-age=0, private, must-revalidate", `"1"`, false},
		{"no-store", "", false},
		{"private, max-age=600", "", true},
		{"public, max-age=600", `"1"`, true},
	}
	l := fileLogin()
	g := start(t, sampleConfig(cachingApp(t), l.backend, h.section()), withUsers())

	b := h.person(t, g.url)
	b.open("/free")
	b.open("/")
	b.back()
	b.arrive("/free")
	b.until("window.kept === true")

	for _, page := range pages {
		t.Run(page.cacheControl, func(t *testing.T) {
			t.Parallel()
			b := h.person(t, g.url)
			path := "/account?" + url.Values{"cache": {page.cacheControl}, "etag": {page.etag}}.Encode()
			b.login(path, l.user)
			b.see("secret of [" + l.user.email + "]")
			if page.lasting {
				b.open("/free")
			}
			b.logout()
			b.back()
			if page.lasting {
				b.arrive("/free")
				b.back()
			}
			b.until("!['/', '/free'].includes(location.pathname) && document.readyState === 'complete'")
			if got := b.here(); !strings.HasPrefix(got, "/login") {
				t.Errorf("after logout the Back button shows %s:\n%s", got, b.text())
			}
			b.open(path)
			b.arrive("/login")
		})
	}
}

// cachingApp answers with the caching headers the address asks for.
func cachingApp(t *testing.T) string {
	t.Helper()
	return startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for name, value := range map[string]string{"Cache-Control": r.FormValue("cache"), "Etag": r.FormValue("etag")} {
			if value != "" {
				w.Header().Set(name, value)
			}
		}
		fmt.Fprintf(w, `<!doctype html><title>x</title><link rel="icon" href="data:,">
<script>addEventListener("pageshow", event => { window.kept = event.persisted })</script>
<p>secret of [%s]</p><form method="post" action="/logout"><button>out</button></form>`, r.Header.Get("X-User-Email"))
	}))
}
