package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse/config"
)

// taker is an application that reads what it is sent and says how much it was.
var taker = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, n, err)
})

// sent writes a request as it is and gives the status of the answer.
func sent(t *testing.T, l *lab, request string) int {
	t.Helper()
	conn := dial(t, l)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestX07_LimitsAreExact: what is as large as a limit passes, one more does not.
func TestX07_LimitsAreExact(t *testing.T) {
	t.Parallel()
	size := func(n int) *config.Size { s := config.Size(n); return &s }
	l := newLab(t, taker, func(c *config.Config) {
		c.Limits = config.Limits{MaxURI: 100, MaxHeaderLines: 10, MaxHeaderBytes: 1000, MaxCookies: 20, MaxBody: 1000}
		c.Rules = append(c.Rules,
			config.Rule{Path: "/upload", Access: config.Public, MaxBody: size(2000)},
			config.Rule{Path: "/small", Access: config.Public, MaxBody: size(10)},
			config.Rule{Path: "/any", Access: config.Public, MaxBody: size(0)})
	})
	const first = "GET / HTTP/1.1\r\nHost: x\r\n"
	line := func(n int) string { return "X: " + strings.Repeat("a", n) + "\r\n" }
	fixed := len("/") + len("Host: x\r\n") + len(line(0)) // of the header's size
	for _, c := range []struct {
		name   string
		limit  int
		make   func(n int) string // a request of size n
		status int
	}{
		{"limits.max_uri", 100, func(n int) string {
			return "GET /" + strings.Repeat("a", n-1) + " HTTP/1.1\r\nHost: x\r\n\r\n"
		}, 414},
		{"limits.max_uri, by its query", 100, func(n int) string {
			return "GET /?" + strings.Repeat("a", n-2) + " HTTP/1.1\r\nHost: x\r\n\r\n"
		}, 414},
		{"limits.max_header_lines", 10, func(n int) string { return first + strings.Repeat("X: a\r\n", n-1) + "\r\n" }, 431},
		{"limits.max_cookies", 20, func(n int) string { return first + "Cookie: a=1" + strings.Repeat(";a=1", n-1) + "\r\n\r\n" }, 431},
		{"limits.max_header_lines, with an id", 10, func(n int) string {
			return first + "X-Request-Id: 1\r\n" + strings.Repeat("X: a\r\n", n-2) + "\r\n"
		}, 431},
		{"limits.max_header_bytes", 1000, func(n int) string { return first + line(n-fixed) + "\r\n" }, 431},
		{"limits.max_body", 1000, posted("/"), 413},
		{"limits.max_body, chunked", 1000, chunked("/"), 413},
		{"rules[].max_body, more", 2000, posted("/upload/x"), 413},
		{"rules[].max_body, more, chunked", 2000, chunked("/upload/x"), 413},
		{"rules[].max_body, less", 10, posted("/small"), 413},
		{"rules[].max_body, less, chunked", 10, chunked("/small"), 413},
		{"rules[].max_body, none", 5000, posted("/any"), 200},
		{"rules[].max_body, none, chunked", 5000, chunked("/any"), 200},
	} {
		if got := sent(t, l, c.make(c.limit)); got != 200 {
			t.Errorf("%s: at the limit %d", c.name, got)
		}
		if got := sent(t, l, c.make(c.limit+1)); got != c.status {
			t.Errorf("%s: one over it %d, want %d", c.name, got, c.status)
		}
	}
	eventually(t, "the metric to count bodies of both kinds", func() bool {
		return strings.Contains(scrape(t, l), `gatehouse_limited_total{limit="body"} 6`)
	})
}

func posted(path string) func(n int) string {
	return func(n int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, n, strings.Repeat("a", n))
	}
}

// chunked sends n bytes in two chunks: no length tells how many there will be.
func chunked(path string) func(n int) string {
	return func(n int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n1\r\na\r\n0\r\n\r\n", path, n-1, strings.Repeat("a", n-1))
	}
}

// TestX07_BodiesOfTheGatewaysOwnPaths are bounded as well: a login's by limits.max_body too when that is less than its own limit.
func TestX07_BodiesOfTheGatewaysOwnPaths(t *testing.T) {
	t.Parallel()
	l := newLab(t, taker, func(c *config.Config) {
		c.Limits.MaxBody = 1000
		c.Rules = append(c.Rules, config.Rule{Path: "/login", Access: config.Public, MaxBody: new(config.Size)})
	})
	l.login.do = func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if isTooLarge(err) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
		fmt.Fprint(w, n)
	}
	if got := sent(t, l, chunked("/login")(1000)); got != 200 {
		t.Errorf("at the limit: %d", got)
	}
	if got := sent(t, l, chunked("/login")(1001)); got != 413 {
		t.Errorf("one over it: %d", got)
	}
}
