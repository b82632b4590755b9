package abuse

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testcert"
)

// app is the application behind the gateway. It counts what it is asked.
type app struct {
	url            string
	inFlight, most atomic.Int64
	served         atomic.Int64
}

// bigAnswer is more than fits the buffers between an application and a client that does not read.
const bigAnswer = 8 << 20

func startApp(t *testing.T) *app {
	a := new(app)
	page := []byte(strings.Repeat("gatehouse ", 100))
	big := make([]byte, bigAnswer)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("X-Seen", r.Header.Get("X-User-Id"))
		w.Write(page)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { w.Write(big) })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := a.inFlight.Add(1)
		defer a.inFlight.Add(-1)
		for was := a.most.Load(); now > was && !a.most.CompareAndSwap(was, now); was = a.most.Load() {
		}
		a.served.Add(1)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	a.url = s.URL
	return a
}

// gateway is a process of the binary.
type gateway struct {
	url, addr, admin string
	pid              int
	dir              string
}

// setup is what a gateway is started with; the zero value is plain http with an embedded store.
type setup struct {
	app   string
	redis string // "": embedded
	users string // lines of the user file
	tls   bool
	more  string // further lines of the config; it begins within login
}

func (s setup) write(t *testing.T, dir string) string {
	t.Helper()
	redis, users, tls := "embedded", s.users, ""
	if s.redis != "" {
		redis = s.redis
	}
	if users == "" {
		users = "users: []\n"
	}
	if s.tls {
		cert, key := testcert.Write(t, dir)
		tls = fmt.Sprintf("tls: {cert_file: %s, key_file: %s}\n", cert, key)
	}
	config := fmt.Sprintf(`listen: 127.0.0.1:0
upstream: %s
default: public
rules:
  - path: /account
login:
  backend: file
  file: {path: users.yaml}
%ssession: {cookie: {name: gatehouse, secure: %v}}
redis: {addresses: [%q]}
admin: {listen: 127.0.0.1:0}
log: {level: info, format: json}
%s`, s.app, s.more, s.tls, redis, tls)
	for file, text := range map[string]string{"users.yaml": users, "gatehouse.yaml": config} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gatehouse.yaml")
}

// start starts the gateway. Its log goes to a file, as it does in earnest: a pipe that is read by this process would
// have the gateway wait for it.
func (s setup) start(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{dir: t.TempDir()}
	path := s.write(t, g.dir)
	logFile, err := os.Create(filepath.Join(g.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	cmd := exec.Command(binary, "serve", "--config", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = logFile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.pid = cmd.Process.Pid
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(time.Minute):
			t.Error("the gateway does not end")
			_ = cmd.Process.Kill()
			<-gone
		}
		if text := g.said(); strings.Contains(text, "panic") {
			t.Errorf("the gateway panicked: %.2000s", text[strings.Index(text, "panic"):])
		}
	})
	within(t, time.Minute, "the gateway to listen", func() bool {
		select {
		case <-gone:
			t.Fatalf("the gateway ended:\n%s", g.said())
		default:
		}
		return g.listening()
	})
	return g
}

func (g *gateway) said() string {
	text, err := os.ReadFile(filepath.Join(g.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// listening looks for the line that says where.
func (g *gateway) listening() bool {
	for line := range strings.Lines(g.said()) {
		var entry struct{ Message, URL, Admin string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" {
			g.url, g.admin = entry.URL, entry.Admin
			_, g.addr, _ = strings.Cut(g.url, "://")
			return true
		}
	}
	return false
}

// within waits for what the gateway does by itself.
func within(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// use is what a gateway takes.
type use struct{ rss, peak, goroutines, descriptors float64 }

// use is read from the kernel, and the goroutines from the metrics.
func (g *gateway) use(t *testing.T) use {
	t.Helper()
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.pid))
	if err != nil {
		t.Fatal(err)
	}
	return use{rss: g.status(t, "VmRSS:"), peak: g.status(t, "VmHWM:"), goroutines: g.metric(t, "go_goroutines"), descriptors: float64(len(descriptors))}
}

// status reads a line of /proc/PID/status, in MiB.
func (g *gateway) status(t *testing.T, name string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[0] == name {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			return kib / 1024
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

// metric gives one of the gateway's metrics, 0 when it is not there.
func (g *gateway) metric(t *testing.T, name string) float64 {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(g.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if is, value, _ := strings.Cut(lines.Text(), " "); is == name {
			f, _ := strconv.ParseFloat(value, 64)
			return f
		}
	}
	return 0
}

// somewhere is one of the sixteen million addresses of this machine.
func somewhere(n uint32) *net.TCPAddr {
	n = n*2654435761>>8 | 1 // spread, and no 127.0.0.0
	return &net.TCPAddr{IP: net.IPv4(127, byte(n>>16), byte(n>>8), byte(n)|1)}
}
