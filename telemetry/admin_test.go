package telemetry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/telemetry"
)

func TestAdmin(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	m.Login("file", "success")
	srv := httptest.NewServer(telemetry.NewAdmin(m))
	t.Cleanup(srv.Close)
	for _, c := range []struct {
		request string
		status  int
		holds   string
	}{
		{"GET /", 200, "/debug/pprof/"},
		{"GET /metrics", 200, `gatehouse_logins_total{backend="file",outcome="success"} 1`},
		{"HEAD /metrics", 200, ""},
		{"GET /debug/pprof/", 200, "goroutine"},
		{"GET /debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"GET /debug/pprof/heap?debug=1", 200, "heap profile"},
		{"GET /debug/pprof/cmdline", 200, "telemetry.test"},
		{"GET /debug/pprof/symbol", 200, "num_symbols"},
		{"POST /debug/pprof/symbol", 200, "num_symbols"},
		{"GET /debug/pprof/trace?seconds=0.01", 200, "go 1."},
		{"GET /debug/pprof/nothing", 404, ""},
		{"GET /nothing", 404, ""},
		{"POST /metrics", 405, ""},
		{"DELETE /debug/pprof/", 405, ""},
	} {
		t.Run(c.request, func(t *testing.T) {
			t.Parallel()
			method, path, _ := strings.Cut(c.request, " ")
			req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.holds) {
				t.Errorf("%d %.300s", resp.StatusCode, body)
			}
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", resp.Header)
			}
		})
	}
}

// TestAdminHost: a web page whose host name resolves to 127.0.0.1 must not read the metrics through
// the operator's browser.
func TestAdminHost(t *testing.T) {
	t.Parallel()
	admin := telemetry.NewAdmin(nil)
	for host, allowed := range map[string]bool{
		"localhost": true, "LOCALHOST:9090": true, "127.0.0.1:9090": true, "127.8.9.1": true, "[::1]:9090": true, "[::1]": true,
		"evil.example": false, "evil.example:9090": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"192.0.2.1:9090": false, "": false, "0.0.0.0:9090": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, r)
		if want := map[bool]int{true: 200, false: 403}[allowed]; w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/metrics", nil))
	if w.Code != 404 {
		t.Errorf("metrics that are not kept: %d", w.Code)
	}
}
