package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse/config"
)

// What an application must not tell a browser in a header, it does not tell it before the header or after
// the body either.
func TestStrippedHeadersDoNotComeAsTrailersOrHints(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := func() {
			for _, name := range []string{"X-User-Id", "X_user_email", "X-Told", "X_Told", "X-Checksum"} {
				w.Header()[name] = []string{"7"}
			}
		}
		if r.URL.Path == "/hints" {
			set()
			w.WriteHeader(http.StatusEarlyHints)
			return
		}
		if r.URL.Path == "/announced" {
			w.Header().Set("Trailer", "X-User-Id, X-Told, X-Checksum, Set-Cookie")
		}
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush()
		set()
		w.Header().Set("Set-Cookie", "a=b")
		if r.URL.Path == "/unannounced" {
			for _, name := range []string{"X-User-Id", "X-Told", "X-Checksum", "Set-Cookie"} {
				w.Header().Set(http.TrailerPrefix+name, "7")
			}
		}
	})
	for _, strip := range []bool{true, false} {
		l := newLab(t, app, func(cfg *config.Config) { cfg.Requests.StripResponseHeaders = strip }, "X-Told")
		for _, path := range []string{"/announced", "/unannounced", "/hints"} {
			conn := dial(t, l)
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close\r\n\r\n", path)
			text, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			lower := strings.ToLower(string(text))
			if !strings.Contains(lower, "x-checksum: 7") {
				t.Errorf("%s: what may pass does not: %q", path, text)
			}
			if strings.Contains(lower, "told: 7") || strings.Contains(lower, "set-cookie") {
				t.Errorf("%s: private headers or a cookie: %q", path, text)
			}
			if strings.Contains(lower, "x-user-id: 7") == strip {
				t.Errorf("%s, strip_response_headers %v: %q", path, strip, text)
			}
		}
	}
}
