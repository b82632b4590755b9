package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// body bounds a request's body: its size (413), and the wait for each next piece of it (X06). A
// body that keeps coming is never cut, however long it takes.
//
// The bound is a read deadline. On HTTP/1 it stays set until the body has ended, because net/http reads
// too: it drains what nobody wanted, before an answer of more than a few KB or after the handler, and would
// wait for ever. On HTTP/2 it is set for each read only: there a deadline that passes in between
// breaks the stream for good, and nothing is drained.
type body struct {
	src     io.ReadCloser
	w       http.ResponseWriter // the server's own, which closes the connection after a body that is too large
	max     int64               // 0: no limit
	bounded bool                // src holds to max
	timeout time.Duration
	http1   bool

	// The transport's goroutine may still be reading when the request is over, and net/http's
	// ResponseController must not be touched from then on: on HTTP/2 that is a nil dereference in a
	// goroutine nobody recovers, the end of the process.
	mu    sync.Mutex
	rc    *http.ResponseController
	left  bool
	ended bool
	slow  bool
	// patient: no bound on waiting.
	patient bool
	// unwanted: nobody reads the rest.
	unwanted bool
	bad      bool // the client's framing of it is broken
	large    bool // it was larger than max, which its length had not told
}

// boundBody puts the bounds around r.Body. Requests without a body get none, and a nil *body.
func (g *Gateway) boundBody(w *response, r *http.Request) *body {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &body{
		src: r.Body, w: w.ResponseWriter, max: int64(g.cfg.Limits.MaxBody), rc: http.NewResponseController(w.ResponseWriter),
		timeout: g.cfg.Timeouts.Body, http1: r.ProtoMajor == 1,
	}
	if b.http1 {
		b.deadline(b.timeout)
	}
	r.Body = b
	return b
}

// limit sets the largest size, 0 for none, as long as nothing has been read.
func (b *body) limit(size int64) {
	if b != nil {
		b.max = size
	}
}

// deadline ends reads after d; zero takes the bound away.
func (b *body) deadline(d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = b.rc.SetReadDeadline(at)
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if !b.bounded && b.max > 0 {
		b.src = http.MaxBytesReader(b.w, b.src, b.max)
	}
	b.bounded = true
	src := b.src
	if !b.left && !b.ended && !b.patient {
		b.deadline(b.timeout)
	}
	b.mu.Unlock()
	n, err := src.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left {
		return n, err
	}
	if err != nil {
		b.ended = b.ended || errors.Is(err, io.EOF)
		b.slow = b.slow || !b.unwanted && errors.Is(err, os.ErrDeadlineExceeded)
		b.bad = b.bad || !b.ended && isMalformed(err)
		b.large = b.large || isTooLarge(err)
	}
	if b.ended || !b.http1 && !b.patient {
		// After the body net/http goes on reading, to see whether the client leaves.
		b.deadline(0)
	}
	return n, err
}

// Close implements io.Closer. The transport closes a body while it is still being read.
func (b *body) Close() error {
	b.mu.Lock()
	src := b.src
	b.mu.Unlock()
	return src.Close()
}

// isMalformed reports whether the client's bytes, and not their absence, are what is wrong.
func isMalformed(err error) bool {
	var network net.Error
	return !isTooLarge(err) && !errors.As(err, &network) && !errors.Is(err, os.ErrDeadlineExceeded) &&
		!errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, http.ErrBodyReadAfterClose) && !errors.Is(err, context.Canceled)
}

func isTooLarge(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge)
}

// tooLarge reports whether the body turned out to be larger than it may be.
func (b *body) tooLarge() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.large
}

// malformed reports whether the client's body could not be read for what it is.
func (b *body) malformed() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bad
}

// tooSlow reports whether the client stopped sending.
func (b *body) tooSlow() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slow
}

// wait takes the bound on waiting away, for a body that is one side of a conversation (see serveGRPC). On HTTP/1
// there are none.
func (b *body) wait() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.patient = !b.http1
}

// giveUp ends a read that waits for the client, when nobody wants the rest. On HTTP/1 that would take the answer away
// as well: net/http must drain the body first; there the bound on waiting ends it.
func (b *body) giveUp() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left || b.ended || b.http1 {
		return
	}
	b.unwanted = true
	_ = b.rc.SetReadDeadline(longAgo)
}

// closing is a request's body for a transport that speaks HTTP/2, which notices that a request has failed only when it is
// not waiting for the client's next piece, and closes the body so that it is not. httputil.ReverseProxy's does not close.
type closing struct {
	io.ReadCloser
	body *body
}

// Close implements io.Closer.
func (c closing) Close() error {
	c.body.giveUp()
	return c.ReadCloser.Close()
}

// unread reports whether there is, or may be, more of the body to come.
func (b *body) unread() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.ended
}

// leave is for the end of the request. What is left of the body is net/http's to drain, in bounded time.
func (b *body) leave() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	if b.http1 && !b.ended {
		b.deadline(b.timeout)
	}
}
