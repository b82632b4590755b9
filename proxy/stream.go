package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"gatehouse/session"
)

// Kinds of streams, as the metric names them.
const (
	streamWebSocket = "websocket"
	streamEvents    = "sse"
	streamGRPC      = "grpc"
	streamDownload  = "download"
)

// Why streams are cut, in the log.
const (
	cutEnded      = "session ended"
	cutRole       = "the session's role has changed"
	cutUnverified = "session cannot be checked"
	cutShutdown   = "shutting down"
)

// largeAnswer is from where on an answer counts as a stream: shorter ones are over before a
// revocation could reach them.
const largeAnswer = 1 << 20

// stream is one open answer. Its body is the application's, closing it ends both sides.
type stream struct {
	set   *Streams
	kind  string
	state *state
	key   session.Key // zero: nobody is logged in
	role  string      // as the application was told
	// body is nil while a gRPC call has no answer yet.
	body io.ReadCloser
	// mu orders cut and Close: after Close the request's writer may not be touched.
	mu     sync.Mutex
	closed bool
}

func streamKind(resp *http.Response) string {
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return streamWebSocket
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"):
		return streamEvents
	case resp.Request.Method != http.MethodHead && (resp.ContentLength < 0 || resp.ContentLength > largeAnswer):
		return streamDownload
	default:
		return ""
	}
}

// Read implements io.Reader.
func (o *stream) Read(p []byte) (int, error) { return o.body.Read(p) }

// Close implements io.Closer. It is called by the request's own goroutine when the answer is over.
func (o *stream) Close() error {
	o.mu.Lock()
	first := !o.closed
	o.closed = true
	o.mu.Unlock()
	if first {
		o.set.forget(o)
	}
	if o.body == nil {
		return nil
	}
	return o.body.Close()
}

// answered gives a call the body of its answer.
func (o *stream) answered(body io.ReadCloser) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.body = body
	if o.closed {
		_ = body.Close()
	}
}

// cut ends the stream from outside.
func (o *stream) cut(why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	o.set.forget(o)
	o.state.cut.Store(&why)
	if o.state.cancel != nil {
		// Before the body: net/http's HTTP/2 waits, when it closes one, for the request to be over; and while it waits
		// for the client's next piece of it, it does not look at the context, so one alone does not do.
		o.state.cancel()
	}
	if o.body != nil {
		_ = o.body.Close()
	}
	w := o.state.writer
	if w == nil {
		return
	}
	// The request may be waiting for a client that neither reads nor writes.
	if conn := w.conn.Load(); conn != nil {
		_ = (*conn).Close()
	} else if o.kind != streamWebSocket {
		w.deadline(o.state.lastWrite())
	}
}

// streamConn is the stream of an upgraded connection, which is written to as well.
type streamConn struct {
	*stream
	io.Writer
}
