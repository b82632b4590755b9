// Package e2e drives the built binary from outside: HTTP in, HTTP out, what Redis holds, what the
// log says. Real redis-server processes, real sockets, a real browser.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	// TestMain builds the binary. This tells `go test` what of, or its cache would answer for a
	// gateway that has changed since.
	_ "gatehouse/command"
	"gatehouse/internal/testserver"
)

// binary is the gateway under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	testserver.MoreParallel()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatehouse-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gatehouse")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "gatehouse")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the gateway: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if leaks := said.leaks(); len(leaks) > 0 {
		// S04: whatever the whole suite made the gateway print, no token is in it.
		fmt.Fprintf(os.Stderr, "FAIL: S04: %d lines of output hold a session token or a password:\n%s\n", len(leaks), strings.Join(leaks, "\n"))
		return 1
	}
	return code
}

// said is everything every gateway has printed or served to operators, and every secret the suite
// has seen (S04).
var said transcript

type transcript struct {
	mu    sync.Mutex
	lines []string
	// secrets are words to look for. Of session tokens there are tens of thousands: of these the secret half is in
	// tokens, and what looks like one is looked up there.
	secrets, tokens map[string]bool
}

var sessionToken = regexp.MustCompile(`^[A-Za-z0-9_-]{11}[.~]([A-Za-z0-9_-]{43})$`)

func (t *transcript) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
}

func (t *transcript) secret(s string) {
	if len(s) < 8 {
		return // "wrong", as some tests mistype a password, stands in honest lines too
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.secrets == nil {
		t.secrets, t.tokens = make(map[string]bool), make(map[string]bool)
	}
	if m := sessionToken.FindStringSubmatch(s); m != nil {
		t.tokens[m[1]] = true
		return
	}
	t.secrets[s] = true
}

func (t *transcript) leaks() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var leaks []string
	tell := func(s, line string) { leaks = append(leaks, fmt.Sprintf("%.10s... in %s", s, line)) }
	for _, line := range t.lines {
		for s := range t.secrets {
			if strings.Contains(line, s) {
				tell(s, line)
			}
		}
		for _, word := range strings.FieldsFunc(line, outsideBase64) {
			for i := 0; i+secretChars <= len(word); i++ {
				if s := word[i : i+secretChars]; t.tokens[s] {
					tell(s, line)
				}
			}
		}
	}
	return leaks
}

// secretChars are those of a token's secret half.
const secretChars = 43

func outsideBase64(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// TestTranscript: the search for leaks finds them.
func TestTranscript(t *testing.T) {
	t.Parallel()
	token := tagOf("1") + "." + strings.Repeat("Ab1_-", 8) + "xyz"
	var said transcript
	said.secret(token)
	said.secret("the password")
	for line, leaks := range map[string]int{
		"a line": 0, `{"session":"` + sessionID(token) + `"}`: 0, "cookie gatehouse=" + token + "; x": 1,
		"only " + token[12:]: 1, "x" + token[12:] + "y": 1, "the password is": 1,
	} {
		said.lines = []string{line}
		if got := said.leaks(); len(got) != leaks {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// gateway is a running process of the binary.
type gateway struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string // http://127.0.0.1:port
	addr string
	// admin is the URL of the admin listener, when the config has one.
	admin string
	dir   string

	mu   sync.Mutex
	logs []map[string]any
	text []string
	gone chan struct{}
	err  error
}

// options of start.
type options struct {
	env  []string
	args []string
	// files are written beside the config: name to content.
	files map[string]string
	// program is run instead of the gateway as it is released.
	program string
}

// start runs `gatehouse serve` with the config and waits until it listens. The config needs no
// `listen` nor `log`.
func start(t *testing.T, config string, opts options) *gateway {
	t.Helper()
	dir := t.TempDir()
	for name, text := range opts.files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	if !strings.Contains(config, "listen:") || !regexp.MustCompile(`(?m)^listen:`).MatchString(config) {
		config = "listen: 127.0.0.1:0\n" + config
	}
	if !regexp.MustCompile(`(?m)^log:`).MatchString(config) {
		config += "\nlog: {level: debug, format: json}\n"
	}
	file := filepath.Join(dir, "gatehouse.yaml")
	writeFile(t, file, config)
	program := opts.program
	if program == "" {
		program = binary
	}
	return launchProgram(t, program, dir, append([]string{"serve", "--config", file}, opts.args...), opts.env)
}

// launch runs the binary and waits for its line that says where it listens.
func launch(t *testing.T, dir string, args, env []string) *gateway {
	t.Helper()
	return launchProgram(t, binary, dir, args, env)
}

func launchProgram(t *testing.T, program, dir string, args, env []string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: dir, gone: make(chan struct{})}
	g.cmd = exec.Command(program, args...)
	g.cmd.Dir = dir
	g.cmd.Env = append(os.Environ(), env...)
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan struct{})
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go g.read(stderr, listening)
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.output())
		}
		if strings.Contains(g.output(), "DATA RACE") {
			t.Error("the race detector found something in the gateway")
		}
	})
	select {
	case <-listening:
	case <-g.gone:
		t.Fatalf("the gateway ended before it listened: %v\n%s", g.err, g.output())
	case <-time.After(30 * time.Second):
		t.Fatalf("the gateway did not listen:\n%s", g.output())
	}
	return g
}

func (g *gateway) read(r io.Reader, listening chan struct{}) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	up := false
	for lines.Scan() {
		line := lines.Text()
		said.add(line)
		var entry map[string]any
		g.mu.Lock()
		g.text = append(g.text, line)
		if json.Unmarshal([]byte(line), &entry) == nil {
			g.logs = append(g.logs, entry)
		}
		g.mu.Unlock()
		if entry["message"] == "listening" && !up {
			up = true
			g.url, _ = entry["url"].(string)
			g.admin, _ = entry["admin"].(string)
			u, _ := url.Parse(g.url)
			g.addr = u.Host
			close(listening)
		}
	}
	g.err = g.cmd.Wait()
	close(g.gone)
}

// stop sends SIGTERM and waits for the end.
func (g *gateway) stop() {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.gone:
	case <-time.After(20 * time.Second):
		_ = g.cmd.Process.Kill()
		<-g.gone
		g.t.Error("the gateway did not end within 20 s of SIGTERM")
	}
}

// kill ends the process as a crash would.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	<-g.gone
}

// output is what the process has printed so far.
func (g *gateway) output() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.text, "\n")
}

// entries are the log lines in which every given field has the given value.
func (g *gateway) entries(fields map[string]any) []map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []map[string]any
lines:
	for _, entry := range g.logs {
		for k, v := range fields {
			if fmt.Sprint(entry[k]) != fmt.Sprint(v) {
				continue lines
			}
		}
		out = append(out, entry)
	}
	return out
}

// logged waits for such a log line: lines are written after the answer has gone out.
func (g *gateway) logged(t *testing.T, fields map[string]any) map[string]any {
	t.Helper()
	var found []map[string]any
	eventually(t, fmt.Sprintf("a log line with %v", fields), func() bool {
		found = g.entries(fields)
		return len(found) > 0
	})
	return found[len(found)-1]
}

// metric gives the value of a metric of the admin listener, 0 when it is not there yet.
func (g *gateway) metric(t *testing.T, name string) string {
	t.Helper()
	resp, err := http.Get(g.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	said.add(string(text))
	for line := range strings.SplitSeq(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	return "0"
}

// browser is an HTTP client with a cookie jar that follows nothing, as a person's browser would
// hold cookies.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
	// headers are sent with each request.
	headers http.Header
}

func newBrowser(t *testing.T, base string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, base: base, headers: http.Header{"Accept": {"text/html"}}, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

// location is where a redirect leads.
func (a answer) location() string { return a.Header.Get("Location") }

func (b *browser) do(req *http.Request) answer {
	b.t.Helper()
	for name, values := range b.headers {
		if req.Header[name] == nil {
			req.Header[name] = values
		}
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: reading the answer: %v", req.Method, req.URL, err)
	}
	for _, c := range resp.Cookies() {
		if strings.Contains(c.Name, "gatehouse") && c.Value != "" {
			said.secret(c.Value)
		}
	}
	return answer{resp, string(body)}
}

func (b *browser) get(path string, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return b.do(req)
}

func (b *browser) post(path string, form url.Values, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return b.do(req)
}

// token is the value of the gateway's cookie, "" when the browser has none.
func (b *browser) token() string {
	u, _ := url.Parse(b.base)
	for _, c := range b.client.Jar.Cookies(u) {
		if strings.Contains(c.Name, "gatehouse") {
			return c.Value
		}
	}
	return ""
}

// login logs in at the gateway's own page (backend file) and fails the test when that fails.
func (b *browser) login(email, password string) answer {
	b.t.Helper()
	said.secret(password)
	got := b.post("/login", url.Values{"email": {email}, "password": {password}})
	if got.StatusCode != http.StatusSeeOther || b.token() == "" {
		b.t.Fatalf("login of %s: %s, %s", email, got.Status, got.body)
	}
	return got
}

// raw sends bytes as they are over a new connection and gives everything that comes back until the
// gateway closes it or is silent for a while.
func raw(t *testing.T, addr, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.Copy(&got, conn)
	return got.String()
}

// eventually waits for a condition that other processes bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runCommand runs a subcommand to its end.
func runCommand(t *testing.T, stdin string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.CombinedOutput()
	said.add(string(text))
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}
