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
	bus      int // a Cluster's node listens there for the others, else 0
	flags    []string
	password string
	tls      *Files   // nil: without TLS
	mutual   bool     // clients need a certificate
	watched  *watched // nil unless it is a sentinel
	// sentinelPassword is for the sentinels that StartSentinel starts with the same options.
	sentinelPassword string

	process *testserver.Process
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
		s.flags = append(s.flags, "--requirepass", password, "--masterauth", password)
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
		if err := s.prepare(); err != nil {
			return err
		}
		return s.launch()
	}, s.Kill)
	if err == nil {
		return s
	}
	t.Fatalf("redis-server does not start: %v\n%s", err, testserver.Log(s.logPath()))
	return nil
}

// anyPort stands for a port that is yet to be chosen.
const anyPort = -1

// prepare does what must be done once the port is known, and not again at a restart.
func (s *Server) prepare() error {
	if s.watched != nil {
		return s.writeSentinelFile()
	}
	if s.bus == 0 {
		return nil
	}
	// The bus's default port is the server's plus 10,000, which may be past the last there is.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.bus = l.Addr().(*net.TCPAddr).Port
	return l.Close()
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
	c, err := s.connect(false)
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
	m, err := s.ask(context.Background(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return m
}

// ask is Do for who can do with an error.
func (s *Server) ask(ctx context.Context, args ...string) (rueidis.RedisMessage, error) {
	c, err := s.connect(true)
	if err != nil {
		return rueidis.RedisMessage{}, fmt.Errorf("no connection to the redis-server of this test: %w", err)
	}
	defer c.Close()
	m, err := c.Do(ctx, c.B().Arbitrary(args...).Build()).ToMessage()
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	return m, err
}

func (s *Server) connect(once bool) (rueidis.Client, error) {
	config, err := s.clientTLS()
	if err != nil {
		return nil, err
	}
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr}, Password: s.password, TLSConfig: config,
		ForceSingleClient: true, DisableCache: true, DisableRetry: once,
	})
	if err != nil && c != nil {
		c.Close()
	}
	return c, err
}

func (s *Server) launch() error {
	if err := s.begin(); err != nil {
		return err
	}
	return s.awaitPing()
}

func (s *Server) begin() error {
	var err error
	s.process, err = testserver.Begin(exec.Command(program, s.args()...), s.logPath())
	return err
}

func (s *Server) args() []string {
	if s.watched != nil {
		return []string{s.sentinelFile(), "--sentinel"}
	}
	args := []string{
		"--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--daemonize", "no", "--loglevel", "notice", "--repl-diskless-sync-delay", "0",
	}
	for _, setting := range s.ports(strconv.Itoa(s.port)) {
		args = append(args, "--"+setting[0], setting[1])
	}
	if s.bus != 0 {
		args = append(args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(s.bus))
	}
	return append(args, s.flags...)
}

// awaitPing returns when the server answers a PING, which it refuses while it loads data.
func (s *Server) awaitPing() error { return s.process.Await(s.ping) }

// ping speaks the protocol by hand, so that waiting does not depend on what is tested.
func (s *Server) ping() error {
	conn, err := s.dial()
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
