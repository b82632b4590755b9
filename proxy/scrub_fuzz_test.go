package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"gatehouse/config"
)

// variable is what CGI and its heirs make of a header's name, at their most generous: whatever is no letter
// or digit is an underscore, and what stands around it is dropped. Wider than any one of PHP (- . and
// blank), WSGI (-), IIS or lighttpd.
func variable(name string) string {
	name = strings.Trim(name, " \t\r\n\x00")
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// lenientLines are the lines of a header block as the most careless server finds them: a bare CR ends a line,
// a bare LF does, and so do NUL, vertical tab and form feed.
func lenientLines(block string) []string {
	return strings.FieldsFunc(block, func(r rune) bool { return strings.ContainsRune("\r\n\x00\v\f", r) })
}

// FuzzScrub: whatever lines a client sends, in what is sent on no server finds a header that it could take for an
// identity header, or for a trusted proxy's word (H01, H02, H04, H05).
func FuzzScrub(f *testing.F) {
	for _, seed := range []string{
		"X-User-Id: 1", "x_user_id: 1\r\nX-User-Id: 2", "X-User-Id : 1", "X-User-Id\t: 1", "A: b\r\n X-User-Id: 1", "A: b\nX-User-Id: 1", "A: b\rX-User-Id: 1",
		"Connection: X-User-Id\r\nX-User-Id: 1", "X.Forwarded.For: 1", "REMOTE_USER: x", "X-Tenant: 1\r\nx_tenant: 2", "\x00X-User-Id: 1", "X\xc2\xadUser-Id: 1", "Proxy: http://a",
		"Transfer-Encoding: chunked\r\nTrailer: X-User-Id", "Cookie: a=b; X-User-Id: 1", "X-Forwarded-: 1",
	} {
		f.Add(seed)
	}
	s := NewScrubber(defaultHeaders, config.Requests{AllowHeaders: []string{"x_tenant", "X_User_Id"}})
	forbidden := make(map[string]bool)
	for _, h := range defaultHeaders {
		forbidden[variable(h.Name)] = true
	}
	for _, name := range untrusted {
		forbidden[variable(name)] = true
	}
	f.Fuzz(func(t *testing.T, block string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: app\r\n" + block + "\r\n\r\n")))
		if err != nil {
			return
		}
		s.Scrub(r.Header)
		r.Trailer = nil // by Forwarder.dress
		delete(r.Header, "Trailer")
		r.Body, r.ContentLength, r.TransferEncoding = http.NoBody, 0, nil
		var wire bytes.Buffer
		if err := r.Write(&wire); err != nil {
			return // the transport refuses it as well
		}
		for _, line := range lenientLines(wire.String())[1:] {
			name, _, colon := strings.Cut(line, ":")
			if v := variable(name); colon && (forbidden[v] || strings.HasPrefix(v, "X_FORWARDED_")) {
				t.Fatalf("%q is sent on as %q, in which %q is taken for %s", block, wire.String(), line, v)
			}
		}
		again := r.Header.Clone()
		if s.Scrub(again); len(again) != len(r.Header) {
			t.Fatalf("%q: a second time finds more to delete in %v", block, r.Header)
		}
	})
}
