package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse/sample"
)

// streamsEnd (X04).
func streamsEnd(t *testing.T, s *setup) {
	upstream := startHTTPApp(t, sample.New(sample.Options{TrustHeaders: true, EventInterval: 50 * time.Millisecond}))
	redis := s.section()
	cfg := strings.Replace(baseConfig(upstream, redis), "rules:\n", "rules:\n  - path: /events\n  - path: /ws\n  - path: /download\n", 1)
	here, there := s.start(t, cfg, withUsers()), s.start(t, cfg, withUsers())
	for _, logoutAt := range []*gateway{here, there} {
		b := s.browser(t, here)
		b.login(userEmail, userPassword)
		header := http.Header{"Cookie": {"gatehouse=" + b.token()}}
		conn := s.websocket(t, here, header)
		events, download := s.openStream(t, here, "/events", header), s.openStream(t, here, "/download?bytes=1000000000", header)
		if got := here.metric(t, `gatehouse_open_streams{kind="websocket"}`); got != "1" {
			t.Errorf("open WebSockets in the metric: %s", got)
		}
		other := s.browser(t, logoutAt)
		other.headers.Set("Cookie", "gatehouse="+b.token())
		began := time.Now()
		if got := other.post("/logout", nil); got.StatusCode != http.StatusSeeOther {
			t.Fatalf("logout: %s", got.Status)
		}
		ended := make(chan string, 3)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, _, err := conn.Read(ctx)
			ended <- fmt.Sprint("websocket ", err)
		}()
		for name, body := range map[string]io.Reader{"events": events, "download": download} {
			go func() {
				_, err := io.Copy(io.Discard, body)
				ended <- fmt.Sprint(name, " ", err)
			}()
		}
		for range 3 {
			what := <-ended
			if strings.HasSuffix(what, "<nil>") || strings.Contains(what, "deadline") {
				t.Errorf("ended as if complete, or not at all: %s", what)
			}
		}
		t.Logf("streams ended %v after the logout (on this replica: %v)", time.Since(began).Round(time.Millisecond), logoutAt == here)
		_ = conn.CloseNow()
		eventually(t, "the metric to say that no stream is open", func() bool {
			return here.metric(t, `gatehouse_open_streams{kind="websocket"}`) == "0" && here.metric(t, `gatehouse_open_streams{kind="sse"}`) == "0" &&
				here.metric(t, `gatehouse_open_streams{kind="download"}`) == "0"
		})
	}
	// Expiry ends streams as well. That each kind of end reaches each kind of stream on each replica in time is
	// TestStreamsEndEverywhere and TestStreamsAndTime.
	short := strings.Replace(cfg, "session:\n", "session:\n  idle: 2s\n  absolute: 2s\n", 1)
	g := s.start(t, short, withUsers())
	b := s.browser(t, g)
	b.login(userEmail, userPassword)
	header := http.Header{"Cookie": {"gatehouse=" + b.token()}}
	conn, events, download := s.websocket(t, g, header), s.openStream(t, g, "/events", header), sip{s.openStream(t, g, "/download?bytes=1000000000", header)}
	for name, body := range map[string]io.Reader{"event stream": events, "download": download} {
		if _, err := io.Copy(io.Discard, body); err == nil {
			t.Errorf("the %s of an expired session ended as if complete", name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for err := error(nil); err == nil; {
		if _, _, err = conn.Read(ctx); ctx.Err() != nil {
			t.Error("the WebSocket of an expired session goes on")
		}
	}
}

// websocket opens a WebSocket. They are HTTP/1.1, whatever else the case speaks.
func (s *setup) websocket(t *testing.T, g *gateway, header http.Header) *websocket.Conn {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	conn, _, err := websocket.Dial(t.Context(), strings.Replace(g.url, "http", "ws", 1)+"/ws", &websocket.DialOptions{HTTPHeader: header, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// sip reads slowly: a few MB per second at most.
type sip struct{ io.Reader }

func (s sip) Read(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return s.Reader.Read(p[:min(len(p), 8<<10)])
}

// openStream opens a streaming answer over HTTP/1.1 and gives its body.
func openStream(t *testing.T, g *gateway, path string, header http.Header) io.Reader {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return streamOver(t, transport, g, path, header)
}

// openStream is the same in the case's version.
func (s *setup) openStream(t *testing.T, g *gateway, path string, header http.Header) io.Reader {
	t.Helper()
	return streamOver(t, s.transport, g, path, header)
}

func streamOver(t *testing.T, transport *http.Transport, g *gateway, path string, header http.Header) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, resp.Status)
	}
	return resp.Body
}

// countingServer is an application that notes each connection it accepts.
func countingServer(t *testing.T, conns chan<- struct{}) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns <- struct{}{}
			}
		},
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "http://" + l.Addr().String()
}

// form makes a form out of pairs.
func form(pairs ...string) url.Values {
	v := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}
