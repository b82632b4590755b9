package limits

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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

	"gatehouse/internal/testcert"
)

// startApp starts an application that speaks HTTP/1.1 and, without TLS, HTTP/2: /up counts, /down?bytes= sends, /ws
// echoes, anything else says hello.
func startApp(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	up := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	}
	down := func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
		_, _ = io.CopyN(w, zeros{}, n)
	}
	for _, under := range []string{"", "/two"} {
		mux.HandleFunc(under+"/up", up)
		mux.HandleFunc(under+"/down", down)
	}
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, message, err := c.Read(t.Context())
			if err != nil || c.Write(t.Context(), kind, message) != nil {
				return
			}
		}
	})
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// gateway is a process of the binary.
type gateway struct {
	url, addr, admin string
	pid              int
	cookie           string // of a session
}

const email, password = "ada@example.com", "correct-horse-battery"

// startGateway starts one in front of the application, which is asked by HTTP/2 under /two.
func startGateway(t *testing.T, app *httptest.Server, secure bool) *gateway {
	t.Helper()
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`listen: 127.0.0.1:0
upstream: %s
rules:
  - {path: /two, upstream: "h2c://%s"}
login:
  backend: file
  file: {path: users.yaml}
session: {cookie: {secure: false}}
redis: {addresses: [embedded]}
limits: {max_body: 0}
timeouts: {idle: 1h}
admin: {listen: 127.0.0.1:0}
log: {level: info, format: json}
`, app.URL, app.Listener.Addr())
	if secure {
		cert, key := testcert.Write(t, dir)
		config += fmt.Sprintf("tls: {cert_file: %s, key_file: %s}\n", cert, key)
	}
	users := fmt.Sprintf("users:\n  - {id: 1, email: %s, name: Ada, role: user, password_hash: \"%s\"}\n", email, hash)
	for file, text := range map[string]string{"users.yaml": users, "gatehouse.yaml": config} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := launch(t, filepath.Join(dir, "gatehouse.yaml"))
	g.login(t)
	return g
}

func launch(t *testing.T, config string) *gateway {
	t.Helper()
	cmd := exec.Command(binary, "serve", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &gateway{pid: cmd.Process.Pid}
	listening, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var entry struct{ Message, URL, Admin string }
			if g.url == "" && json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Message == "listening" {
				g.url, g.admin = entry.URL, entry.Admin
				u, _ := url.Parse(g.url)
				g.addr = u.Host
				close(listening)
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // thousands of connections are open; how it ends is not what this is about
		<-gone
	})
	select {
	case <-listening:
	case <-gone:
		t.Fatal("the gateway ended before it listened")
	case <-time.After(time.Minute):
		t.Fatal("the gateway does not listen")
	}
	return g
}

func (g *gateway) login(t *testing.T) {
	t.Helper()
	resp, err := g.client(t, false).PostForm(g.url+"/login", url.Values{"email": {email}, "password": {password}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		g.cookie = c.Name + "=" + c.Value
	}
	if g.cookie == "" {
		t.Fatalf("login: %s", resp.Status)
	}
}

// client speaks HTTP/2 or HTTP/1.1.
func (g *gateway) client(t *testing.T, two bool) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: anyCertificate.Clone(), DisableCompression: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!two)
	transport.Protocols.SetHTTP2(two)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

var anyCertificate = &tls.Config{InsecureSkipVerify: true}

// get asks for a page over a client's connection, with the session.
func (g *gateway) get(c *http.Client) error {
	r, err := http.NewRequest(http.MethodGet, g.url+"/", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Cookie", g.cookie)
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "hello" {
		return fmt.Errorf("%s %q %w", resp.Status, text, err)
	}
	return nil
}

// memory gives the resident memory of the process, now and at its peak since the last resetPeak, in bytes.
func (g *gateway) memory(t *testing.T) (now, peak int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			now = n << 10
		case "VmHWM":
			peak = n << 10
		}
	}
	if now == 0 || peak == 0 {
		t.Fatalf("no memory in %s", text)
	}
	return now, peak
}

// resetPeak begins a new peak (proc(5), clear_refs).
func (g *gateway) resetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", g.pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// metric gives a metric without labels.
func (g *gateway) metric(t *testing.T, name string) int {
	t.Helper()
	resp, err := http.Get(g.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			f, _ := strconv.ParseFloat(value, 64)
			return int(f)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
