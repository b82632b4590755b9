package telemetry

import (
	"fmt"
	"net/http"
	"net/http/pprof"
)

// NewAdmin serves what operators watch: /metrics for Prometheus, /debug/pprof/ for Go's profiler,
// and a short index at /. It lets everybody in: package admin stands in front of it and does not.
//
// The handlers stand in a mux of their own. Importing net/http/pprof also puts them into
// http.DefaultServeMux, which the gateway therefore never serves.
func NewAdmin(m *Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	// go tool pprof posts addresses to symbol, and asks by GET first.
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, "Gatehouse, for its operators\n\n/metrics        metrics for Prometheus\n/debug/pprof/   profiles for go tool pprof\n/api/v1/        sessions, described by /api/v1/openapi.yaml\n")
	})
	return mux
}
