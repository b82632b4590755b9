package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/testredis"
)

// Passwords of the users that usersYAML holds.
const (
	adminEmail, adminPassword = "ada@example.com", "correct-horse-1"
	userEmail, userPassword   = "uma@example.com", "correct-horse-2"
)

// usersYAML is a user file with an admin (ID 1) and a user (ID 2). The hashes are the cheapest bcrypt
// has: these tests are not about hashing, and two cores run them.
var usersYAML = sync.OnceValue(func() string {
	hash := func(password string) string {
		h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			panic(err)
		}
		return string(h)
	}
	return fmt.Sprintf(`users:
  - {id: 1, email: %s, name: "Ada Admin", role: admin, email_verified: true, password_hash: "%s"}
  - {id: 2, email: %s, name: "Uma User", role: user, password_hash: "%s"}
`, adminEmail, hash(adminPassword), userEmail, hash(userPassword))
})

// seen is a request as it reached the application.
type seen struct {
	Method, Target, Host string
	// Raw is the request line and header, byte for byte.
	Raw    string
	Header http.Header
	Body   string
}

// app is an application that records what reaches it. It reads the bytes itself: net/http's
// server would tidy header names up, and hide just what a test looks for.
type app struct {
	url      string
	listener net.Listener
	// answer writes the answer; default: 200 with the request echoed.
	answer func(w io.Writer, r seen)

	mu   sync.Mutex
	seen []seen
}

// startApp starts a recording application. answer may be nil.
func startApp(t *testing.T, answer func(w io.Writer, r seen)) *app {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{url: "http://" + l.Addr().String(), listener: l, answer: answer}
	if a.answer == nil {
		a.answer = func(w io.Writer, r seen) { reply(w, "200 OK", "text/plain", r.Raw+r.Body) }
	}
	t.Cleanup(func() { _ = l.Close() })
	go a.accept()
	return a
}

func (a *app) accept() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		go a.serve(conn)
	}
}

func (a *app) serve(conn net.Conn) {
	// One request per connection: http.ReadRequest has a buffer of its own, and two buffers on one
	// stream of requests would get out of step.
	defer conn.Close()
	src := bufio.NewReader(conn)
	var head strings.Builder
	for line := ""; line != "\r\n"; head.WriteString(line) {
		var err error
		if line, err = src.ReadString('\n'); err != nil {
			return
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head.String()), src)))
	if err != nil {
		return
	}
	s := seen{Method: r.Method, Target: r.RequestURI, Host: r.Host, Raw: head.String(), Header: r.Header}
	if r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
		body, _ := io.ReadAll(r.Body)
		s.Body = string(body)
	}
	a.mu.Lock()
	a.seen = append(a.seen, s)
	a.mu.Unlock()
	a.answer(conn, s)
}

// reply writes a whole answer and says that the connection ends with it.
func reply(w io.Writer, status, contentType, body string, headers ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n", status, contentType, len(body))
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	_, _ = io.WriteString(w, b.String()+"\r\n"+body)
}

// requests are those the application has seen so far.
func (a *app) requests() []seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]seen(nil), a.seen...)
}

// last is the newest request; the test fails when there is none.
func (a *app) last(t *testing.T) seen {
	t.Helper()
	all := a.requests()
	if len(all) == 0 {
		t.Fatal("nothing has reached the application")
	}
	return all[len(all)-1]
}

// startHTTPApp starts an ordinary net/http application.
func startHTTPApp(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// prefixes counts the key prefixes given out.
var prefixes atomic.Int64

// storeFor gives the `redis:` section on a redis-server of the test's own.
func storeFor(t *testing.T, opts ...testredis.Option) (*testredis.Server, string) {
	t.Helper()
	server := testredis.Start(t, opts...)
	return server, fmt.Sprintf("redis: {addresses: [%q]}\n", server.Addr)
}

// prefix keeps the keys of several gateways on one redis-server apart.
func prefix() string {
	return fmt.Sprintf("t%d:", prefixes.Add(1))
}

// baseConfig is the config most cases use: everything public but /account, /admin (role admin) and
// /api (JSON), the file backend, plain http. redis is a `redis:` section.
func baseConfig(upstream, redis string) string {
	return fmt.Sprintf(`upstream: %s
default: public
rules:
  - path: /account
  - path: /admin
    roles: [admin]
  - path: /admin/health
    access: public
  - path: /api
    unauthenticated: json
  - path: /public
    access: public
login:
  backend: file
  file: {path: users.yaml}
  limits: {per_address: 6000/m, per_account: 6000/m, burst: 1000}
session:
  cookie: {secure: false}
admin: {listen: 127.0.0.1:0}
%s`, upstream, redis)
}

// withUsers are the files baseConfig needs.
func withUsers() options { return options{files: map[string]string{"users.yaml": usersYAML()}} }
