package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"gatehouse/session"
)

// BenchmarkRequest compares a logged-in request through the gateway with a bare ReverseProxy and with
// the application alone, each over real sockets with one connection. Only the ratios mean anything.
func BenchmarkRequest(b *testing.B) {
	page := strings.Repeat("x", 1024)
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) })
	upstream := httptest.NewServer(app)
	b.Cleanup(upstream.Close)
	u, err := url.Parse(upstream.URL)
	if err != nil {
		b.Fatal(err)
	}
	bare := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport:  &http.Transport{MaxIdleConnsPerHost: maxIdleConns, DisableCompression: true},
		BufferPool: &buffers,
	})
	b.Cleanup(bare.Close)
	l := newLab(b, app, nil)
	token := l.sessions.add(session.User{ID: "1", Email: "ada@example.com", Name: "Ada", Role: "admin"})
	for _, c := range []struct{ name, url, token string }{
		{"app", upstream.URL + "/x", ""},
		{"bare", bare.URL + "/x", ""},
		{"public", l.server.URL + "/x", ""},
		{"logged-in", l.server.URL + "/private/x", token},
	} {
		b.Run(c.name, func(b *testing.B) {
			client := &http.Transport{}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequest(http.MethodGet, c.url, nil)
				if err != nil {
					b.Fatal(err)
				}
				if c.token != "" {
					r.Header.Set("Cookie", "gatehouse="+c.token)
				}
				resp, err := client.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status)
				}
			}
		})
	}
}
