package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"syscall"
	"time"

	"gatehouse/config"
	"gatehouse/pages"
)

// One HTTP/2 connection carries the requests of many clients, so one that has died unnoticed would hold them
// all up. These bound how long that lasts.
const (
	// pingEvery is after how long without a sign of life the application is asked for one, and pingTimeout how
	// long it has for it.
	pingEvery   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// pingEveryGRPC is that for connections of gRPC calls. gRPC servers count more than one ping in 5 minutes
	// on a quiet connection as abuse, and close it at the third with all its calls (gRPC: Client-side
	// Keepalive, ENHANCE_YOUR_CALM "too_many_pings"). TCP has to find out there: deadPeer.
	pingEveryGRPC = 5*time.Minute + 10*time.Second
	// deadPeer is when TCP gives up a connection whose other end acknowledges nothing.
	deadPeer = 30 * time.Second
	// streamBuffer is what is taken from the application ahead of a client that does not read. 4 MiB, as
	// net/http has it, would be a gigabyte for 250 such clients.
	streamBuffer = 256 << 10
)

// aliveHTTP2 has TCP look after the connections: keep-alives while nothing is under way, and a bound on the wait
// for an acknowledgement while something is, which otherwise is a quarter of an hour (tcp(7), TCP_USER_TIMEOUT).
func aliveHTTP2(d *net.Dialer) {
	d.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: deadPeer / 2, Interval: deadPeer / 6, Count: 3}
	d.Control = func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) { boundUnacknowledged(fd, deadPeer) })
	}
}

// speakHTTP2 makes a transport speak nothing else. When a connection has as many streams as the application
// allows, another one is opened: waiting for a stream to end would let a hundred quiet ones hold up everybody.
func speakHTTP2(t *http.Transport, timeouts config.Timeouts, ping time.Duration) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP2(true)            // https
	t.Protocols.SetUnencryptedHTTP2(true) // http
	t.HTTP2 = &http.HTTP2Config{
		SendPingTimeout:           ping,
		PingTimeout:               pingTimeout,
		WriteByteTimeout:          timeouts.Body,
		MaxReceiveBufferPerStream: streamBuffer,
	}
	// Without this net/http would be content with HTTP/1.1 from a server that chooses nothing.
	t.TLSClientConfig.VerifyConnection = func(c tls.ConnectionState) error {
		if c.NegotiatedProtocol != "h2" {
			return errNoHTTP2
		}
		return nil
	}
}

// serveHTTP2 passes a request on that is asked by HTTP/2, whatever the client speaks.
func (f *Forwarder) serveHTTP2(w http.ResponseWriter, r *http.Request, s *state) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s.cancel = cancel
	if pages.IsGRPC(r) {
		f.serveGRPC(w, r, r.WithContext(ctx), s)
		return
	}
	f.pass(w, r.WithContext(ctx), s)
}

// dressHTTP2 is what a request has besides when the application is asked by HTTP/2.
func dressHTTP2(pr *httputil.ProxyRequest, s *state) {
	if hasToken(pr.In.Header["Te"], "trailers") {
		// The client takes trailers in the answer. gRPC servers may refuse calls without this (H07).
		pr.Out.Header["Te"] = []string{"trailers"}
	}
	if pr.Out.Body != nil {
		pr.Out.Body = closing{pr.Out.Body, s.body}
	}
}

var (
	errNoHTTP2  = errors.New("the application does not choose HTTP/2 by ALPN; is its upstream https:// rather than h2://?")
	errBadHTTP2 = errors.New("the application's answer is not proper HTTP/2; h2c:// is for HTTP/2 without TLS, h2:// for HTTP/2 over TLS, http:// and https:// for HTTP/1.1")
	errLost     = errors.New("the connection to the application was lost")
	errReset    = errors.New("the application reset the request")
)

// presentableHTTP2 finds the words for an error of HTTP/2. net/http has no types for them, and its own words may
// quote what the application sent.
func presentableHTTP2(err error) error {
	switch text := err.Error(); {
	case errors.Is(err, errNoHTTP2):
		return errNoHTTP2
	case strings.HasSuffix(text, "received from peer"):
		return errReset
	case strings.HasPrefix(text, "http2: client connection lost"), strings.Contains(text, "GOAWAY"), strings.Contains(text, "client conn not usable"):
		return errLost
	}
	return errBadHTTP2
}
