package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Sessions says what it was asked.
func (f *fakeLogin) Sessions(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = io.WriteString(w, "sessions handler "+r.Method+" "+r.URL.RawQuery+" "+string(body))
}

// TestSessionsPageIsTheLoginHandlers: by every method, since it answers 405 itself, and by no other path.
func TestSessionsPageIsTheLoginHandlers(t *testing.T) {
	t.Parallel()
	l := newLab(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the application was asked") }), nil)
	for _, c := range []struct {
		method, path, body, want string
		status                   int
	}{
		{"GET", "/.gatehouse/sessions", "", "sessions handler GET  ", 200},
		{"GET", "/.gatehouse/sessions?done=one", "", "sessions handler GET done=one ", 200},
		{"POST", "/.gatehouse/sessions", "action=end_all", "sessions handler POST  action=end_all", 200},
		{"DELETE", "/.gatehouse/sessions", "", "sessions handler DELETE  ", 200},
		{"GET", "/.gatehouse/sessions/", "", "no such page", 404},
		{"GET", "/.gatehouse/sessions/x", "", "no such page", 404},
		{"GET", "/.gatehouse/Sessions", "", "no such page", 404},
		{"POST", "/.gatehouse/userinfo", "", "Only GET and HEAD", 405},
	} {
		resp, body := l.do(t, c.method, c.path, "", strings.NewReader(c.body))
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %s %q, Cache-Control %q", c.method, c.path, resp.Status, body, resp.Header.Get("Cache-Control"))
		}
	}
}
