// Package testredis starts a real redis-server for a test: on a free port of the loopback
// interface, in a folder of its own, ended with the test. Caching, expiry, races and outages
// need the real program; nothing is skipped when it is missing, the test fails and says how to
// install it.
package testredis

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testserver"

	"github.com/redis/rueidis"
)

// program is what is started; hint is what to do when it is not there.
const (
	program = "redis-server"
	hint    = "redis-server is not installed: run `make test`, it installs what the tests need"
)

// Server is one redis-server.
type Server struct {
	// Addr is where it listens, host:port. It stays the same over Restart.
	Addr string

	t        testing.TB
	dir      string
	port     int
	flags    []string
	password string
	process  *testserver.Process
}

// Option changes how a server is started.
type Option func(*Server)

// Flags adds arguments of the redis-server command line, such as "--maxmemory", "20mb".
func Flags(args ...string) Option {
	return func(s *Server) { s.flags = append(s.flags, args...) }
}

// Password makes the server ask for a password, and Client and the server's own checks give it.
func Password(password string) Option {
	return func(s *Server) {
		s.password = password
		s.flags = append(s.flags, "--requirepass", password)
	}
}

// Persistent keeps every write in an append-only file, so that the data survive Kill and Restart.
func Persistent() Option {
	return func(s *Server) {
		s.flags = append(s.flags, "--appendonly", "yes", "--appendfsync", "always")
	}
}

// Start starts a server, waits until it answers, and ends it with the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatal(hint)
	}
	s := &Server{t: t, dir: t.TempDir()}
	for _, opt := range opts {
		opt(s)
	}
	t.Cleanup(s.Kill)
	err := testserver.OnFreePort(t, func(port int) error {
		s.port, s.Addr = port, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		return s.launch()
	}, s.Kill)
	if err == nil {
		return s
	}
	t.Fatalf("redis-server does not start: %v\n%s", err, testserver.Log(s.logPath()))
	return nil
}

// Kill ends the server the hard way (SIGKILL): nothing is saved, connections break. Killing
// a dead server does nothing.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	s.process.End()
	s.process = nil
}

// Restart starts the server again, with the same address and folder, after Kill or while it runs.
// The data are lost unless the server is Persistent.
func (s *Server) Restart() {
	s.t.Helper()
	s.Launch()
	if err := s.awaitPing(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v\n%s", err, testserver.Log(s.logPath()))
	}
}

// Launch is Restart without waiting for the server to answer: for tests of how a server is
// met that still loads its data.
func (s *Server) Launch() {
	s.t.Helper()
	s.Kill()
	if err := s.begin(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v", err)
	}
}

// Stop halts the process (SIGSTOP): connections stay open and nothing answers, as with a hung machine.
func (s *Server) Stop() { s.process.SignalOrFail(s.t, syscall.SIGSTOP) }

// Cont lets a halted process go on (SIGCONT).
func (s *Server) Cont() { s.process.SignalOrFail(s.t, syscall.SIGCONT) }

// Client gives a plain client without cache, closed with the test.
func (s *Server) Client(t testing.TB) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr}, Password: s.password, ForceSingleClient: true, DisableCache: true,
	})
	if err != nil {
		t.Fatalf("no connection to the redis-server of this test: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// Do runs one command and gives its answer; an error answer fails the test. No answer (nil) is
// an empty message.
func (s *Server) Do(t testing.TB, args ...string) rueidis.RedisMessage {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr}, Password: s.password, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
	})
	if err != nil {
		t.Fatalf("no connection to the redis-server of this test: %v", err)
	}
	defer c.Close()
	m, err := c.Do(context.Background(), c.B().Arbitrary(args...).Build()).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%v: %v", args, err)
	}
	return m
}

func (s *Server) launch() error {
	if err := s.begin(); err != nil {
		return err
	}
	return s.awaitPing()
}

func (s *Server) begin() error {
	args := []string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--daemonize", "no", "--loglevel", "notice", "--repl-diskless-sync-delay", "0",
	}
	var err error
	s.process, err = testserver.Begin(exec.Command(program, append(args, s.flags...)...), s.logPath())
	return err
}

// awaitPing returns when the server answers a PING, which it refuses while it loads data.
func (s *Server) awaitPing() error { return s.process.Await(s.ping) }

// ping speaks the protocol by hand, so that waiting does not depend on what is tested.
func (s *Server) ping() error {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	want := "+PONG\r\n"
	text := "PING\r\n"
	if s.password != "" {
		text = "AUTH " + s.password + "\r\nPING\r\n"
		want = "+OK\r\n" + want
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("it says %q", got)
	}
	return nil
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "redis.log") }
