// Package testmariadb starts a real MariaDB for a test: on a free port of the loopback interface, in a
// folder of its own, ended with the test. Types, races and outages need the real program; nothing is
// skipped when it is missing, the test fails and says how to install it.
//
// A server takes about half a second to start. Where a test only needs a database of its own,
// NewDatabase gives one on a server that the tests of the package share.
package testmariadb

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testserver"
)

const hint = "MariaDB is not installed: run `make test`, it installs what the tests need"

// The user the URLs name, who may do anything, and the database there is from the start. root is for the
// socket only.
const (
	admin    = "app"
	database = "app"
)

// patience bounds the waits for the server: starting it, and its end.
const patience = 20 * time.Second

// Server is one MariaDB.
type Server struct {
	// Addr is where it listens, host:port. It stays the same over Restart.
	Addr string

	t        testing.TB
	folder   string // of the server; its data are in the folder data inside
	port     int
	flags    []string
	password string
	process  *testserver.Process
}

// Option changes how a server is started.
type Option func(*Server)

// Flags adds arguments of the server's command line, such as "--max-connections=10".
func Flags(args ...string) Option {
	return func(s *Server) { s.flags = append(s.flags, args...) }
}

// Password makes the server ask for a password; URL holds it.
func Password(password string) Option {
	return func(s *Server) { s.password = password }
}

// TLS makes the server offer TLS with these files (PEM), such as testcert's.
func TLS(cert, key string) Option {
	return Flags("--ssl-cert="+cert, "--ssl-key="+key)
}

func newFolder() (string, error) { return os.MkdirTemp("", "testmariadb") }

// Start starts a server, waits until it answers, and ends it with the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	if !installed() {
		t.Fatal(hint)
	}
	data, release := template.Use(t, newFolder, initialize)
	folder, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, folder: folder}
	for _, opt := range opts {
		opt(s)
	}
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(s.folder)
		release()
	})
	if err := testserver.CopyFolder(data, s.data()); err != nil {
		t.Fatal(err)
	}
	err = testserver.OnFreePort(t, func(port int) error {
		s.port, s.Addr = port, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		return s.launch()
	}, s.Kill)
	if err != nil {
		t.Fatalf("MariaDB does not start: %v\n%s", err, testserver.Log(s.logPath()))
	}
	s.Exec(t, "CREATE USER "+admin+"@'%' IDENTIFIED BY '"+s.password+"'")
	s.Exec(t, "GRANT ALL PRIVILEGES ON *.* TO "+admin+"@'%' WITH GRANT OPTION")
	s.Exec(t, "CREATE DATABASE "+database)
	return s
}

// URL is for config.Database: a user who may do anything and an empty database, over TCP, with the
// options such as "tls=true".
func (s *Server) URL(options ...string) string { return s.url(database, options...) }

func (s *Server) url(database string, options ...string) string {
	u := url.URL{Scheme: "mysql", User: url.User(admin), Host: s.Addr, Path: database, RawQuery: strings.Join(options, "&")}
	if s.password != "" {
		u.User = url.UserPassword(admin, s.password)
	}
	return u.String()
}

// SocketURL is URL over the unix socket, as root without a password.
func (s *Server) SocketURL() string { return "mysql://root@/" + database + "?socket=" + s.socket() }

// Kill ends the server the hard way (SIGKILL), as a crash does: connections break, what was committed is
// still there after Restart. Killing a dead server does nothing.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	s.process.End()
	s.process = nil
}

// Restart starts the server again, with the same address and data, after Kill or while it runs.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.launch(); err != nil {
		s.t.Fatalf("MariaDB does not start again: %v\n%s", err, testserver.Log(s.logPath()))
	}
}

// Stop halts the server (SIGSTOP): connections stay open and nothing answers, as with a hung machine.
func (s *Server) Stop() { s.process.SignalOrFail(s.t, syscall.SIGSTOP) }

// Cont lets a halted server go on (SIGCONT).
func (s *Server) Cont() { s.process.SignalOrFail(s.t, syscall.SIGCONT) }

func (s *Server) launch() error {
	args := []string{
		// First, or not at all: the settings of the machine's own server are nothing to us.
		"--no-defaults",
		"--datadir=" + s.data(), "--socket=" + s.socket(), "--pid-file=" + filepath.Join(s.folder, "pid"),
		"--port=" + strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--skip-networking=0", "--skip-name-resolve",
		"--innodb-log-file-size=" + logFileSize, "--innodb-buffer-pool-size=16M", "--key-buffer-size=1M",
		// What a crash of the machine loses does not matter here; what a crash of the server loses does.
		"--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--performance-schema=OFF",
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	var err error
	if s.process, err = testserver.Begin(exec.Command(program("mariadbd"), append(args, s.flags...)...), s.logPath()); err != nil {
		return err
	}
	return s.process.Await(s.ping)
}

func (s *Server) data() string    { return filepath.Join(s.folder, "data") }
func (s *Server) socket() string  { return filepath.Join(s.folder, "socket") }
func (s *Server) logPath() string { return filepath.Join(s.folder, "mariadb.log") }

// program finds a program that may lie in sbin, which is not on everybody's path; "" when it is not there.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func installed() bool { return program("mariadbd") != "" && program("mariadb-install-db") != "" }
