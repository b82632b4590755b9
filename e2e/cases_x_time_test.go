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
