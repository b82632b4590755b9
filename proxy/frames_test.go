package proxy

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What net/http's HTTP/2 server lets pass although it is malformed. That it arrives like this is tested in package e2e (P01, X01).
func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	for _, c := range []struct {
		target string
		length []string
		want   int
	}{
		{"/x", nil, 200}, {"/x", []string{"5"}, 200}, {"/x", []string{"0"}, 200}, {"/x", []string{"005"}, 200},
		{"/x", []string{"5", "5"}, 400}, {"/x", []string{"5", "6"}, 400}, {"/x", []string{"5, 5"}, 400}, {"/x", []string{"+5"}, 400}, {"/x", []string{"-5"}, 400},
		{"/x", []string{""}, 400}, {"/x", []string{" 5"}, 400}, {"/x", []string{"5_0"}, 400}, {"/x", []string{"0x5"}, 400}, {"/x", []string{strings.Repeat("9", 20)}, 400},
		{"http://example.com/x", nil, 400}, {"https://evil.example/x", nil, 400},
	} {
		for major, want := range map[int]int{1: 200, 2: c.want} {
			r := httptest.NewRequest(http.MethodPost, "http://example.com/x", strings.NewReader("hello"))
			r.ProtoMajor, r.RequestURI = major, c.target
			if c.length != nil {
				r.Header["Content-Length"] = c.length
			}
			w := httptest.NewRecorder()
			l.gateway.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("HTTP/%d, %s, content-length %q: %d, want %d", major, c.target, c.length, w.Code, want)
			}
		}
	}
}
