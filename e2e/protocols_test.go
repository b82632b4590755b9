package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"gatehouse/sample"
)

// protocolLab is a gateway with a TLS listener, in front of one application that is asked by HTTP/1.1, and, at /h2c
// and everything below, by HTTP/2.
type protocolLab struct {
	*gateway
	app *protocolApp
}

// protocolApp keeps what it answered, byte for byte.
type protocolApp struct {
	mu    sync.Mutex
	wrote bytes.Buffer
	seen  http.Header
	next  chan struct{}
}

func (a *protocolApp) take() (string, http.Header) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.wrote.Reset()
	return a.wrote.String(), a.seen
}

type countedAnswer struct {
	http.ResponseWriter
	app *protocolApp
}

func (r countedAnswer) Write(p []byte) (int, error) {
	r.app.mu.Lock()
	defer r.app.mu.Unlock()
	r.app.wrote.Write(p)
	return r.ResponseWriter.Write(p)
}

func (r countedAnswer) Unwrap() http.ResponseWriter { return r.ResponseWriter }

var content = bytes.Repeat([]byte("0123456789"), 1000)

func (a *protocolApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = r.Header.Clone()
	a.mu.Unlock()
	switch _, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/h2c"), "/"); what {
	case "file":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(countedAnswer{w, a}, r, "", time.Unix(1e9, 0), bytes.NewReader(content))
	case "nothing":
		w.WriteHeader(http.StatusNoContent)
	case "hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hinted")
	case "trailers":
		w.Header().Set("Trailer", "X-Checksum")
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Checksum", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	case "refuse":
		w.WriteHeader(http.StatusRequestEntityTooLarge) // without having asked for the body
	case "take":
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, r.Trailer)
	case "events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-a.next:
			case <-r.Context().Done():
				return
			}
		}
	default:
		http.NotFound(w, r)
	}
}

func startProtocolLab(t *testing.T, more string) *protocolLab {
	t.Helper()
	a := &protocolApp{next: make(chan struct{})}
	both := httptest.NewUnstartedServer(a)
	both.Config.Protocols = new(http.Protocols)
	both.Config.Protocols.SetHTTP1(true)
	both.Config.Protocols.SetUnencryptedHTTP2(true)
	both.Start()
	t.Cleanup(func() { both.CloseClientConnections(); both.Close() })
	rules := "rules:\n  - path: /h2c\n    upstream: h2c://" + both.Listener.Addr().String() + "\n    access: public\n"
	cfg, opts := tlsListener(t, strings.Replace(baseConfig(both.URL, embeddedRedis), "rules:\n", rules, 1)+more)
	return &protocolLab{gateway: start(t, cfg, opts), app: a}
}

// clients are one that speaks HTTP/1.1 and one that speaks HTTP/2.
func (l *protocolLab) clients(t *testing.T) map[string]*http.Client {
	t.Helper()
	all := make(map[string]*http.Client)
	for proto, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		transport := &http.Transport{TLSClientConfig: anyCertificate.Clone(), ExpectContinueTimeout: 20 * time.Second, DisableCompression: true, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!two)
		transport.Protocols.SetHTTP2(two)
		t.Cleanup(transport.CloseIdleConnections)
		all[proto] = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	}
	return all
}

func (l *protocolLab) do(t *testing.T, c *http.Client, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, l.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return l.send(t, c, r, header...)
}

func (l *protocolLab) send(t *testing.T, c *http.Client, r *http.Request, header ...string) (*http.Response, string) {
	t.Helper()
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return resp, string(text)
}

// TestProtocols: what HTTP can do passes through, whichever version either side speaks.
func TestProtocols(t *testing.T) {
	t.Parallel()
	l := startProtocolLab(t, "")
	for proto, c := range l.clients(t) {
		for upstream, under := range map[string]string{"HTTP/1.1": "", "HTTP/2.0": "/h2c"} {
			t.Run(proto+" to "+upstream, func(t *testing.T) {
				if resp, _ := l.do(t, c, "GET", under+"/file", nil); resp.Proto != proto {
					t.Fatalf("answered in %s", resp.Proto)
				}
				rangesPass(t, l, c, under)
				bodiless(t, l, c, under)
				hintsPass(t, l, c, under)
				trailersPass(t, l, c, under)
				expectPasses(t, l, c, under)
			})
		}
	}
}

// rangesPass: parts, several parts in one answer, their conditions and what cannot be satisfied.
func rangesPass(t *testing.T, l *protocolLab, c *http.Client, under string) {
	for _, s := range []struct {
		header                    []string
		status                    int
		contentRange, contentType string
	}{
		{nil, 200, "", "text/plain"},
		{[]string{"Range", "bytes=10-19"}, 206, "bytes 10-19/10000", "text/plain"},
		{[]string{"Range", "bytes=-5"}, 206, "bytes 9995-9999/10000", "text/plain"},
		{[]string{"Range", "bytes=0-0,10-19,9000-"}, 206, "", "multipart/byteranges"},
		{[]string{"Range", "bytes=20000-"}, 416, "bytes */10000", "text/plain"},
		{[]string{"Range", "bytes=10-19", "If-Range", `"one"`}, 206, "bytes 10-19/10000", "text/plain"},
		{[]string{"Range", "bytes=10-19", "If-Range", `"two"`}, 200, "", "text/plain"},
		{[]string{"If-None-Match", `"one"`}, 304, "", ""},
	} {
		l.app.take()
		resp, body := l.do(t, c, "GET", under+"/file", nil, s.header...)
		sent, _ := l.app.take()
		h := resp.Header
		if resp.StatusCode != s.status || h.Get("Content-Range") != s.contentRange || !strings.HasPrefix(h.Get("Content-Type"), s.contentType) {
			t.Errorf("%v: %s, Content-Range %q, Content-Type %q", s.header, resp.Status, h.Get("Content-Range"), h.Get("Content-Type"))
		}
		if body != sent || s.status == 200 && body != string(content) || s.status == 206 && len(body) == 0 {
			t.Errorf("%v: %d bytes arrived of %d", s.header, len(body), len(sent))
		}
		if s.status != 304 && resp.ContentLength != int64(len(sent)) {
			t.Errorf("%v: Content-Length %d of %d bytes", s.header, resp.ContentLength, len(sent))
		}
		if s.status != 416 && h.Get("Etag") != `"one"` || s.status < 300 && h.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%v: ETag %q, Accept-Ranges %q", s.header, h.Get("Etag"), h.Get("Accept-Ranges"))
		}
	}
}

// bodiless: HEAD, 204.
func bodiless(t *testing.T, l *protocolLab, c *http.Client, under string) {
	resp, body := l.do(t, c, "HEAD", under+"/file", nil)
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(content)) || body != "" {
		t.Errorf("HEAD: %s, Content-Length %d, %q", resp.Status, resp.ContentLength, body)
	}
	resp, body = l.do(t, c, "GET", under+"/nothing", nil)
	if resp.StatusCode != 204 || body != "" || resp.Header.Get("Content-Length") != "" {
		t.Errorf("204: %s, Content-Length %q, %q", resp.Status, resp.Header.Get("Content-Length"), body)
	}
}

func hintsPass(t *testing.T, l *protocolLab, c *http.Client, under string) {
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", l.url+under+"/hints", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, body := l.send(t, c, r)
	if want := "103 </style.css>; rel=preload"; len(hints) != 2 || hints[0] != want || hints[1] != want || resp.StatusCode != 200 || body != "hinted" {
		t.Errorf("hints %q, then %s %q", hints, resp.Status, body)
	}
}

// trailersPass: those of answers; those of requests do not (H07).
func trailersPass(t *testing.T, l *protocolLab, c *http.Client, under string) {
	resp, body := l.do(t, c, "GET", under+"/trailers", nil, "TE", "trailers")
	if body != "body" || resp.Trailer.Get("X-Checksum") != "1" || resp.Trailer.Get("X-Late") != "2" {
		t.Errorf("trailers %v of %q", resp.Trailer, body)
	}
	_, seen := l.app.take()
	want := map[string]string{"": "", "/h2c": "trailers"}[under]
	if got := strings.Join(seen["Te"], " "); got != want {
		t.Errorf("TE: the application got %q, want %q", got, want)
	}
	r, err := http.NewRequest("POST", l.url+under+"/take", struct{ io.Reader }{strings.NewReader("hello")})
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"X-User-Id": {"1"}, "X-Other": {"1"}}
	if _, body := l.send(t, c, r); body != "5 map[]" {
		t.Errorf("of a request with trailers the application saw %q", body)
	}
	if _, seen := l.app.take(); seen["Te"] != nil || seen["Trailer"] != nil {
		t.Errorf("TE %q and Trailer %q that nobody sent, or that announce what does not come", seen["Te"], seen["Trailer"])
	}
}

// expectPasses: the body is asked for when the application asks for it, and only then; over HTTP/2 when the request is
// passed on, for net/http keeps to itself that the client waits. A request that the gateway refuses is never asked (X13).
func expectPasses(t *testing.T, l *protocolLab, c *http.Client, under string) {
	two := c.Transport.(*http.Transport).Protocols.HTTP2()
	for path, s := range map[string]struct {
		asked  int
		status int
		body   string
	}{under + "/take": {1, 200, "5 map[]"}, under + "/refuse": {0, 413, ""}, "/account": {0, 401, ""}} {
		asked := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked++ }})
		r, err := http.NewRequestWithContext(ctx, "POST", l.url+path, strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		resp, body := l.send(t, c, r, "Expect", "100-continue", "Accept", "application/json")
		if resp.StatusCode != s.status || s.body != "" && body != s.body {
			t.Errorf("Expect at %s: %s %q", path, resp.Status, body)
		}
		if asked != s.asked && !(two && s.status == 413) {
			t.Errorf("Expect at %s: asked %d times, want %d", path, asked, s.asked)
		}
	}
}

// TestQuietStreams: an event stream in which nothing happens for longer than any timeout goes on, and so does a
// WebSocket; each event comes when it is sent.
func TestQuietStreams(t *testing.T) {
	t.Parallel()
	const bound = "200ms"
	l := startProtocolLab(t, "timeouts: {body: "+bound+", response_header: "+bound+", idle: "+bound+"}\n")
	for proto, c := range l.clients(t) {
		for _, under := range []string{"", "/h2c"} {
			t.Run(proto+under, func(t *testing.T) {
				r, err := http.NewRequest("GET", l.url+under+"/events", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				lines := bufio.NewScanner(resp.Body)
				for i := range 3 {
					if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
						t.Fatalf("event %d: %q, %v", i, lines.Text(), lines.Err())
					}
					lines.Scan()
					if i == 0 {
						time.Sleep(500 * time.Millisecond)
					}
					select {
					case l.app.next <- struct{}{}:
					case <-time.After(20 * time.Second):
						t.Fatal("the application does not go on")
					}
				}
			})
		}
	}
	t.Run("WebSocket", func(t *testing.T) {
		up := startHTTPApp(t, sample.New(sample.Options{TrustHeaders: true}))
		g := start(t, baseConfig(up, embeddedRedis)+"timeouts: {body: "+bound+", idle: "+bound+"}\n", withUsers())
		conn, _, err := websocket.Dial(t.Context(), "ws://"+g.addr+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		time.Sleep(500 * time.Millisecond)
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, data, err := conn.Read(ctx); err != nil || !strings.Contains(string(data), "still here") {
			t.Errorf("%q, %v", data, err)
		}
	})
}

// TestBodiesThatStandStill: a body that does not go on is given up, whatever the application speaks. Calls of gRPC to
// applications that are asked by HTTP/2 are exempt (TestGRPCQuietStreams), and nothing that only says that it is one.
func TestBodiesThatStandStill(t *testing.T) {
	t.Parallel()
	l := startProtocolLab(t, "timeouts: {body: 200ms}\n")
	for proto, c := range l.clients(t) {
		for _, path := range []string{"/take", "/h2c/take"} {
			for _, kind := range []string{"application/octet-stream", "application/grpc"} {
				if proto == "HTTP/2.0" && path == "/h2c/take" && kind == "application/grpc" {
					continue // this is one
				}
				body, stuck := io.Pipe()
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, "POST", l.url+path, body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", kind)
				resp, err := c.Transport.RoundTrip(r)
				_ = stuck.Close()
				if err != nil {
					t.Errorf("%s %s %s: %v", proto, path, kind, err)
					continue
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusRequestTimeout && resp.Header.Get("Grpc-Status") != "4" {
					t.Errorf("%s %s %s: %s", proto, path, kind, resp.Status)
				}
			}
		}
	}
}

// TestHTTP10: a client of HTTP/1.0 gets whole answers, ended by the end of the connection, and nothing it does not know.
func TestHTTP10(t *testing.T) {
	t.Parallel()
	l := startProtocolLab(t, "")
	for path, want := range map[string]string{"/hints": "hinted", "/trailers": "body", "/h2c/trailers": "body"} {
		conn, err := tls.Dial("tcp", l.addr, anyCertificate)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", path)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		text, err := io.ReadAll(conn)
		head, body, _ := strings.Cut(string(text), "\r\n\r\n")
		if err != nil || !strings.HasPrefix(head, "HTTP/1.0 200") && !strings.HasPrefix(head, "HTTP/1.1 200") || strings.Contains(strings.ToLower(head), "transfer-encoding") || body != want {
			t.Errorf("%s: %v, %q", path, err, text)
		}
	}
}

// TestRefusedProtocols: tunnels, WebSockets over HTTP/2 (RFC 8441) and HTTP/2 without TLS.
func TestRefusedProtocols(t *testing.T) {
	t.Parallel()
	l := startProtocolLab(t, "")
	t.Run("CONNECT over HTTP/1.1", func(t *testing.T) {
		for _, target := range []string{"evil.example:443", l.addr, "/file"} {
			conn, err := tls.Dial("tcp", l.addr, anyCertificate)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, l.addr)
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("CONNECT %s: %v, %v", target, resp, err)
			}
		}
	})
	t.Run("CONNECT over HTTP/2", func(t *testing.T) { connectHTTP2(t, l) })
	t.Run("HTTP/2 without TLS", func(t *testing.T) {
		g := start(t, baseConfig(whoApp(t), embeddedRedis), withUsers())
		conn, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		text, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(text), "HTTP/1.1 4") && !strings.HasPrefix(string(text), "HTTP/1.1 505") {
			t.Errorf("answered %q", text)
		}
	})
}

func connectHTTP2(t *testing.T, l *protocolLab) {
	cfg := anyCertificate.Clone()
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", l.addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	ask := func(stream uint32, fields ...string) {
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for i := 0; i+1 < len(fields); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
	}
	ask(1, ":method", "CONNECT", ":authority", "evil.example:443")
	ask(3, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/ws", ":authority", l.addr)
	ended := map[uint32]string{}
	settled := false
	for len(ended) < 2 || !settled {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("%v; of the streams: %v", err, ended)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			settled = settled || !f.IsAck()
			if v, ok := f.Value(http2.SettingEnableConnectProtocol); ok && v != 0 {
				t.Error("WebSockets over HTTP/2 are offered")
			}
		case *http2.MetaHeadersFrame:
			ended[f.StreamID] = f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			if ended[f.StreamID] == "" {
				ended[f.StreamID] = f.ErrCode.String()
			}
		}
	}
	if ended[1] != "405" || ended[3] != "405" && ended[3] != "PROTOCOL_ERROR" {
		t.Errorf("answers %v", ended)
	}
}

// TestGRPCWeb passes to an ordinary application, and is refused in gRPC's words.
func TestGRPCWeb(t *testing.T) {
	t.Parallel()
	up := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		fmt.Fprintf(w, "%s for %s", body, r.Header.Get("X-User-Id"))
	}))
	cfg, opts := tlsListener(t, baseConfig(up, embeddedRedis))
	l := &protocolLab{gateway: start(t, cfg, opts)}
	token := tlsLogin(t, l.gateway)
	for proto, c := range l.clients(t) {
		for _, kind := range []string{"application/grpc-web+proto", "application/grpc-web-text"} {
			resp, body := l.do(t, c, "POST", "/account/x", strings.NewReader("message"), "Content-Type", kind, "Cookie", "gatehouse="+token)
			if resp.StatusCode != 200 || body != "message for 2" || resp.Header.Get("Content-Type") != kind {
				t.Errorf("%s %s: %s %q", proto, kind, resp.Status, body)
			}
			resp, body = l.do(t, c, "POST", "/account/x", strings.NewReader("message"), "Content-Type", kind, "Accept", "text/html")
			if resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != "16" || resp.Header.Get("Grpc-Message") == "" || body != "" ||
				!strings.HasPrefix(kind, resp.Header.Get("Content-Type")) || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s, nobody: %s %v %q", proto, kind, resp.Status, resp.Header, body)
			}
		}
	}
}
