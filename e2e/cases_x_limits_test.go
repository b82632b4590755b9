package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// askFirst sends a request that waits to be told to go on before it sends its body.
func (s *setup) askFirst(t *testing.T, g *gateway, line string, headers []string, length int, body string) (final *http.Response, hints []*http.Response) {
	t.Helper()
	headers = append([]string{tagHeader + ": " + s.tag, fmt.Sprint("Content-Length: ", length)}, headers...)
	if s.h2() {
		method, target, _ := strings.Cut(line, " ")
		stream := dialH2(t, g).open(false, h2Header(method, target, g.addr, headers)...)
		for len(stream.hints) == 0 && stream.resp == nil && stream.over == nil {
			stream.c.pump()
		}
		if len(stream.hints) > 0 {
			stream.data(true, body)
			return stream.answer(), stream.hints
		}
		return stream.begun(), stream.hints
	}
	conn := dial(t, g)
	_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n")
	src := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 200 {
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp, hints
		}
		hints = append(hints, resp)
		_, _ = io.WriteString(conn, body)
	}
}

// limits (X07).
func limits(t *testing.T, s *setup) {
	lines := func(n int) []string {
		many := make([]string, n)
		for i := range many {
			many[i] = fmt.Sprintf("X-H-%d: v", i)
		}
		return many
	}
	big := func(n int) []string { return []string{"X-Big: " + strings.Repeat("a", n)} }
	cookies := func(n int) []string {
		if !s.h2() {
			return []string{"Cookie: c=v" + strings.Repeat("; c=v", n-1)}
		}
		crumbs := make([]string, n) // as browsers send them there
		for i := range crumbs {
			crumbs[i] = "Cookie: c=v"
		}
		return crumbs
	}
	type row struct {
		name, line string
		headers    []string
		body       int
		want       int
	}
	usual, a := s.usual()
	try := func(g *gateway, rows []row) {
		t.Helper()
		for _, c := range rows {
			got, _ := s.send(t, g, request{line: c.line, headers: c.headers})
			if c.body > 0 {
				got, _ = s.send(t, g, request{line: c.line, body: strings.Repeat("x", c.body), chunked: true})
			}
			// net/http gives a header far over the limit up in the middle of its frames, and with it the connection.
			if given := s.h2() && c.want == 431 && got.StatusCode == 0 && strings.Contains(got.Status, "GOAWAY"); got.StatusCode != c.want && !given {
				t.Errorf("%s: %s, want %d", c.name, got.Status, c.want)
			}
		}
	}
	// The limits that hold when nothing is said.
	try(usual, []row{{"900 KB", "GET /public/", big(900 << 10), 0, 431}, {"900 KB in lines", "GET /public/", append(lines(100), big(900<<10)...), 0, 431}, {"20,000 lines", "GET /public/", lines(20_000), 0, 431},
		{"3,500 cookies", "GET /public/", cookies(3500), 0, 431}, {"9 KB URI", "GET /public/" + strings.Repeat("a", 9<<10), nil, 0, 414}, {"9 KB query", "GET /public/?" + strings.Repeat("a", 9<<10), nil, 0, 414}, {"1 GiB and more", "POST /public/", []string{"Content-Length: 1073741825"}, 0, 413}})
	if n := len(a.requests()); n != 0 {
		t.Errorf("%d requests over the limits reached the app", n)
	}
	try(usual, []row{{"60 KB", "GET /public/", big(60 << 10), 0, 200}, {"190 lines", "GET /public/", lines(190), 0, 200}, {"900 cookies", "GET /public/", cookies(900), 0, 200}, {"8,000 bytes of URI", "GET /public/" + strings.Repeat("a", 8000), nil, 0, 200}})
	// And those of the settings.
	g, own := s.gateway(t, "limits: {max_header_bytes: 16KiB, max_header_lines: 50, max_cookies: 20, max_uri: 1KiB, max_body: 10KB}\n")
	try(g, []row{{"header lines", "GET /public/", lines(60), 0, 431}, {"header lines within", "GET /public/", lines(40), 0, 200}, {"header bytes", "GET /public/", big(17 << 10), 0, 431}, {"header bytes within", "GET /public/", big(15 << 10), 0, 200},
		{"cookies", "GET /public/", cookies(21), 0, 431}, {"cookies within", "GET /public/", cookies(20), 0, 200}, {"cookies in lines", "GET /public/", append(cookies(15), cookies(15)...), 0, 431},
		{"URI", "GET /public/" + strings.Repeat("a", 1100), nil, 0, 414}, {"URI within", "GET /public/" + strings.Repeat("a", 1000), nil, 0, 200}, {"body", "POST /public/", []string{"Content-Length: 10001"}, 0, 413},
		{"body of unknown length", "POST /public/chunked", nil, 12_000, 413}, {"body of unknown length within", "POST /public/within", nil, 9_000, 200}})
	for _, r := range own.requests() {
		if len(r.Body) > 10_000 {
			t.Errorf("the app got a body of %d bytes", len(r.Body))
		}
	}
	if entry := g.logged(t, map[string]any{"type": "access", "status": 414}); entry["error"] == nil {
		t.Errorf("the log line does not say why: %v", entry)
	}
	for _, limit := range []string{"headers", "cookies", "uri", "body"} {
		if got := g.metric(t, `gatehouse_limited_total{limit="`+limit+`"}`); got == "0" {
			t.Errorf("the metric of the limit of %s does not count", limit)
		}
	}
}
