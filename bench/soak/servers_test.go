package soak

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/bcrypt"
)

// sessionsEach is how many visitors log in as the same user.
const sessionsEach = 5

const password = "correct-horse-battery"

func users(visitors int) int { return (visitors + sessionsEach - 1) / sessionsEach }

func email(user int) string { return fmt.Sprintf("user-%d@example.com", user) }

// usersFile names n users, by numbers from 1. The hash is the cheapest: this is not about hashing.
func usersFile(n int) string {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	var out strings.Builder
	out.WriteString("users:\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&out, "  - {id: %d, email: %s, name: \"User %d\", role: member, email_verified: true, password_hash: \"%s\"}\n", i, email(i), i, hash)
	}
	return out.String()
}

// startApp starts an application that says whom it sees: in an answer, in events, and for each message.
func startApp(t *testing.T) string {
	mux := http.NewServeMux()
	who := func(r *http.Request) string { return r.Header.Get("X-User-Id") }
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, who(r)) })
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			fmt.Fprintf(w, "data: %s\n\n", who(r))
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			if _, _, err := c.Read(t.Context()); err != nil {
				return
			}
			if c.Write(t.Context(), websocket.MessageText, []byte(who(r))) != nil {
				return
			}
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// gateway is a process of the binary.
type gateway struct {
	name, url, admin string
}

func startGateway(t *testing.T, name, app, redis, usersYAML string) *gateway {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`listen: 127.0.0.1:0
upstream: %s
login:
  backend: file
  file: {path: users.yaml}
  limits: {per_address: 100000/s, per_account: 100000/s, burst: 100000}
session: {cookie: {secure: false}, max_per_user: 100}
redis: {addresses: [%q]}
admin: {listen: 127.0.0.1:0}
log: {level: info, format: json}
`, app, redis)
	for file, text := range map[string]string{"users.yaml": usersYAML, "gatehouse.yaml": config} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "serve", "--config", filepath.Join(dir, "gatehouse.yaml"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &gateway{name: name}
	listening, gone := make(chan struct{}), make(chan struct{})
	var first strings.Builder
	go func() {
		defer close(gone)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var entry struct{ Message, URL, Admin string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Message == "listening" && g.url == "" {
				g.url, g.admin = entry.URL, entry.Admin
				close(listening)
			}
			if g.url == "" {
				first.WriteString(lines.Text() + "\n")
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(time.Minute):
			t.Errorf("%s does not end", name)
			_ = cmd.Process.Kill()
			<-gone
		}
	})
	select {
	case <-listening:
	case <-gone:
		t.Fatalf("%s ended:\n%s", name, first.String())
	case <-time.After(time.Minute):
		t.Fatalf("%s does not listen", name)
	}
	return g
}

// metrics gives the gateway's metrics that have no labels, by name.
func (g *gateway) metrics() (map[string]float64, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(g.admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	all := make(map[string]float64)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = f
		}
	}
	return all, nil
}
