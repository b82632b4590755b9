package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// The versions of HTTP a case runs over, as sub-tests of these names.
const (
	overH1 = "h1"
	overH2 = "h2"
)

var (
	both   = []string{overH1, overH2}
	onlyH1 = []string{overH1}
	onlyH2 = []string{overH2}
)

// setup is what a case works with over one version of HTTP. Its requests are bytes or frames as the case
// states them, and each bears the case's tag, so that many cases can share a gateway and its application.
type setup struct {
	redis *testredis.Server
	*stage
	number  string
	version string
	tag     string
	conns   map[*gateway]*h2conn
	// transport is that of the case's browsers: a handshake each would take longer than all else.
	transport *http.Transport
}

// request is a request as a case states it, for both versions.
type request struct {
	line     string // GET /public/x
	host     string // empty: the gateway's address
	headers  []string
	body     string
	chunked  bool // the body's length is not told beforehand
	trailers []string
}

// tagHeader says which case a request belongs to.
const tagHeader = "X-Case"

func (s *setup) h2() bool { return s.version == overH2 }

// start starts a gateway that speaks the case's version.
func (s *setup) start(t *testing.T, config string, opts options) *gateway {
	t.Helper()
	if s.h2() {
		config += s.tls
	}
	return start(t, config, opts)
}

// gateway starts a gateway with baseConfig and more in front of a recording application.
func (s *setup) gateway(t *testing.T, more string) (*gateway, *app) {
	t.Helper()
	a := startApp(t, nil)
	return s.start(t, baseConfig(a.url, s.section())+more, withUsers()), a
}

// usual is the gateway with nothing but baseConfig, which all cases share, and what this case's requests made of its application.
func (s *setup) usual() (*gateway, recorded) {
	return s.shared[s.version], tagged{s.app, s.tag}
}

// recorded are the requests that reached an application.
type recorded interface {
	requests() []seen
	last(t *testing.T) seen
}

// tagged are those of one case.
type tagged struct {
	app *app
	tag string
}

func (v tagged) requests() []seen {
	var own []seen
	for _, r := range v.app.requests() {
		if r.Header.Get(tagHeader) == v.tag {
			own = append(own, r)
		}
	}
	return own
}

func (v tagged) last(t *testing.T) seen {
	t.Helper()
	all := v.requests()
	if len(all) == 0 {
		t.Fatal("nothing has reached the application")
	}
	return all[len(all)-1]
}

// one sends one raw request of HTTP/1.1 on a connection of its own and gives the answer.
func one(t *testing.T, g *gateway, requestLine string, headers ...string) *http.Response {
	t.Helper()
	text := requestLine + "\r\nHost: " + g.addr + "\r\nConnection: close\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	return parse(t, raw(t, g.addr, text+"\r\n"))
}

// one sends one request and gives the answer, read to its end.
func (s *setup) one(t *testing.T, g *gateway, line string, headers ...string) *http.Response {
	t.Helper()
	resp, _ := s.send(t, g, request{line: line, headers: headers})
	return resp
}

// send sends a request and gives the final answer and the informational ones before it. Over HTTP/2 a request that is
// refused by resetting it has the status 0.
func (s *setup) send(t *testing.T, g *gateway, r request) (final *http.Response, hints []*http.Response) {
	t.Helper()
	if r.host == "" {
		r.host = g.addr
	}
	r.headers = append([]string{tagHeader + ": " + s.tag}, r.headers...)
	if s.h2() {
		return s.sendH2(t, g, r)
	}
	return s.sendH1(t, g, r)
}

func (s *setup) sendH2(t *testing.T, g *gateway, r request) (final *http.Response, hints []*http.Response) {
	t.Helper()
	c := s.conns[g]
	if c == nil || c.over != nil {
		c = dialH2(t, g)
		s.conns[g] = c
	}
	_ = c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	method, target, _ := strings.Cut(r.line, " ")
	if r.body != "" && !r.chunked {
		r.headers = append(r.headers, fmt.Sprint("Content-Length: ", len(r.body)))
	}
	declared := slices.ContainsFunc(r.headers, func(h string) bool { // a body that is not sent
		value, ok := strings.CutPrefix(h, "Content-Length:")
		return ok && r.body == "" && strings.TrimSpace(value) != "0"
	})
	stream := c.open(r.body == "" && !r.chunked && !declared, h2Header(method, target, r.host, r.headers)...)
	if r.body != "" || r.chunked {
		stream.data(len(r.trailers) == 0, r.body)
	}
	if len(r.trailers) > 0 {
		stream.header(true, h2Header("", "", "", r.trailers)[4:]...)
	}
	return stream.answer(), stream.hints
}

func (s *setup) sendH1(t *testing.T, g *gateway, r request) (final *http.Response, hints []*http.Response) {
	t.Helper()
	var b strings.Builder
	b.WriteString(r.line + " HTTP/1.1\r\nHost: " + r.host + "\r\nConnection: close\r\n")
	for _, h := range r.headers {
		b.WriteString(h + "\r\n")
	}
	switch {
	case r.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n" + chunk(r.body) + "0\r\n")
		for _, h := range r.trailers {
			b.WriteString(h + "\r\n")
		}
		b.WriteString("\r\n")
	case r.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	default:
		b.WriteString("\r\n")
	}
	all := responses(t, r.line, raw(t, g.addr, b.String()))
	return all[len(all)-1], all[:len(all)-1]
}

// chunk is a piece of a chunked body.
func chunk(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
}

// responses reads the answers to one request out of what came back: informational ones, then the final one.
func responses(t *testing.T, line, text string) []*http.Response {
	t.Helper()
	method, _, _ := strings.Cut(line, " ")
	src := bufio.NewReader(strings.NewReader(text))
	var all []*http.Response
	for {
		resp, err := http.ReadResponse(src, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("no answer to %.80q: %v in %.300q", line, err, text)
		}
		all = append(all, resp)
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			body, err := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(body))
			if err != nil {
				resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), &failing{err}))
			}
			return all
		}
	}
}

// begin makes the setup ready for one version.
func (s *setup) begin(t *testing.T, version string) {
	s.version, s.tag, s.conns = version, s.number+"-"+version, make(map[*gateway]*h2conn)
	s.transport = &http.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	s.transport.Protocols.SetHTTP1(!s.h2())
	s.transport.Protocols.SetHTTP2(s.h2())
	t.Cleanup(s.transport.CloseIdleConnections)
}

// client is plainClient in the case's version.
func (s *setup) client(t *testing.T) *http.Client {
	c := plainClient(t)
	c.Transport = s.transport
	return c
}

// browser is newBrowser in the case's version.
func (s *setup) browser(t *testing.T, g *gateway) *browser {
	b := newBrowser(t, g.url)
	b.client.Transport = s.transport
	b.headers.Set(tagHeader, s.tag)
	return b
}

// holder is a browser that has a token.
func (s *setup) holder(t *testing.T, g *gateway, token string) *browser {
	b := holder(t, g, token)
	b.client.Transport = s.transport
	b.headers.Set(tagHeader, s.tag)
	return b
}

// refusedWith reports whether a request was refused: by this status or, over HTTP/2, as a stream error.
func refusedWith(resp *http.Response, status int) bool {
	return resp.StatusCode == status || resp.StatusCode == 0 && strings.Contains(resp.Status, "PROTOCOL_ERROR")
}

// bodyOf is an answer's body, whose end must be one.
func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("the answer was cut off: %v", err)
	}
	return string(text)
}

// dial opens a connection to a gateway without TLS.
func dial(t *testing.T, g *gateway) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}
