package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"gatehouse/config"
)

// timeCases: clients that take their time, and clients that take back what they ask for (security case group X).
var timeCases = []securityCase{
	{"X06_slow_clients", both, slowClients},
	{"X12_rapid_reset", onlyH2, rapidReset},
}

// The bounds of this case, far below the default, and how far apart the pieces of a stream are that makes progress.
const (
	slowTimeouts = "timeouts: {read_header: 600ms, body: 2s, idle: 600ms}\n"
	apart        = 250 * time.Millisecond
	pieces       = 12 // longer together than any of the bounds
)

// slowClients (X06).
func slowClients(t *testing.T, s *setup) {
	if d := config.Default().Timeouts; d.ReadHeader <= 0 || d.ReadHeader > 30*time.Second || d.Body <= 0 || d.Body > 2*time.Minute || d.Idle <= 0 || d.Idle > 5*time.Minute || d.ResponseHeader <= 0 || d.Connect <= 0 {
		t.Errorf("the defaults are not safe: %+v", d)
	}
	var running, left atomic.Int64
	app := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		rc := http.NewResponseController(w)
		switch r.URL.Path {
		case "/public/endless":
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
					break
				}
			}
			left.Add(1)
		case "/public/quiet": // an answer that goes on, with pauses longer than any bound
			for range 2 {
				_, _ = io.WriteString(w, "piece;")
				_ = rc.Flush()
				time.Sleep(2500 * time.Millisecond)
			}
		case "/public/big":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 24<<20))
		default:
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
			if err != nil {
				left.Add(1)
			}
		}
	}))
	g := s.start(t, baseConfig(app, s.section())+slowTimeouts, withUsers())
	cases := slowH1
	if s.h2() {
		cases = slowH2
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, g)
		})
	}
	t.Cleanup(func() {
		eventually(t, "the app's requests of clients that were given up to end", func() bool { return running.Load() == 0 && left.Load() >= 2 })
	})
}

// closes waits for the gateway to close the connection, and gives what came before.
func closes(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	text, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
	return string(text)
}

// slowH1 are the cases over HTTP/1.1.
var slowH1 = map[string]func(t *testing.T, g *gateway){
	"nothing": func(t *testing.T, g *gateway) { closes(t, dial(t, g)) },
	"header that stops": func(t *testing.T, g *gateway) {
		conn := dial(t, g)
		_, _ = io.WriteString(conn, "GET /public/ HTTP/1.1\r\nHost: x\r\nX-A:")
		if text := closes(t, conn); strings.Contains(text, " 200 ") {
			t.Errorf("answer %q", text)
		}
	},
	"header in drops": func(t *testing.T, g *gateway) { // Slowloris: there is always a little progress
		conn := dial(t, g)
		_, _ = io.WriteString(conn, "GET /public/ HTTP/1.1\r\nHost: x\r\n")
		go func() {
			for i := range 200 {
				if _, err := fmt.Fprintf(conn, "X-%d: y\r\n", i); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			_, _ = io.WriteString(conn, "\r\n")
		}()
		if text := closes(t, conn); strings.Contains(text, " 200 ") {
			t.Errorf("answer %q", text)
		}
	},
	"body that stops": func(t *testing.T, g *gateway) {
		conn := dial(t, g)
		_, _ = io.WriteString(conn, "POST /public/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhel")
		if text := closes(t, conn); !strings.HasPrefix(text, "HTTP/1.1 408 ") {
			t.Errorf("answer %q", text)
		}
	},
	"body that goes on": func(t *testing.T, g *gateway) {
		conn := dial(t, g)
		_, _ = fmt.Fprintf(conn, "POST /public/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", pieces*5)
		for range pieces {
			time.Sleep(apart)
			_, _ = io.WriteString(conn, "hello")
		}
		if text := closes(t, conn); !strings.HasPrefix(text, "HTTP/1.1 200 ") || !strings.HasSuffix(text, "60 <nil>") {
			t.Errorf("answer %q", text)
		}
	},
	"idle": func(t *testing.T, g *gateway) {
		conn := dial(t, g)
		_, _ = io.WriteString(conn, "GET /public/ HTTP/1.1\r\nHost: x\r\n\r\n")
		if text := closes(t, conn); !strings.HasPrefix(text, "HTTP/1.1 200 ") {
			t.Errorf("answer %q", text)
		}
	},
	"reader that stops": func(t *testing.T, g *gateway) {
		conn := dial(t, g)
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_, _ = io.WriteString(conn, "GET /public/endless HTTP/1.1\r\nHost: x\r\n\r\n")
		g.logged(t, map[string]any{"type": "access", "path": "/public/endless"})
	},
	"reader that goes on": func(t *testing.T, g *gateway) {
		conn := dial(t, g)
		_, _ = io.WriteString(conn, "GET /public/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for err == nil {
			var got int64
			got, err = io.CopyN(io.Discard, resp.Body, 24<<20/pieces)
			n += got
			time.Sleep(apart)
		}
		if n != 24<<20 || err != io.EOF {
			t.Errorf("%d bytes of 24 MiB, %v", n, err)
		}
	},
	"answer with pauses": func(t *testing.T, g *gateway) {
		conn := dial(t, g)
		_, _ = io.WriteString(conn, "GET /public/quiet HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if text := closes(t, conn); strings.Count(text, "piece;") != 2 || !strings.HasSuffix(text, "0\r\n\r\n") {
			t.Errorf("answer %q", text)
		}
	},
}

// ends waits for the gateway to end the connection.
func ends(t *testing.T, c *h2conn) {
	t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(15 * time.Second))
	for c.over == nil {
		c.pump()
	}
	if errors.Is(c.over, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
}

// slowH2 are the same over HTTP/2.
var slowH2 = map[string]func(t *testing.T, g *gateway){
	"no handshake":        func(t *testing.T, g *gateway) { closes(t, dial(t, g)) },
	"idle from the start": func(t *testing.T, g *gateway) { ends(t, dialH2(t, g)) },
	"header that stops": func(t *testing.T, g *gateway) {
		c := dialH2(t, g)
		c.try(func() error {
			return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndStream: true})
		})
		ends(t, c)
	},
	"body that stops": func(t *testing.T, g *gateway) {
		c := dialH2(t, g)
		stream := c.open(false, h2Header("POST", "/public/", g.addr, []string{"Content-Length: 10"})...)
		stream.data(false, "hel")
		if got := stream.answer(); got.StatusCode != 408 {
			t.Errorf("answer %s", got.Status)
		}
	},
	"body that goes on": func(t *testing.T, g *gateway) {
		c := dialH2(t, g)
		stream := c.open(false, h2Header("POST", "/public/", g.addr, nil)...)
		for i := range pieces {
			time.Sleep(apart)
			stream.data(i == pieces-1, "hello")
		}
		if got := stream.answer(); got.StatusCode != 200 || bodyOf(t, got) != "60 <nil>" {
			t.Errorf("answer %s", got.Status)
		}
	},
	"idle": func(t *testing.T, g *gateway) {
		c := dialH2(t, g)
		if got := c.open(true, h2Header("GET", "/public/", g.addr, nil)...).answer(); got.StatusCode != 200 {
			t.Errorf("answer %s", got.Status)
		}
		ends(t, c)
	},
	"reader that stops": func(t *testing.T, g *gateway) {
		c := dialH2(t, g)
		c.try(func() error {
			return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		})
		stream := c.open(true, h2Header("GET", "/public/endless", g.addr, nil)...)
		if _, err := io.ReadAll(stream.answer().Body); err == nil || !strings.Contains(err.Error(), "RST_STREAM") {
			t.Errorf("the stream ended with %v", err)
		}
		g.logged(t, map[string]any{"type": "access", "path": "/public/endless"})
	},
	"reader that goes on": func(t *testing.T, g *gateway) {
		c := dialH2(t, g)
		const window = 24 << 20 / pieces
		c.try(func() error {
			return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		})
		stream := c.open(true, h2Header("GET", "/public/big", g.addr, nil)...)
		for given := window; stream.over == nil; c.pump() {
			if stream.body.Len() == given {
				time.Sleep(apart)
				given += window
				c.try(func() error { return c.framer.WriteWindowUpdate(stream.id, window) })
			}
		}
		if n := stream.body.Len(); n != 24<<20 || stream.over != io.EOF {
			t.Errorf("%d bytes of 24 MiB, %v", n, stream.over)
		}
	},
	"answer with pauses": func(t *testing.T, g *gateway) {
		if got := dialH2(t, g).open(true, h2Header("GET", "/public/quiet", g.addr, nil)...).answer(); bodyOf(t, got) != "piece;piece;" {
			t.Errorf("answer %s", got.Status)
		}
	},
}

// rapidReset (X12, CVE-2023-44487): requests that are taken back at once cost the client nothing.
func rapidReset(t *testing.T, s *setup) {
	const resets = 20_000
	var running, most, all atomic.Int64
	app := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		for n, old := running.Add(1), most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		defer running.Add(-1)
		if r.URL.Path != "/public/quick" {
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Second):
			}
		}
	}))
	sp := ownSpace(t)
	g := s.start(t, baseConfig(app, sp.section()), withUsers())
	heap := func() int { return metricSum(t, "go_memstats_heap_inuse_bytes", g) }
	goroutines := func() int { return metricSum(t, "go_goroutines", g) }
	heapBefore, goroutinesBefore, asked := heap(), goroutines(), sp.commands(t)
	began, connections, heapMost := time.Now(), 0, 0
	for sent := 0; sent < resets; connections++ {
		if connections > 500 {
			t.Fatalf("%d resets took more than 500 connections", sent)
		}
		c := dialH2(t, g)
		out := bufio.NewWriterSize(c.conn, 64<<10) // as fast as an attacker would
		write := http2.NewFramer(out, nil)
		ended := make(chan struct{})
		go func() { // GOAWAY comes in the middle
			defer close(ended)
			for c.over == nil {
				c.pump()
			}
		}()
		header := h2Header("GET", "/account", g.addr, []string{"Cookie: gatehouse=" + tagOf("2") + ".short"})
		public := h2Header("GET", "/public/hang", g.addr, []string{"Cookie: gatehouse=" + tagOf("2") + ".short"})
		for id, err := uint32(1), error(nil); err == nil && sent < resets; id, sent = id+2, sent+1 {
			c.block.Reset()
			for _, f := range [][]field{header, public}[sent%2] {
				_ = c.encoder.WriteField(f)
			}
			err = write.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true})
			if err == nil {
				err = write.WriteRSTStream(id, http2.ErrCodeCancel)
			}
		}
		_ = out.Flush()
		if connections%10 == 0 {
			heapMost = max(heapMost, heap())
		}
		_ = c.conn.Close()
		<-ended
	}
	heapMost = max(heapMost, heap())
	t.Logf("%d resets over %d connections in %v: the heap in use grew by %d KiB at most; of %d requests that reached the app %d ran at once",
		resets, connections, time.Since(began).Round(time.Millisecond), (heapMost-heapBefore)>>10, all.Load(), most.Load())
	if heapMost-heapBefore > 64<<20 {
		t.Errorf("the heap in use grew by %d MiB", (heapMost-heapBefore)>>20)
	}
	// What a connection may have open at once, and as much of the one before it that is just being ended.
	if n := most.Load(); n > 200 || all.Load() > resets/2 {
		t.Errorf("%d requests at once reached the app, %d in all", n, all.Load())
	}
	if got := sp.since(t, asked); len(got) != 0 {
		t.Errorf("tokens of the wrong form made the gateway ask Redis: %v", got)
	}
	eventually(t, "nothing to be left", func() bool { return running.Load() == 0 && goroutines() < goroutinesBefore+50 })
	if got := s.one(t, g, "GET /public/quick"); got.StatusCode != 200 {
		t.Errorf("afterwards: %s", got.Status)
	}
}
