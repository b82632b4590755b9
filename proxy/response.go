package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// maxEarlyHints is how many 1xx answers of the application are passed on for one request (H08).
const maxEarlyHints = 5

// response counts what is answered, and bounds each write to a client that does not read (X06).
// It keeps what http.ResponseController needs: Flush, Hijack, deadlines through Unwrap (X11).
type response struct {
	http.ResponseWriter
	strip   *Scrubber
	timeout time.Duration
	http1   bool
	http10  bool
	state   *state
	// cookie is the gateway's own cookie, renewed or cleared, for whatever the answer will be.
	cookie *http.Cookie
	// hsts goes with the gateway's own answers.
	hsts   []string
	status int
	bytes  int64
	hints  int
	// bounded is when the write deadline was last set.
	bounded time.Time
	// conn is an upgraded connection, for Streams to end it.
	conn atomic.Pointer[net.Conn]
}

// newResponse begins an answer. A deadline that an earlier answer left on the connection is moved.
func newResponse(w http.ResponseWriter, r *http.Request, strip *Scrubber, timeout time.Duration, s *state) *response {
	resp := &response{ResponseWriter: w, strip: strip, timeout: timeout, http1: r.ProtoMajor == 1, http10: !r.ProtoAtLeast(1, 1), state: s}
	if resp.http1 {
		resp.bound(true)
	}
	return resp
}

// bound gives the client the timeout to take what is written next. On HTTP/1 the deadline stays, it
// means nothing while nothing is written, and is moved on when a quarter of it has passed. On
// HTTP/2 unbind must follow: there a deadline that passes resets the stream even when nothing is
// being written, which would cut quiet event streams.
func (w *response) bound(always bool) {
	now, d := time.Now(), w.timeout
	if w.http1 && w.state.body.unread() {
		// The first write waits for net/http to drain the body, for as long as the body's bound lets it.
		always, d = true, 2*d
	}
	if !always && w.http1 && now.Sub(w.bounded) < w.timeout/4 {
		return
	}
	w.bounded = now
	w.deadline(now.Add(d))
	if w.state.cut.Load() != nil {
		// The stream was ended from outside, by a deadline that has just been moved (Streams).
		w.deadline(w.state.lastWrite())
	}
}

// longAgo as a deadline ends what is being written.
var longAgo = time.Unix(1, 0)

// lastWrite is the deadline of what is still written to a stream that was cut. A gRPC call ends with a status that
// says why, for which a client that reads needs no more than a moment.
func (s *state) lastWrite() time.Time {
	if s.grpc {
		return time.Now().Add(farewell)
	}
	return longAgo
}

func (w *response) deadline(at time.Time) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(at)
}

func (w *response) unbind() {
	if !w.http1 {
		w.deadline(time.Time{})
	}
}

// leave bounds what net/http still has to write when the handler has returned.
func (w *response) leave() {
	switch {
	case w.conn.Load() != nil:
	case w.state.cut.Load() != nil:
		w.deadline(time.Now().Add(w.timeout))
	default:
		w.bound(!w.http1)
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// code is the status as it went out; an answer nobody wrote is the server's 200.
func (w *response) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.hint(status)
		return
	}
	if about := w.state.about; about != nil && w.status == 0 {
		status = about.translate(w.Header(), status)
	}
	w.seal(status)
	w.ResponseWriter.WriteHeader(status)
}

// seal puts the gateway's own headers into the final answer. It happens as late as this because
// httputil.ReverseProxy empties the header map after an informational answer.
func (w *response) seal(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.Header().Set(requestIDHeader, w.state.ID)
	if _, given := w.Header()["Content-Type"]; !given {
		// Or net/http would guess one: an upload without a type, inert under the application's nosniff,
		// would become a page that runs.
		w.Header()["Content-Type"] = nil
	}
	if w.hsts != nil && !w.state.relayed && status >= http.StatusOK {
		w.Header()[hstsHeader] = w.hsts
	}
	if w.cookie != nil {
		http.SetCookie(w, w.cookie)
	}
}

// hint passes an informational answer on, without what must not come from the application (H08).
func (w *response) hint(status int) {
	w.hints++
	if w.hints > maxEarlyHints || w.http10 {
		clear(w.Header()) // HTTP/1.0 knows no informational answers (RFC 9110, 15.2)
		return
	}
	w.strip.StripResponse(w.Header())
	w.Header().Del("Set-Cookie")
	w.bound(false)
	defer w.unbind()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.bound(false)
	defer w.unbind()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom keeps the copy inside Write, where it is counted and bounded.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, src)
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError lets http.ResponseController report a failed flush.
func (w *response) FlushError() error {
	w.bound(false)
	defer w.unbind()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.seal(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.conn.Store(&conn)
	}
	return conn, buffered, err
}
