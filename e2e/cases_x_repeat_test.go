package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// repeatCases: what goes wrong inside goes wrong once (security case group X).
var repeatCases = []securityCase{
	{"X10_logins_are_never_sent_twice", both, neverTwice},
	{"X15_a_panic_is_one_requests", both, panicIsOneRequests},
}

// closer is an application that answers the first request of each connection, and closes the connection upon the second one
// after it has read it: what a server does whose keep-alive limit is reached at the wrong moment.
type closer struct {
	url string
	mu  sync.Mutex
	// got are the requests by method and path, answered or not.
	got map[string]int
}

func startCloser(t *testing.T) *closer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &closer{url: "http://" + l.Addr().String(), got: make(map[string]int)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go a.serve(conn)
		}
	}()
	return a
}

func (a *closer) serve(conn net.Conn) {
	defer conn.Close()
	src := bufio.NewReader(conn)
	for first := true; ; first = false {
		r, err := http.ReadRequest(src)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		a.mu.Lock()
		a.got[r.Method+" "+r.URL.Path]++
		a.mu.Unlock()
		if !first {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Me: 7\r\nContent-Length: 2\r\n\r\nok")
	}
}

func (a *closer) count(request string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got[request]
}

// neverTwice (X10). net/http sends a request again when its connection turns out to be closed, and takes these two headers
// of the client's for leave to do so with a POST.
func neverTwice(t *testing.T, s *setup) {
	a := startCloser(t)
	g := s.start(t, appConfig(a.url, s.section(), "success: {status: [200], header: X-Me}\n    identity: {from: header, fields: {userId: X-Me}}\n    completion_paths: [/login/code]"), options{})
	kept := func() { // leaves a connection for the next request to be sent on
		t.Helper()
		if got := s.one(t, g, "GET /public/first"); got.StatusCode != 200 {
			t.Fatalf("the first request of a connection: %s", got.Status)
		}
	}
	kept()
	if got := s.one(t, g, "GET /public/again"); got.StatusCode != 200 || a.count("GET /public/again") != 2 {
		t.Fatalf("a GET was sent %d times, %s: the connection was not kept, and this case shows nothing", a.count("GET /public/again"), got.Status)
	}
	for _, key := range []string{"", "Idempotency-Key: 1", "X-Idempotency-Key: 1", "idempotency-key: 1"} {
		for _, body := range []string{"email=a&password=b", ""} {
			for _, path := range []string{"/login", "/login/code"} {
				s.one(t, g, "GET /public/first") // uses up what the last one left
				kept()
				before := a.count("POST " + path)
				headers := []string{"Content-Type: application/x-www-form-urlencoded"}
				if key != "" {
					headers = append(headers, key)
				}
				if body == "" {
					headers = append(headers, "Content-Length: 0")
				}
				got, _ := s.send(t, g, request{line: "POST " + path, headers: headers, body: body})
				if n := a.count("POST "+path) - before; n != 1 || got.StatusCode != 502 || len(got.Cookies()) != 0 {
					t.Errorf("POST %s, %q, body %q: sent %d times, %s", path, key, body, n, got.Status)
				}
			}
			b := s.browser(t, g)
			for b.token() == "" { // a login needs a connection that is new
				b.post("/login", form("email", "a"))
			}
			kept()
			before := a.count("POST /logout")
			headers := []string{cookieHeader(b), "Content-Type: application/x-www-form-urlencoded"}
			if key != "" {
				headers = append(headers, key)
			}
			if body == "" {
				headers = append(headers, "Content-Length: 0")
			}
			got, _ := s.send(t, g, request{line: "POST /logout", headers: headers, body: body})
			if n := a.count("POST /logout") - before; n != 1 || got.StatusCode >= 500 {
				t.Errorf("POST /logout, %q, body %q: sent %d times, %s", key, body, n, got.Status)
			}
		}
	}
}

// panicIsOneRequests (X15), with a gateway in which the look-up of a session panics once it is armed.
func panicIsOneRequests(t *testing.T, s *setup) {
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	opts := withUsers()
	opts.program, opts.env = program, []string{"GATEHOUSE_FAULT=find.panic:2"}
	a := startApp(t, nil)
	g := s.start(t, baseConfig(a.url, s.section()), opts)
	b := s.browser(t, g)
	b.login(userEmail, userPassword)
	if got := b.get("/account"); got.StatusCode != 200 {
		t.Fatalf("before: %s", got.Status)
	}
	got := s.one(t, g, "GET /account?secret", cookieHeader(b))
	id, body := got.Header.Get("X-Request-Id"), bodyOf(t, got)
	if got.StatusCode != 500 || id == "" || !strings.Contains(body, id) || len(got.Cookies()) != 0 || strings.Contains(body, "panic") || strings.Contains(body, "goroutine") {
		t.Errorf("the request that panics: %s with the id %q: %s", got.Status, id, body)
	}
	if len(a.requests()) != 1 {
		t.Error("it reached the app")
	}
	entry := g.logged(t, map[string]any{"level": "error", "id": id, "message": "a request panicked"})
	if stack := fmt.Sprint(entry["stack"]); !strings.Contains(stack, "session.(*Manager).Find") || !strings.Contains(fmt.Sprint(entry["panic"]), "find.panic") {
		t.Errorf("the log does not say where: %v", entry)
	}
	g.logged(t, map[string]any{"type": "access", "id": id, "status": 500, "path": "/account"})
	eventually(t, "the metric to count it", func() bool { return g.metric(t, `gatehouse_requests_total{rule="/account",status="5xx"}`) == "1" })
	for range 3 { // over the same connection, where there is one
		if got := s.one(t, g, "GET /account", cookieHeader(b)); got.StatusCode != 200 {
			t.Errorf("afterwards: %s", got.Status)
		}
	}
	select {
	case <-g.gone:
		t.Error("the process has ended")
	default:
	}
}
