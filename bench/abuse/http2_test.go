package abuse

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"gatehouse/internal/testredis"
)

// h2 is a client that writes frames as it likes.
type h2 struct {
	conn   *tls.Conn
	framer *http2.Framer
	gone   chan struct{} // closed when the gateway has ended the connection
	stream uint32
	host   string
	resets int
}

func dialH2(addr string, settings ...http2.Setting) (*h2, error) {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &h2{conn: conn, framer: http2.NewFramer(conn, conn), gone: make(chan struct{}), stream: 1, host: addr}
	c.framer.AllowIllegalWrites = true
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	if err := c.framer.WriteSettings(settings...); err != nil {
		return nil, err
	}
	go c.drain()
	return c, nil
}

// drain reads what comes, as an attacker does who is not stopped by its own full buffers.
func (c *h2) drain() {
	defer close(c.gone)
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		switch f.(type) {
		case *http2.RSTStreamFrame:
			c.resets++
		case *http2.GoAwayFrame:
			return
		}
	}
}

// get is a request's block of fields.
func (c *h2) get(path string, more ...string) []byte { return c.header("GET", path, more...) }

// header leaves the compressor's table as it is.
func (c *h2) header(method, path string, more ...string) []byte {
	var out bytes.Buffer
	e := hpack.NewEncoder(&out)
	fields := append([]string{":method", method, ":scheme", "https", ":authority", c.host, ":path", path}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	return out.Bytes()
}

// open opens a stream and ends its own side of it.
func (c *h2) open(block []byte) error {
	c.stream += 2
	return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: block, EndStream: true, EndHeaders: true})
}

// flood is one way to keep an HTTP/2 server busy.
type flood struct {
	name string
	// begin prepares a connection; may be nil.
	begin func(c *h2) error
	// once is one of many.
	once func(c *h2) error
	// n of them, small and at full size.
	small, full int
	// apart: it has a test of its own.
	apart bool
}

const resetPublic, resetTokens = "rapid reset, public", "rapid reset, wrong tokens"

// reset opens streams and resets them at once.
func reset(path string, more ...string) func(c *h2) error {
	return func(c *h2) error {
		if err := c.open(c.get(path, more...)); err != nil {
			return err
		}
		return c.framer.WriteRSTStream(c.stream, http2.ErrCodeCancel)
	}
}

func floodNamed(name string) (flood, bool) {
	for _, f := range floods() {
		if f.name == name {
			return f, true
		}
	}
	return flood{}, false
}

var zeroes [8]byte

func floods() []flood {
	return []flood{
		{name: resetPublic, once: reset("/page"), small: 2000, full: 200_000, apart: true},
		{name: resetTokens, once: reset("/account/page", "cookie", "gatehouse=no-token"), small: 2000, full: 200_000, apart: true},
		{name: "PING", once: func(c *h2) error { return c.framer.WritePing(false, zeroes) }, small: 5000, full: 1_000_000},
		{name: "SETTINGS", once: func(c *h2) error { return c.framer.WriteSettings() }, small: 5000, full: 1_000_000},
		{name: "empty DATA", begin: func(c *h2) error {
			c.stream += 2
			return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.header("POST", "/page"), EndHeaders: true})
		}, once: func(c *h2) error { return c.framer.WriteData(c.stream, false, nil) }, small: 5000, full: 1_000_000},
		// CVE-2023-45288: fields beyond the limit were decoded without end.
		{name: "CONTINUATION", begin: func(c *h2) error {
			c.stream += 2
			return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.get("/page"), EndStream: true})
		}, once: func(c *h2) error {
			return c.framer.WriteContinuation(c.stream, false, bytes.Repeat([]byte("\x00\x03x-a\x7f\x81\x01"+strings.Repeat("b", 256)), 16))
		}, small: 500, full: 100_000},
		// A field of 4,000 bytes goes into the table once, and is then named 8,000 times in a byte each: 32 MB.
		{name: "HPACK bomb", once: func(c *h2) error {
			var block bytes.Buffer
			block.Write(c.get("/page"))
			e := hpack.NewEncoder(&block)
			_ = e.WriteField(hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("b", 4000)})
			block.Write(bytes.Repeat([]byte{0x80 | 62}, 8000))
			return c.open(block.Bytes())
		}, small: 20, full: 2000},
		{name: "WINDOW_UPDATE of 0", once: func(c *h2) error { return c.framer.WriteWindowUpdate(0, 0) }, small: 200, full: 20_000},
		{name: "PRIORITY", once: func(c *h2) error {
			c.stream += 2
			return c.framer.WritePriority(c.stream, http2.PriorityParam{Weight: 1})
		}, small: 5000, full: 1_000_000},
	}
}

// run floods over as many connections as it takes, some at a time, until there were n and ordinary clients had their turn.
func (f flood) run(addr string, n, connections int) outcome {
	var sent, opened atomic.Int64
	var all sync.WaitGroup
	long := time.Now().Add(3 * askedEvery)
	for range connections {
		all.Go(func() {
			defer func() { time.Sleep(time.Until(long)) }()
			for sent.Load() < int64(n) {
				sent.Add(int64(f.over(addr, max(n/connections, 1))))
				if opened.Add(1) > 100 && sent.Load() < opened.Load() {
					return // nothing gets through
				}
			}
		})
	}
	all.Wait()
	return outcome{"sent": int(sent.Load()), "connections": int(opened.Load())}
}

// over floods over one connection until the gateway ends it.
func (f flood) over(addr string, most int) (sent int) {
	c, err := dialH2(addr)
	if err != nil {
		return 0
	}
	defer c.conn.Close()
	if f.begin != nil && f.begin(c) != nil {
		return 0
	}
	for ; sent < most; sent++ {
		select {
		case <-c.gone:
			return sent
		default:
		}
		if f.once(c) != nil {
			return sent
		}
	}
	return sent
}

// floodConnections are those at a time.
const floodConnections = 4

func endureFlood(t *testing.T, f flood, g *gateway, w *witnesses) {
	t.Helper()
	n, answers := size(f.small, f.full), outcome{}
	endure(t, f.name, g, w, bounds{memory: 150, after: 20 * time.Second}, func() {
		answers = attack{Kind: f.name, Addr: g.addr, Count: n, Parallel: floodConnections}.start(t)()
	})
	if answers["sent"] < n {
		t.Errorf("%s: %v, want %d: nothing gets through", f.name, answers, n)
	}
	t.Logf("%s: %v", f.name, answers)
}

func TestHTTP2Floods(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	g := setup{app: app.url, tls: true}.start(t)
	w := watch(t, g, visitors(g, size(10, 100)))
	for _, f := range floods() {
		if f.apart {
			continue
		}
		endureFlood(t, f, g, w)
	}
}

// TestRapidReset: streams that are opened and reset at once (CVE-2023-44487, X12). Requests to the application stay
// bounded by the streams of a connection, and tokens of the wrong form cost Redis nothing.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	const perConnection = 100 // streams
	redis := testredis.Start(t)
	app := startApp(t)
	g := setup{app: app.url, redis: redis.Addr, tls: true}.start(t)
	people := size(10, 100)
	w := watch(t, g, visitors(g, people))
	public, _ := floodNamed(resetPublic)
	tokens, _ := floodNamed(resetTokens)
	app.most.Store(0)
	endureFlood(t, public, g, w)
	// A connection that has ended may have requests on their way while the next begins.
	if most := app.most.Load(); most > int64(2*floodConnections*perConnection+people) {
		t.Errorf("%d requests at once have reached the application", most)
	} else {
		t.Logf("%d requests at once have reached the application", most)
	}
	asked, served := lookups(t, redis), app.served.Load()
	endureFlood(t, tokens, g, w)
	if now := lookups(t, redis); now != asked {
		t.Errorf("tokens of the wrong form were looked up: %s, before %s", now, asked)
	}
	if app.served.Load() == served {
		t.Error("ordinary clients were not served: this shows nothing")
	}
}

// lookups is what Redis says of its GETs.
func lookups(t *testing.T, redis *testredis.Server) string {
	t.Helper()
	c := redis.Client(t)
	info, err := c.Do(t.Context(), c.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if calls, ok := strings.CutPrefix(line, "cmdstat_get:"); ok {
			calls, _, _ = strings.Cut(calls, ",")
			return calls
		}
	}
	return "none"
}

// TestZeroWindow: a client that never opens its window holds neither the answer nor the application for longer than
// timeouts.body (X06).
func TestZeroWindow(t *testing.T) {
	t.Parallel()
	const streams = 50
	clients := size(2, 20)
	app := startApp(t)
	more := ""
	if !*full {
		more = "timeouts: {body: 2s, idle: 4s}\n"
	}
	g := setup{app: app.url, tls: true, more: more}.start(t)
	w := watch(t, g, visitors(g, size(10, 100)))
	endure(t, fmt.Sprintf("window of 0: %d answers of 8 MiB", clients*streams), g, w, bounds{memory: size(100.0, 300.0), after: 3 * time.Minute}, func() {
		for range clients {
			c, err := dialH2(g.addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			for range streams {
				if err := c.open(c.get("/big")); err != nil {
					t.Fatal(err)
				}
			}
		}
		within(t, 20*time.Second, "the application to be asked", func() bool { return app.inFlight.Load() >= int64(clients*streams) })
		within(t, size(20*time.Second, 150*time.Second), "the application to be let go", func() bool { return app.inFlight.Load() < 10 })
	})
}
