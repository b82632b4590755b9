package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	points "gatehouse/internal/fault"
	"gatehouse/internal/testredis"
)

// faulty is the gateway with fault points (package internal/fault), built once and put beside the other.
var faulty = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "gatehouse-faults")
	if out, err := exec.Command("go", "build", "-tags", "faultpoints", "-o", path, "gatehouse").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway with fault points: %w\n%s", err, out)
	}
	return path, nil
})

// crashLimit is how many sessions a user may have in these tests.
const crashLimit = 3

// crashCase brings a gateway to a fault point, and says what must hold afterwards.
type crashCase struct {
	// point is what GATEHOUSE_FAULT is set to: a name, or name:n.
	point string
	// while tells cases apart that die at the same point of different operations.
	while string
	run   func(c *crash)
}

// crash is one gateway that dies, and who was there. User 2 has crashLimit sessions, the oldest first.
type crash struct {
	t     *testing.T
	point string
	sp    space
	cfg   string
	files options
	// calm does not die.
	calm   *gateway
	people []*browser
}

// crashCases are all of them. None is of a point that another test would do for: each must be visited.
var crashCases = slices.Concat(loginCrashes, touchCrashes, logoutCrashes, pendingCrashes, indexCrashes, repairCrashes, importCrashes)

// TestCrashPoints kills a gateway with SIGKILL at each step of everything that writes sessions: the index is
// right or heals, nothing is half there, and what somebody was told holds.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	visited := map[string]bool{}
	for _, c := range crashCases {
		name, _, _ := strings.Cut(c.point, ":")
		visited[name] = true
	}
	for _, name := range points.Names() {
		if !visited[name] {
			t.Errorf("no case dies at the point %s", name)
		}
		delete(visited, name)
	}
	for name := range visited {
		t.Errorf("there is no point %s", name)
	}
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	shared := testredis.Start(t)
	t.Run("cases", func(t *testing.T) {
		for _, c := range crashCases {
			t.Run(strings.TrimSpace(c.point+" "+c.while), func(t *testing.T) {
				t.Parallel()
				files := withUsers()
				files.program = program // also for those that stay: without the race detector a password is hashed in a tenth of the time
				c.run(&crash{t: t, point: c.point, sp: space{shared, prefix()}, files: files})
			})
		}
	})
}

// TestNoFaultPointsInTheRelease: what people run has none.
func TestNoFaultPointsInTheRelease(t *testing.T) {
	t.Parallel()
	with, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{with: true, binary: false} {
		symbols, err := exec.Command("go", "tool", "nm", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(symbols), "gatehouse/internal/fault."); got != want {
			t.Errorf("%s has symbols of fault points: %v, want %v", filepath.Base(path), got, want)
		}
		if got := strings.Contains(string(text), "revoke_user.advanced"); got != want {
			t.Errorf("%s has names of fault points: %v, want %v", filepath.Base(path), got, want)
		}
	}
}

// prepare starts the gateway that stays, and logs user 2 in as often as is allowed.
func (c *crash) prepare(cfg string) {
	c.t.Helper()
	c.cfg = cfg
	c.calm = start(c.t, c.cfg, c.files)
	for range crashLimit {
		b := newBrowser(c.t, c.calm.url)
		b.login(userEmail, userPassword)
		c.people = append(c.people, b)
	}
}

// usual is prepare with the usual config.
func (c *crash) usual() {
	c.t.Helper()
	c.prepare(sections(baseConfig(whoApp(c.t), c.sp.section()), "session", fmt.Sprintf("max_per_user: %d", crashLimit)))
}

// doomed starts a gateway that will die.
func (c *crash) doomed() *gateway {
	c.t.Helper()
	dir := c.t.TempDir()
	for name, text := range c.files.files {
		writeFile(c.t, filepath.Join(dir, name), text)
	}
	file := filepath.Join(dir, "gatehouse.yaml")
	writeFile(c.t, file, "listen: 127.0.0.1:0\nlog: {level: info, format: json}\n"+c.cfg)
	path, err := faulty()
	if err != nil {
		c.t.Fatal(err)
	}
	g := &gateway{t: c.t, dir: dir, gone: make(chan struct{}), cmd: exec.Command(path, "serve", "--config", file)}
	g.cmd.Dir, g.cmd.Env = dir, append(os.Environ(), "GATEHOUSE_FAULT="+c.point)
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		g.kill()
		if c.t.Failed() {
			c.t.Logf("the log of the gateway that was to die:\n%s", g.output())
		}
	})
	listening := make(chan struct{})
	go g.read(stderr, listening)
	select {
	case <-listening:
	case <-g.gone:
		c.t.Fatalf("it ended before it listened:\n%s", g.output())
	case <-time.After(30 * time.Second):
		c.t.Fatalf("it did not listen:\n%s", g.output())
	}
	return g
}

// dies waits for the gateway's death, which must be that of the point.
func (c *crash) dies(g *gateway) {
	c.t.Helper()
	select {
	case <-g.gone:
	case <-time.After(15 * time.Second):
		c.t.Fatalf("the point %s was not reached", c.point)
	}
	if status := g.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		c.t.Fatalf("it ended otherwise than by the point %s: %v", c.point, g.cmd.ProcessState)
	}
}

// unanswered sends a request that the gateway dies of: nobody is told anything.
func (c *crash) unanswered(g *gateway, b *browser, method, path string, fields url.Values) {
	c.t.Helper()
	got, err := c.tries(g, b, method, path, fields)
	if err == nil {
		c.t.Fatalf("%s %s was answered: %s", method, path, got.Status)
	}
	c.dies(g)
}

// tries sends a request that may be answered or not, with the browser's cookies, and puts what comes into its jar.
func (c *crash) tries(g *gateway, b *browser, method, path string, fields url.Values) (*http.Response, error) {
	c.t.Helper()
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(fields.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, bufio.NewReader(resp.Body))
		_ = resp.Body.Close()
	}
	return resp, err
}

// auditScript looks at all records and indexes at one moment: between two commands a time to live goes on, and other
// gateways write. It answers what is wrong with sessions, then "", then the entries that have no session.
const auditScript = `
local prefix, wrong, dead = ARGV[1], {}, {}
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
for _, key in ipairs(redis.call('KEYS', prefix .. 'session:*')) do
  local tag, id = string.match(string.sub(key, #prefix + 1), '^session:{(.-)}:(.*)$')
  local record = cjson.decode(redis.call('GET', key))
  local user = record.userId
  if type(user) == 'number' then user = string.format('%d', user) end
  local index, ttl = prefix .. 'user_sessions:{' .. tag .. '}:' .. user, redis.call('PTTL', key)
  local score = redis.call('ZSCORE', index, id)
  if record.id ~= id then wrong[#wrong + 1] = key .. ' holds another session' end
  if ttl < 0 then wrong[#wrong + 1] = key .. ' never ends' end
  if not score then
    wrong[#wrong + 1] = key .. ' is not in ' .. index
  elseif math.abs(score - now - ttl) > 50 then
    wrong[#wrong + 1] = key .. ' has another end than its entry'
  end
  if redis.call('PTTL', index) < ttl then wrong[#wrong + 1] = index .. ' ends before its session ' .. key end
end
wrong[#wrong + 1] = ''
for _, index in ipairs(redis.call('KEYS', prefix .. 'user_sessions:*')) do
  local tag = string.match(string.sub(index, #prefix + 1), '^user_sessions:{(.-)}:')
  for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if redis.call('EXISTS', prefix .. 'session:{' .. tag .. '}:' .. id) == 0 then wrong[#wrong + 1] = id end
  end
end
return wrong
`

// audited is indexHolds in one step. Each session must be in its user's index at any moment, for both are written in one
// step; it gives the entries without session, which may be there until somebody logs in or lists.
func (sp space) audited(t *testing.T) (dead []string) {
	t.Helper()
	answer := sp.strings(t, "EVAL", auditScript, "0", sp.prefix)
	end := slices.Index(answer, "")
	for _, wrong := range answer[:end] {
		t.Error(wrong)
	}
	return answer[end+1:]
}

// again starts a gateway in the place of the one that died, and looks at who comes with which cookies: alive are
// still logged in, ended are not, and user 2 can log in, is held to the limit, and can log out.
func (c *crash) again(alive, ended []*browser) *gateway {
	c.t.Helper()
	c.sp.audited(c.t)
	g := startReady(c.t, c.cfg, c.files)
	for i, b := range alive {
		if got := b.at(g).get("/account"); got.StatusCode != 200 || !strings.Contains(got.body, "user=") {
			c.t.Errorf("session %d, whose end nobody was told of, is gone: %s", i, got.Status)
		}
	}
	for i, b := range ended {
		for _, at := range []*gateway{g, c.calm} {
			eventually(c.t, fmt.Sprintf("session %d, which has ended, to be refused", i), func() bool { return b.at(at).get("/account").StatusCode == 303 })
		}
	}
	c.goesOn(g)
	return g
}

// goesOn logs user 2 in and out once more than is allowed.
func (c *crash) goesOn(g *gateway) {
	c.t.Helper()
	var last *browser
	for range crashLimit + 1 {
		last = newBrowser(c.t, g.url)
		last.login(userEmail, userPassword)
		if n := c.sessionsOf("2"); n > crashLimit {
			c.t.Fatalf("user 2 has %d sessions, %d are allowed", n, crashLimit)
		}
	}
	c.healed()
	if got := last.get("/account"); got.StatusCode != 200 {
		c.t.Errorf("after a new login: %s", got.Status)
	}
	token := last.token()
	if got := last.post("/logout", nil); got.StatusCode != 303 || c.sp.number(c.t, "EXISTS", c.sp.session(token)) != 0 {
		c.t.Errorf("a logout afterwards: %s", got.Status)
	}
	c.healed()
}

// sessionsOf counts a user's records.
func (c *crash) sessionsOf(user string) (n int) {
	c.t.Helper()
	for _, key := range c.sp.sessions(c.t) {
		if strings.Contains(key, "{"+tagOf(user)+"}") {
			n++
		}
	}
	return n
}

// healed: index and records say the same, both ways.
func (c *crash) healed() {
	c.t.Helper()
	for _, id := range c.sp.audited(c.t) {
		c.t.Errorf("%s is in an index and is no session", id)
	}
}

// operate runs `gatehouse sessions`, with fault points or without.
func (c *crash) operate(path string, args ...string) *exec.Cmd {
	c.t.Helper()
	// Not at the end: behind a "--" it would be no flag.
	flag := []string{"sessions", args[0], "--config", filepath.Join(c.calm.dir, "gatehouse.yaml")}
	cmd := exec.Command(path, append(flag, args[1:]...)...)
	cmd.Dir = c.calm.dir
	return cmd
}
