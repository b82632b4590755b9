package pages_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/telemetry"
)

func TestIsGRPC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, kind string
		major        int
		want         bool
	}{
		{"POST", "application/grpc", 2, true},
		{"POST", "application/grpc+proto", 2, true},
		{"POST", "Application/gRPC;charset=utf-8", 2, true},
		{"POST", "application/grpc", 1, false}, // gRPC is HTTP/2 alone
		{"POST", "application/grpc-web", 1, true},
		{"POST", "application/grpc-web-text+proto", 1, true},
		{"POST", "application/grpc-web-x", 1, false},
		{"POST", "application/grpcx", 2, false},
		{"POST", "application/json", 2, false},
		{"POST", "", 2, false},
		{"GET", "application/grpc", 2, false},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.ProtoMajor = c.major
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		if got := pages.IsGRPC(r); got != c.want {
			t.Errorf("%s %q by HTTP/%d: %v", c.method, c.kind, c.major, got)
		}
	}
	twice := httptest.NewRequest("POST", "/", nil)
	twice.Header["Content-Type"] = []string{"application/grpc-web", "text/html"}
	if pages.IsGRPC(twice) {
		t.Error("two content types are taken for one")
	}
}

// A call gets its problem as a status of gRPC, whoever is asked for it.
func TestGRPCProblem(t *testing.T) {
	t.Parallel()
	p, err := pages.New(config.Pages{})
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]string{400: "3", 401: "16", 403: "7", 404: "12", 405: "12", 408: "4", 413: "8", 429: "8", 431: "8", 500: "13", 502: "14", 503: "14", 504: "4", 508: "13", 418: "2"} {
		for name, answer := range map[string]func(http.ResponseWriter, *http.Request, pages.Problem){"Problem": p.Problem, "JSON": p.JSON} {
			r := httptest.NewRequest("POST", "/s/M", nil)
			r.ProtoMajor = 2
			r.Header.Set("Content-Type", "application/grpc+proto")
			r.Header.Set("Accept", "text/html")
			var line telemetry.Request
			r = r.WithContext(telemetry.WithRequest(r.Context(), &line))
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "7")
			w.Header().Set("Trailer", "X-Checksum")
			answer(w, r, pages.Problem{Status: status, Message: "100 % \r\n☂", RetryAfter: time.Second})
			h := w.Header()
			if w.Code != 200 || h.Get("Grpc-Status") != want || h.Get("Grpc-Message") != "100 %25 %0D%0A%E2%98%82" || h.Get("Content-Type") != "application/grpc" ||
				h.Get("Content-Length") != "" || h.Get("Trailer") != "" || h.Get("Retry-After") != "1" || w.Body.Len() != 0 {
				t.Errorf("%s of %d: %d %v %q", name, status, w.Code, h, w.Body)
			}
			if line.Status != status || line.GRPCStatus != want {
				t.Errorf("%s of %d: the access line is told %d and %q", name, status, line.Status, line.GRPCStatus)
			}
		}
	}
	// Without a message of its own it says something all the same.
	r := httptest.NewRequest("POST", "/s/M", nil)
	r.Header.Set("Content-Type", "application/grpc-web-text+proto")
	w := httptest.NewRecorder()
	p.Problem(w, r, pages.Problem{Status: 503})
	if w.Header().Get("Content-Type") != "application/grpc-web-text" || !strings.Contains(w.Header().Get("Grpc-Message"), "not logged out") {
		t.Errorf("%v", w.Header())
	}
}
