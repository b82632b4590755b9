package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/internal/testcert"
	"gatehouse/session"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func dial(t *testing.T, l *lab) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// listen starts a Server of the lab's gateway.
func listen(t *testing.T, l *lab, change func(*config.Config)) *Server {
	t.Helper()
	cfg := config.Default()
	cfg.Listen = "127.0.0.1:0"
	if change != nil {
		change(cfg)
	}
	s, err := Listen(cfg, l.gateway, l.streams, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestShutdownFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			close(arrived)
			<-release
			_, _ = io.WriteString(w, "finished")
		case "/ws":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})
	l := newLab(t, app, nil)
	s := listen(t, l, nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()

	slow := make(chan string, 1)
	go func() {
		resp, err := http.Get(s.URL() + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		slow <- string(body)
	}()
	<-arrived
	events, err := http.Get(s.URL() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()

	ws, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_ = ws.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(ws, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if head := make([]byte, 12); true {
		if _, err := io.ReadFull(ws, head); err != nil || string(head) != "HTTP/1.1 101" {
			t.Fatalf("WebSocket: %q, %v", head, err)
		}
	}

	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	if _, err := io.Copy(io.Discard, ws); isTimeout(err) {
		t.Error("the WebSocket is still open")
	}
	if _, err := io.ReadAll(events.Body); err == nil {
		t.Error("the event stream ended as if complete")
	}
	eventually(t, "the listener to be closed", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-slow; got != "finished" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	app := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	l := newLab(t, app, nil)
	s := listen(t, l, func(c *config.Config) { c.ShutdownTimeout = 100 * time.Millisecond })
	go func() { _ = s.Serve() }()
	go func() {
		if resp, err := http.Get(s.URL() + "/"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-arrived
	if err := s.Shutdown(context.Background()); err == nil || !strings.Contains(err.Error(), "shutdown_timeout") {
		t.Errorf("cut-off requests are not told: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	first := listen(t, l, nil)
	cfg := config.Default()
	cfg.Listen = strings.TrimPrefix(first.URL(), "http://")
	if _, err := Listen(cfg, l.gateway, l.streams, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), cfg.Listen) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a taken address: %v", err)
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := testcert.Write(t, dir)
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	later := func() { mu.Lock(); defer mu.Unlock(); now = now.Add(2 * lookEvery) }
	log := &syncBuffer{}
	c, err := newCertificates(config.TLS{CertFile: cert, KeyFile: key}, clock, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	leaf := func() [32]byte {
		got, err := c.get(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(got.Certificate[0])
	}
	first := leaf()
	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	later()
	if leaf() != first {
		t.Error("a broken file took the old certificate away")
	}
	later()
	leaf()
	if n := strings.Count(log.String(), "cannot be loaded"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
	other := t.TempDir()
	testcert.Write(t, other)
	for _, name := range []string{"cert.pem", "key.pem"} {
		data, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if leaf() != first {
		t.Error("the files are looked at more often than once a second")
	}
	later()
	if leaf() == first {
		t.Error("the new certificate is not used")
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	cert, key := testcert.Write(t, t.TempDir())
	s := listen(t, l, func(c *config.Config) { c.TLS = config.TLS{CertFile: cert, KeyFile: key} })
	go func() { _ = s.Serve() }()
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	token := l.sessions.add(session.User{ID: "5", Role: "user"})
	r, err := http.NewRequest(http.MethodGet, s.URL()+"/private", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "gatehouse="+token)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.Proto != "HTTP/2.0" || !strings.Contains(string(body), "user=5") {
		t.Errorf("%s %s %q", resp.Proto, resp.Status, body)
	}
}

func TestBigBodiesBothWays(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
			return
		}
		chunk := bytes.Repeat([]byte("x"), 1<<16)
		for range size / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	l := newLab(t, app, nil)
	_, got := l.do(t, http.MethodPost, "/", "", io.LimitReader(zeros{}, size))
	if want := fmt.Sprint(int64(size), error(nil)); got != want {
		t.Errorf("up: the app read %s, want %s", got, want)
	}
	resp, err := http.Get(l.server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("down: %d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestUnixSocketUpstream(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "app.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	app := &http.Server{Handler: echo}
	go func() { _ = app.Serve(listener) }()
	t.Cleanup(func() { _ = app.Close() })
	l := newLab(t, http.NotFoundHandler(), func(c *config.Config) {
		up := *c.Upstream.URL
		up.Host = "localhost"
		c.Rules = append(c.Rules, config.Rule{Path: "/sock", Access: config.Public, Upstream: &config.Upstream{URL: &up, Socket: socket}})
	})
	if resp, body := l.get(t, "/sock", ""); resp.StatusCode != 200 || !strings.Contains(body, "user=") {
		t.Errorf("%s %q", resp.Status, body)
	}
	if resp, _ := l.get(t, "/other", ""); resp.StatusCode != 404 {
		t.Errorf("the top-level upstream: %s", resp.Status)
	}
}

func TestStreamsAreRechecked(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for name, end := range map[string]func(*lab, string){
		"gone":        func(l *lab, token string) { l.sessions.forget(token) },
		"unavailable": func(l *lab, _ string) { l.sessions.fail(session.ErrUnavailable) },
		"role lost": func(l *lab, token string) {
			l.sessions.mu.Lock()
			defer l.sessions.mu.Unlock()
			rec := *l.sessions.known[token]
			rec.Role = "user"
			l.sessions.known[token] = &rec
		},
		"ended here": func(l *lab, token string) {
			key, _ := session.ParseToken(token)
			l.streams.End([]session.ID{key.ID})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, app, nil)
			token := l.sessions.add(session.User{ID: "1", Role: "admin"})
			r, err := http.NewRequest(http.MethodGet, l.server.URL+"/admin", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Cookie", "gatehouse="+token)
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			l.streams.Recheck(t.Context())
			if n := len(l.streams.list(func(session.Key, *stream) bool { return true })); n != 1 {
				t.Fatalf("%d streams are open after a recheck of a good session, want 1", n)
			}
			end(l, token)
			if name != "ended here" {
				l.streams.Recheck(t.Context())
			}
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the stream ended as if complete")
			}
			eventually(t, "the access line", func() bool { return strings.Contains(l.log.String(), `"error":"`) })
		})
	}
}
