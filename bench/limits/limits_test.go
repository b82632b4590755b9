package limits

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const mib = 1 << 20

// mostStreaming is how much memory a stream may take, whatever its length.
const mostStreaming = 12 * mib

// TestStreaming sends and fetches many bytes, by HTTP/1.1, and by HTTP/2 on both sides of the gateway.
func TestStreaming(t *testing.T) {
	app := startApp(t)
	g := startGateway(t, app, true)
	fmt.Printf("| %d MiB each | memory before | peak | MiB/s |\n|---|---:|---:|---:|\n", *bytesEach/mib)
	for _, two := range []bool{false, true} {
		name, under := "HTTP/1.1", ""
		if two {
			name, under = "HTTP/2", "/two"
		}
		c := g.client(t, two)
		if err := g.get(c); err != nil {
			t.Fatal(err)
		}
		for _, direction := range []string{"up", "down"} {
			g.resetPeak(t)
			before, _ := g.memory(t)
			began := time.Now()
			if err := stream(g, c, under, direction); err != nil {
				t.Errorf("%s %s: %v", name, direction, err)
				continue
			}
			took := time.Since(began)
			_, peak := g.memory(t)
			fmt.Printf("| %s, %s | %d MiB | %d MiB | %.0f |\n", name, direction, before/mib, peak/mib, float64(*bytesEach)/mib/took.Seconds())
			if peak-before > mostStreaming {
				t.Errorf("%s %s: the peak of memory is %d MiB above what it was before", name, direction, (peak-before)/mib)
			}
		}
	}
}

func stream(g *gateway, c *http.Client, under, direction string) error {
	method, path := http.MethodPost, under+"/up"
	var body io.Reader = io.LimitReader(zeros{}, *bytesEach)
	if direction == "down" {
		method, path, body = http.MethodGet, fmt.Sprintf("%s/down?bytes=%d", under, *bytesEach), nil
	}
	r, err := http.NewRequest(method, g.url+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Cookie", g.cookie)
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if direction == "down" {
		if n, err := io.Copy(io.Discard, resp.Body); n != *bytesEach || err != nil {
			return fmt.Errorf("%d bytes came down: %w", n, err)
		}
		return nil
	}
	text, err := io.ReadAll(resp.Body)
	if want := fmt.Sprint(*bytesEach, " ", error(nil)); err != nil || string(text) != want {
		return fmt.Errorf("the application got %q, %w", text, err)
	}
	return nil
}

// TestSlowReaders: what the application has sent ahead of clients that do not read is bounded, too, when many
// share a connection to it.
func TestSlowReaders(t *testing.T) {
	const readers, size = 20, 6 * mib
	g := startGateway(t, startApp(t), true)
	c := g.client(t, true)
	c.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10} // nor does it take much
	if err := g.get(c); err != nil {
		t.Fatal(err)
	}
	g.resetPeak(t)
	before, _ := g.memory(t)
	for range readers {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/two/down?bytes=%d", g.url, size), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", g.cookie)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
	}
	for last := int64(-1); ; time.Sleep(100 * time.Millisecond) { // until nothing moves any more
		now, _ := g.memory(t)
		if now == last {
			break
		}
		last = now
	}
	_, peak := g.memory(t)
	fmt.Printf("%d readers that do not read: %d MiB → %d MiB\n", readers, before/mib, peak/mib)
	if grown := peak - before; grown > readers*mib {
		t.Errorf("%d readers that do not read take %d MiB", readers, grown/mib)
	}
}

// mostHeld is what one connection may take of the gateway; slack is the heap's own rhythm.
const (
	mostHeld = 64 << 10
	slack    = 16 * mib
)

// holding is what a number of open connections take.
type holding struct {
	memory                  int64
	goroutines, descriptors int
}

func (g *gateway) holding(t *testing.T) holding {
	t.Helper()
	now, _ := g.memory(t)
	return holding{memory: now, goroutines: g.metric(t, "go_goroutines"), descriptors: g.metric(t, "process_open_fds")}
}

// report prints what n connections take and holds it against the bounds.
func report(t *testing.T, what string, n int, before, with holding, quiet, busy []time.Duration) {
	t.Helper()
	each := (with.memory - before.memory) / int64(n)
	fmt.Printf("| %d %s | %d MiB → %d MiB | %.1f KiB | %.1f | %.1f | %v, %v | %v, %v |\n", n, what, before.memory/mib, with.memory/mib, float64(each)/1024,
		float64(with.goroutines-before.goroutines)/float64(n), float64(with.descriptors-before.descriptors)/float64(n),
		at(quiet, 50), at(quiet, 99), at(busy, 50), at(busy, 99))
	if with.memory-before.memory > int64(n)*mostHeld+slack {
		t.Errorf("each of %d %s takes %d bytes", n, what, each)
	}
	if with.descriptors-before.descriptors < n {
		t.Errorf("%d descriptors for %d %s: they are not open", with.descriptors-before.descriptors, n, what)
	}
}

var header = sync.OnceFunc(func() {
	fmt.Println("| | memory | each | goroutines | descriptors | another client's p50, p99 before | with them |\n|---|---|---:|---:|---:|---|---|")
})

// latency is how long requests of another client take, one after the other.
func (g *gateway) latency(t *testing.T) []time.Duration {
	t.Helper()
	c := g.client(t, false)
	took := make([]time.Duration, 0, *samples)
	for range *samples {
		began := time.Now()
		if err := g.get(c); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)].Round(10 * time.Microsecond)
}

// TestIdleConnections holds connections open that have been used once, with and without TLS, and uses each again.
func TestIdleConnections(t *testing.T) {
	for _, secure := range []bool{false, true} {
		header()
		what := map[bool]string{false: "idle connections", true: "idle connections, TLS"}[secure]
		g := startGateway(t, startApp(t), secure)
		quiet := g.latency(t)
		before := g.holding(t)
		conns := make([]*idleConn, *idle)
		each(t, len(conns), func(i int) (err error) {
			if conns[i], err = g.open(secure); err == nil {
				err = conns[i].ask(g)
			}
			return err
		})
		with := g.holding(t)
		report(t, what, len(conns), before, with, quiet, g.latency(t))
		each(t, len(conns), func(i int) error { return conns[i].ask(g) })
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// idleConn is a connection without what net/http's client would hold beside it.
type idleConn struct {
	net.Conn
	src *bufio.Reader
}

func (g *gateway) open(secure bool) (*idleConn, error) {
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		return nil, err
	}
	if secure {
		conn = tls.Client(conn, anyCertificate)
	}
	return &idleConn{conn, bufio.NewReaderSize(conn, 1024)}, nil
}

func (c *idleConn) ask(g *gateway) error {
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n", g.cookie); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.src, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "hello" || resp.Close {
		return fmt.Errorf("%s %q %v, closed: %v", resp.Status, text, err, resp.Close)
	}
	return nil
}

// TestWebSockets holds WebSockets open, each of which echoes, twice.
func TestWebSockets(t *testing.T) {
	header()
	g := startGateway(t, startApp(t), false)
	quiet := g.latency(t)
	before := g.holding(t)
	conns := make([]*websocket.Conn, *webSockets)
	echo := func(i int) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := conns[i].Write(ctx, websocket.MessageText, fmt.Append(nil, i)); err != nil {
			return err
		}
		if _, data, err := conns[i].Read(ctx); err != nil || string(data) != fmt.Sprint(i) {
			return fmt.Errorf("%q came back: %w", data, err)
		}
		return nil
	}
	each(t, len(conns), func(i int) (err error) {
		conns[i], _, err = websocket.Dial(t.Context(), strings.Replace(g.url, "http", "ws", 1)+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {g.cookie}}})
		if err != nil {
			return err
		}
		return echo(i)
	})
	with := g.holding(t)
	report(t, "WebSockets", len(conns), before, with, quiet, g.latency(t))
	each(t, len(conns), echo)
	for _, c := range conns {
		_ = c.CloseNow()
	}
}

// each does something n times, several at once, and ends the test at an error.
func each(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	const together = 8
	errs := make([]error, together)
	var all sync.WaitGroup
	for w := range together {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += together {
				if err := do(i); err != nil {
					errs[w] = fmt.Errorf("number %d: %w", i, err)
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
