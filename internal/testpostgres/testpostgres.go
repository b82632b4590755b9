// Package testpostgres starts a real PostgreSQL for a test: on a free port of the loopback interface,
// in a folder of its own, ended with the test. Transactions, types, races and outages need the real
// program; nothing is skipped when it is missing, the test fails and says how to install it.
//
// A server takes about half a second to start. Where a test only needs a database of its own,
// NewDatabase gives one on a server that the tests of the package share.
package testpostgres

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testserver"
)

// The superuser, and the database there is from the start.
const (
	superuser = "postgres"
	database  = "postgres"
)

// patience bounds the waits for the server: starting it, and its end.
const patience = 20 * time.Second

// Server is one PostgreSQL.
type Server struct {
	// Addr is where it listens, host:port. It stays the same over Restart.
	Addr string

	t        testing.TB
	folder   string // of the server; its data are in the folder data inside
	port     int
	flags    []string
	hba      []string
	password string
	cert     string
	key      string
	process  *process
}

// Option changes how a server is started.
type Option func(*Server)

// Flags adds arguments of the server's command line, such as "-c", "max_connections=5".
func Flags(args ...string) Option {
	return func(s *Server) { s.flags = append(s.flags, args...) }
}

// Password makes the server ask for the superuser's password over TCP; URL holds it.
func Password(password string) Option {
	return func(s *Server) {
		s.password = password
		s.hba = append(s.hba, "host all all all scram-sha-256")
	}
}

// TLS makes the server offer TLS with these files (PEM), such as testcert's.
func TLS(cert, key string) Option {
	return func(s *Server) { s.cert, s.key = cert, key }
}

// HBA gives the lines of pg_hba.conf for TCP, such as "hostssl all all all trust". Without any, everybody
// gets in.
func HBA(lines ...string) Option {
	return func(s *Server) { s.hba = append(s.hba, lines...) }
}

// Start starts a server, waits until it answers, and ends it with the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	programs := bin(t)
	data, release := template.Use(t, newFolder, func(folder string) error { return initialize(programs, folder) })
	folder, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, folder: folder}
	for _, opt := range opts {
		opt(s)
	}
	t.Cleanup(func() {
		s.end()
		os.RemoveAll(s.folder)
		release()
	})
	s.prepare(data)
	err = testserver.OnFreePort(t, func(port int) error {
		s.port, s.Addr = port, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		return s.launch()
	}, s.end)
	if err != nil {
		t.Fatalf("PostgreSQL does not start: %v\n%s", err, testserver.Log(s.logPath()))
	}
	if s.password != "" {
		s.Exec(t, "ALTER USER "+superuser+" PASSWORD '"+s.password+"'")
	}
	return s
}

// URL is for config.Database: the superuser and the database postgres, over TCP and, unless options
// are given such as "sslmode=verify-full", without TLS.
func (s *Server) URL(options ...string) string { return s.url(database, options...) }

func (s *Server) url(database string, options ...string) string {
	if len(options) == 0 {
		options = []string{"sslmode=disable"}
	}
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Host: s.Addr, Path: database, RawQuery: strings.Join(options, "&")}
	if s.password != "" {
		u.User = url.UserPassword(superuser, s.password)
	}
	return u.String()
}

// SocketURL is URL over the unix socket, where no password is asked for.
func (s *Server) SocketURL() string {
	return fmt.Sprintf("postgres://%s@/%s?host=%s&port=%d", superuser, database, s.folder, s.port)
}

// Kill ends the server and all its processes the hard way (SIGKILL), as a crash does: connections
// break, what was committed is still there after Restart. Killing a dead server does nothing.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	s.process.kill()
	s.process = nil
	s.removeMemory()
}

// Restart starts the server again, with the same address and data, after Kill or while it runs.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.launch(); err != nil {
		s.t.Fatalf("PostgreSQL does not start again: %v\n%s", err, testserver.Log(s.logPath()))
	}
}

// Stop halts the server with all its processes (SIGSTOP): connections stay open and nothing answers,
// as with a hung machine.
func (s *Server) Stop() {
	s.t.Helper()
	s.process.halt(s.t)
}

// Cont lets a halted server go on (SIGCONT).
func (s *Server) Cont() {
	s.t.Helper()
	s.process.resume(s.t)
}

// prepare gives the server its data: a copy of the template, with the rules of who may connect.
func (s *Server) prepare(template string) {
	s.t.Helper()
	data := s.data()
	if err := testserver.CopyFolder(template, data); err != nil {
		s.t.Fatal(err)
	}
	if len(s.hba) == 0 {
		s.hba = []string{"host all all all trust"}
	}
	rules := append([]string{"local all all trust"}, s.hba...)
	writeFile(s.t, filepath.Join(data, "pg_hba.conf"), strings.Join(rules, "\n")+"\n")
	if s.cert == "" {
		return
	}
	for name, source := range map[string]string{"server.crt": s.cert, "server.key": s.key} {
		text, err := os.ReadFile(source)
		if err != nil {
			s.t.Fatal(err)
		}
		writeFile(s.t, filepath.Join(data, name), string(text))
	}
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) launch() error {
	args := []string{
		"-D", s.data(), "-k", s.folder, "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		// What is lost in a crash of the machine does not matter here; what a crash of the server loses does.
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_wal_senders=0", "-c", "wal_level=minimal",
		"-c", "shared_buffers=16MB", "-c", "autovacuum=off",
		"-c", "jit=off", "-c", "dynamic_shared_memory_type=mmap", "-c", "log_min_messages=warning",
	}
	if s.cert != "" {
		args = append(args, "-c", "ssl=on")
	}
	p, err := testserver.Begin(command(s.folder, filepath.Join(bin(s.t), "postgres"), append(args, s.flags...)...), s.logPath())
	if err != nil {
		return err
	}
	s.process = &process{p}
	return p.Await(s.ping)
}

// end stops the server cleanly enough that it gives its shared memory back.
func (s *Server) end() {
	if s.process == nil {
		return
	}
	s.process.quit()
	s.process = nil
	s.removeMemory()
}

func (s *Server) logPath() string { return filepath.Join(s.folder, "postgres.log") }

// bin is the folder of the newest PostgreSQL's programs, which Debian keeps off the path.
func bin(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not installed: run `make test`, it installs what the tests need")
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
}

func version(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}
