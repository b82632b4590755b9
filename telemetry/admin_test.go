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
		})
	}
}

func TestAdminWithoutMetrics(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	telemetry.NewAdmin(nil).ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/metrics", nil))
	if w.Code != 404 {
		t.Errorf("metrics that are not kept: %d", w.Code)
	}
}
