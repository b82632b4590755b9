package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/session"
)

// streamer is an application of streams: /admin/sse, /admin/download and /admin/ws, each busy or, with
// ?idle, silent after its beginning. It counts what it has written.
type streamer struct{ written atomic.Int64 }

func (s *streamer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	out, flush, ended := io.Writer(w), rc.Flush, r.Context().Done()
	switch r.URL.Path {
	case "/admin/ws":
		conn, buffered, err := rc.Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = buffered.Flush()
		closed := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, conn) // both directions are open
			close(closed)
		}()
		out, flush, ended = conn, func() error { return nil }, closed
	case "/admin/sse":
		w.Header().Set("Content-Type", "text/event-stream")
	}
	if _, err := io.WriteString(out, "data: first\n\n"); err != nil {
		return
	}
	_ = flush()
	if r.URL.RawQuery == "idle" {
		<-ended
		return
	}
	for chunk := make([]byte, 1<<16); ; {
		n, err := out.Write(chunk)
		s.written.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// fills waits until clients that do not read have brought the application to a stop.
func (s *streamer) fills(t *testing.T) {
	t.Helper()
	last, still := int64(0), 0
	eventually(t, "the buffers to be full", func() bool {
		now := s.written.Load()
		if still++; now != last || now == 0 {
			last, still = now, 0
		}
		return still == 20
	})
}

// client is one open stream as its client has it.
type client struct {
	body  io.Reader
	close func()
}

// open asks for a stream and reads its first bytes.
func (l *lab) open(t *testing.T, http2 bool, path, token string) *client {
	t.Helper()
	var c *client
	if strings.HasPrefix(path, "/admin/ws") {
		c = l.openWebSocket(t, path, token)
	} else {
		c = l.openAnswer(t, http2, path, token)
	}
	t.Cleanup(c.close)
	if _, err := io.ReadFull(c.body, make([]byte, len("data: first\n\n"))); err != nil {
		t.Fatalf("%s: the first bytes: %v", path, err)
	}
	return c
}

func (l *lab) openWebSocket(t *testing.T, path, token string) *client {
	t.Helper()
	conn := dial(t, l)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: gatehouse=%s\r\n\r\n", path, token)
	src := bufio.NewReader(conn)
	resp, err := http.ReadResponse(src, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %v, %v", path, resp, err)
	}
	if !strings.HasSuffix(path, "?idle") {
		go func() { // the client is busy as well
			for chunk := make([]byte, 1<<10); ; time.Sleep(time.Millisecond) {
				if _, err := conn.Write(chunk); err != nil {
					return
				}
			}
		}()
	}
	return &client{src, func() { _ = conn.Close() }}
}

func (l *lab) openAnswer(t *testing.T, http2 bool, path, token string) *client {
	t.Helper()
	server, want := l.server, "HTTP/1.1"
	if http2 {
		server, want = httptest.NewUnstartedServer(l.gateway), "HTTP/2.0"
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	}
	// A connection of its own, so that a client that does not read is in nobody's way.
	transport := &http.Transport{ForceAttemptHTTP2: http2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "gatehouse="+token)
	resp, err := transport.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Proto != want {
		t.Fatalf("%s: %v, %v, want 200 by %s", path, resp, err, want)
	}
	return &client{resp.Body, func() { _ = resp.Body.Close(); transport.CloseIdleConnections() }}
}

// runStreams is Run until the test is over.
func runStreams(t *testing.T, l *lab) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { l.streams.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
}

// endings are the ways a stream's session gives it up, and what the access line says of it.
var endings = map[string]struct {
	end func(l *lab, token string, id session.ID)
	why string
}{
	"ended here": {func(l *lab, _ string, id session.ID) { l.streams.End([]session.ID{id}) }, "session ended"},
	"ended elsewhere": {func(l *lab, token string, id session.ID) {
		l.sessions.forget(token)
		l.streams.Changed(id)
	}, "session ended"},
	"role changed": {func(l *lab, token string, id session.ID) {
		l.sessions.setRole(token, "user")
		l.streams.Changed(id)
	}, "role has changed"},
	// Redis told nothing: the round finds it.
	"untold": {func(l *lab, token string, _ session.ID) { l.sessions.forget(token) }, "session ended"},
}

func (f *fakeSessions) setRole(token, role string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := f.known[token].Clone()
	rec.Role = role
	f.known[token] = rec
}

// TestStreamsEndWithTheirSession (X04): every kind of stream, over both protocols, whatever its two ends do.
func TestStreamsEndWithTheirSession(t *testing.T) {
	t.Parallel()
	for name, way := range endings {
		for _, c := range []struct {
			path    string
			http2   bool
			reading bool
		}{
			{"/admin/ws", false, true}, {"/admin/ws", false, false}, {"/admin/ws?idle", false, true},
			{"/admin/sse", false, true}, {"/admin/sse", false, false}, {"/admin/sse?idle", false, true},
			{"/admin/sse", true, true}, {"/admin/sse", true, false}, {"/admin/sse?idle", true, true},
			{"/admin/download", false, true}, {"/admin/download", false, false}, {"/admin/download?idle", false, true},
			{"/admin/download", true, true}, {"/admin/download", true, false}, {"/admin/download?idle", true, true},
		} {
			t.Run(fmt.Sprintf("%s/%s http2=%v reading=%v", name, c.path, c.http2, c.reading), func(t *testing.T) {
				t.Parallel()
				app := &streamer{}
				l := newLab(t, app, nil)
				runStreams(t, l)
				admin := session.User{ID: "1", Role: "admin"}
				token, sibling, stranger := l.sessions.add(admin), l.sessions.add(admin), l.sessions.add(session.User{ID: "2", Role: "admin"})
				l.open(t, false, "/admin/sse?idle", sibling)
				l.open(t, false, "/admin/ws?idle", stranger)
				mine := l.open(t, c.http2, c.path, token)
				ended := make(chan error, 1)
				if c.reading {
					go func() { _, err := io.Copy(io.Discard, mine.body); ended <- err }()
				} else {
					app.fills(t)
				}
				key, _ := session.ParseToken(token)
				way.end(l, token, key.ID)
				if c.reading {
					if err := within(t, ended); err == nil && !strings.HasPrefix(c.path, "/admin/ws") {
						t.Error("the client takes it for complete") // a WebSocket has no other end than the connection's
					}
				}
				eventually(t, "the access line", func() bool { return strings.Contains(l.log.String(), way.why) })
				if n := l.count(); n != 2 {
					t.Errorf("%d streams are open, want those of the user's other session and of the other user", n)
				}
			})
		}
	}
}

func within(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the stream does not end")
		return nil
	}
}

// count is how many streams are open.
func (l *lab) count() int {
	return len(l.streams.list(func(session.Key, *stream) bool { return true }))
}

// TestNothingIsLeftOfEndedStreams is not parallel: goleak would take the goroutines of other tests for leaks.
func TestNothingIsLeftOfEndedStreams(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("streams", func(t *testing.T) { // whose cleanups come before the look for leaks
		app := &streamer{}
		l := newLab(t, app, nil)
		runStreams(t, l)
		token := l.sessions.add(session.User{ID: "1", Role: "admin"})
		for _, path := range []string{"/admin/ws", "/admin/ws?idle", "/admin/sse", "/admin/sse?idle", "/admin/download", "/admin/download?idle"} {
			l.open(t, false, path, token)
			l.open(t, true, path, token)
		}
		app.fills(t)
		if n := l.count(); n != 12 {
			t.Errorf("%d streams are open, want 12", n)
		}
		l.sessions.forget(token)
		key, _ := session.ParseToken(token)
		l.streams.Changed(key.ID)
		eventually(t, "twelve access lines", func() bool { return strings.Count(l.log.String(), "session ended") == 12 })
		l.streams.mu.Lock()
		defer l.streams.mu.Unlock()
		if len(l.streams.open)+len(l.streams.due)+len(l.streams.waits) != 0 {
			t.Errorf("left behind: %d sessions with streams, %d due, %d waiting", len(l.streams.open), len(l.streams.due), len(l.streams.waits))
		}
	})
}
