package abuse

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// slow is a run of slowhttptest.
type slow struct {
	name string
	path string
	args []string
}

// every connection of these stops for longer than the gateway waits.
func slowRuns(pause int, token string) []slow {
	silent := strconv.Itoa(pause)
	return []slow{
		{"slow headers, public", "/page", []string{"-H", "-i", silent}},
		{"slow headers, login", "/login", []string{"-H", "-i", silent}},
		{"slow body, login", "/login", []string{"-B", "-i", silent}},
		{"slow body, public", "/page", []string{"-B", "-i", silent}},
		// Without the cookie it would be refused at once.
		{"slow body, protected", "/account/page", []string{"-B", "-i", silent, "-j", "gatehouse=" + token}},
		{"slow headers, protected", "/account/page", []string{"-H", "-i", silent}},
		{"slow read, public", "/big", []string{"-X", "-w", "512", "-y", "1024", "-n", silent, "-z", "32"}},
	}
}

// start runs slowhttptest until stop is called.
func (s slow) start(t *testing.T, g *gateway, connections int, length time.Duration) (stop func()) {
	t.Helper()
	args := append(s.args, "-c", strconv.Itoa(connections), "-r", strconv.Itoa(max(connections/4, 200)), "-l", strconv.Itoa(int(length.Seconds())),
		"-p", "60", "-v", "1", "-u", g.url+s.path)
	cmd := exec.Command("nice", append([]string{"-n", "19", "slowhttptest"}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("slowhttptest, which make abuse installs: %v", err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// TestSlowClients: all connections of slowhttptest are closed by the gateway within its timeouts (X06), and ordinary
// clients go on. Its own word for it is not taken: whoever reads slowly does not notice.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	connections, pause := size(60, 2000), size(8, 90)
	limit := time.Duration(size(20, 150)) * time.Second
	// The timeouts are the defaults at full size. All come from one address, whose limits would keep half of them out.
	more := "  limits: {per_address: 100000/s, burst: 100000}\nconnection_limits: {per_address: 10000}\n"
	if !*full {
		more += "timeouts: {read_header: 2s, body: 2s, idle: 2s}\n"
	}
	redis := testredis.Start(t)
	users, tokens := loggedIn(t, redis.Addr, 1)
	for i, s := range slowRuns(pause, tokens[0]) {
		if !*full && i%2 == 1 {
			continue // every second will do
		}
		t.Run(s.name, func(t *testing.T) {
			if !*full {
				t.Parallel()
			}
			app := startApp(t)
			g := setup{app: app.url, redis: redis.Addr, users: users, more: more}.start(t)
			w := watch(t, g, visitors(g, size(10, 100)))
			before := g.use(t).descriptors
			endure(t, fmt.Sprintf("%s: %d connections", s.name, connections), g, w, bounds{memory: size(100.0, 400.0), after: 30 * time.Second}, func() {
				stop := s.start(t, g, connections, limit+time.Minute)
				defer stop()
				held := before + 0.5*float64(connections) // at once: it is slower than it should be on a busy machine
				within(t, time.Minute, "its connections", func() bool { return g.use(t).descriptors >= held })
				within(t, limit, "the gateway to close them", func() bool { return g.use(t).descriptors <= before+0.1*float64(connections)+10 })
			})
			// Thousands of answers that nobody reads put the kernel short of memory for TCP. Some connections to the
			// application then end without its being told: it finds out when it sends again.
			within(t, size(20*time.Second, 3*time.Minute), "the application to be rid of them", func() bool { return app.inFlight.Load() <= 10 })
		})
	}
}
