package telemetry

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
)

// NewAdmin serves the operator's listener: /metrics for Prometheus, /debug/pprof/ for Go's profiler,
// and a short index at /.
//
// It asks for no password and is therefore only bound to loopback addresses, which the config check
// holds. That alone would not keep out a web page in the operator's own browser whose host name is made
// to resolve to 127.0.0.1 (DNS rebinding), so requests for any host that is not loopback get 403.
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
		fmt.Fprint(w, "Gatehouse, for its operators\n\n/metrics        metrics for Prometheus\n/debug/pprof/   profiles for go tool pprof\n")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !loopback(r.Host) {
			http.Error(w, "The admin listener answers for localhost and loopback addresses only.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// loopback reports whether a Host header names this machine in a way that no DNS server decides.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
