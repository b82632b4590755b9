package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testcert"
)

// The tests of this file hold each timeout from both sides: what is within it passes, what is beyond it ends. Each waits for
// the end as long as it takes, so a busy machine makes them slow and not wrong.

// within is the timeout under test where something must happen within it, and soon where only its end is waited for.
const (
	ample = 2 * time.Second
	soon  = 200 * time.Millisecond
)

// ended waits for the gateway to close a connection, and gives what came before.
func ended(t *testing.T, conn net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(conn)
	if isTimeout(err) {
		t.Error("the connection is still open")
	}
	return string(text)
}

// TestX06_ReadHeader: a header that comes in pieces passes; one that never ends is cut off, though some of it keeps coming (slowloris).
func TestX06_ReadHeader(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	patient, _ := served(t, l, func(c *config.Config) { c.Timeouts.ReadHeader = 20 * time.Second })
	conn := dialFrom(t, patient, "127.0.0.1")
	for piece := range strings.SplitSeq("GET / HT|TP/1.1\r\nHo|st: x\r\nX-A: |b\r\n", "|") {
		_, _ = io.WriteString(conn, piece)
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := io.WriteString(conn, "Connection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text := ended(t, conn); !strings.HasPrefix(text, "HTTP/1.1 200") {
		t.Errorf("a header in pieces: %.200q", text)
	}
	cert, key := testcert.Write(t, t.TempDir())
	for _, section := range []config.TLS{{}, {CertFile: cert, KeyFile: key}} {
		hasty, _ := served(t, l, func(c *config.Config) { c.Timeouts.ReadHeader, c.TLS = soon, section })
		conn := dialFrom(t, hasty, "127.0.0.1")
		go func() {
			if section.Enabled() {
				return // not even a handshake
			}
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
			for i := 0; err == nil; i++ {
				_, err = fmt.Fprintf(conn, "X-%d: b\r\n", i)
				time.Sleep(20 * time.Millisecond)
			}
		}()
		if text := ended(t, conn); strings.HasPrefix(text, "HTTP/1.1 200") {
			t.Errorf("a header that never ends, TLS %v: %q", section.Enabled(), text)
		}
	}
}

// TestX06_Idle: a connection may wait that long for its next request.
func TestX06_Idle(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	patient, _ := served(t, l, func(c *config.Config) { c.Timeouts.Idle = 20 * time.Second })
	conn := dialFrom(t, patient, "127.0.0.1")
	for range 3 {
		if !answers(conn, "/") {
			t.Fatal("a connection that waited less than the timeout was closed")
		}
		time.Sleep(50 * time.Millisecond)
	}
	hasty, _ := served(t, l, func(c *config.Config) { c.Timeouts.Idle = soon })
	conn = dialFrom(t, hasty, "127.0.0.1")
	if !answers(conn, "/") {
		t.Fatal("no answer")
	}
	if text := ended(t, conn); text != "" {
		t.Errorf("an idle connection was sent %q", text)
	}
}

// TestX06_BodyOfTheAnswer is TestSlowBodyIsGivenUp for the other direction: a client that takes its time but reads gets everything.
func TestX06_BodyOfTheAnswer(t *testing.T) {
	t.Parallel()
	const size = 32 << 20 // more than all buffers on the way
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, size))
	}), func(c *config.Config) { c.Timeouts.Body = ample })
	conn := dial(t, l)
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	began, n := time.Now(), int64(0)
	for time.Since(began) < ample+ample/2 { // longer than the timeout in all
		m, err := io.CopyN(io.Discard, resp.Body, 32<<10)
		if n += m; err != nil {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if m, err := io.Copy(io.Discard, resp.Body); n+m != size || err != nil {
		t.Errorf("%d bytes, %v", n+m, err)
	}
}

// TestX09_ResponseHeader: an application that answers in time is waited for, one that hangs is 504.
func TestX09_ResponseHeader(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
			return
		}
		time.Sleep(soon / 2)
		w.(http.Flusher).Flush()
		time.Sleep(2 * soon) // a body may take longer than the header
		_, _ = io.WriteString(w, "done")
	})
	patient := newLab(t, app, func(c *config.Config) { c.Timeouts.ResponseHeader = 20 * time.Second })
	if resp, body := patient.get(t, "/", ""); resp.StatusCode != 200 || body != "done" {
		t.Errorf("in time: %s %q", resp.Status, body)
	}
	hasty := newLab(t, app, func(c *config.Config) { c.Timeouts.ResponseHeader = soon })
	if resp, _ := hasty.get(t, "/hang", ""); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("too late: %s, want 504", resp.Status)
	}
}

// full is an address where connections are taken by nobody: the queue of its listener is full, so dialling hangs.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, soon)
		if isTimeout(err) {
			return address
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}

// TestX09_Connect: an application that takes no connections, or no handshake, is 504 after the timeout; one that does is reached.
func TestX09_Connect(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	to := func(address string) *config.Upstream {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return &config.Upstream{URL: u}
	}
	l := newLab(t, echo, func(c *config.Config) {
		c.Timeouts.Connect = 2 * soon
		c.Rules = append(c.Rules,
			config.Rule{Path: "/full", Access: config.Public, Upstream: to("http://" + full(t))},
			config.Rule{Path: "/silent", Access: config.Public, Upstream: to("https://" + silent.Addr().String())})
	})
	for _, path := range []string{"/full", "/silent"} {
		// The kernel gives up by itself after two minutes: dial, whose connections end long before.
		if got := sent(t, l, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); got != http.StatusGatewayTimeout {
			t.Errorf("%s: %d, want 504", path, got)
		}
	}
	patient := newLab(t, echo, func(c *config.Config) { c.Timeouts.Connect = 20 * time.Second })
	if resp, _ := patient.get(t, "/", ""); resp.StatusCode != 200 {
		t.Errorf("in time: %s", resp.Status)
	}
}

// TestX14_UpstreamIdle: an unused connection to the application is used again within the timeout, and closed by the gateway after it.
func TestX14_UpstreamIdle(t *testing.T) {
	t.Parallel()
	var opened, closed atomic.Int64
	app := httptest.NewUnstartedServer(echo)
	app.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	app.Start()
	t.Cleanup(app.Close)
	u, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	through := func(idle time.Duration) *lab {
		return newLab(t, echo, func(c *config.Config) {
			c.Upstream, c.Timeouts.UpstreamIdle = &config.Upstream{URL: u}, idle
		})
	}
	patient := through(20 * time.Second)
	for range 5 {
		patient.get(t, "/", "")
		time.Sleep(20 * time.Millisecond)
	}
	if n, gone := opened.Load(), closed.Load(); n != 1 || gone != 0 {
		t.Errorf("5 requests within the timeout: %d connections, %d closed; want one that stays", n, gone)
	}
	through(soon).get(t, "/", "")
	eventually(t, "the unused connection to be closed", func() bool { return closed.Load() == 1 })
}

// TestX06_TLSHandshake: what read_header allows a handshake is enough for one in pieces.
func TestX06_TLSHandshake(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	cert, key := testcert.Write(t, t.TempDir())
	s, _ := served(t, l, func(c *config.Config) {
		c.Timeouts.ReadHeader, c.TLS = 20*time.Second, config.TLS{CertFile: cert, KeyFile: key}
	})
	conn := tls.Client(&dripping{Conn: dialFrom(t, s, "127.0.0.1")}, &tls.Config{InsecureSkipVerify: true})
	if !answers(conn, "/") {
		t.Error("a slow handshake within the timeout is cut off")
	}
}

// dripping sends what it is given in pieces.
type dripping struct{ net.Conn }

func (d *dripping) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = d.Conn.Write(p[n:min(n+200, len(p))])
		n += m
		time.Sleep(10 * time.Millisecond)
	}
	return n, err
}
