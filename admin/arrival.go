package admin

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// requestTime bounds the arrival of a request's body. What is done then has the store's own bounds.
const requestTime = 30 * time.Second

// arrival is a body that has requestTime to arrive. The bound is the connection's: left there, net/http's own reading behind
// the body, by which it notices a client that goes away, would run into it and end the context of whatever takes longer.
// So it is taken back with the body's end, and never set where there is no body. Where the body does not come to its end it
// stays, and bounds what net/http still reads before it answers.
type arrival struct {
	io.ReadCloser
	control *http.ResponseController
}

// bounded gives the request with a body that is an arrival. A copy: net/http knows its own body by its type.
func bounded(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	b := &arrival{ReadCloser: r.Body, control: http.NewResponseController(w)}
	_ = b.control.SetReadDeadline(time.Now().Add(requestTime)) // not every writer has one
	r = r.WithContext(r.Context())
	r.Body = b
	return r
}

// Read reads on.
func (b *arrival) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain reads away a body that the operation has no use for. Before the operation and not after it, as net/http would: only
// behind the body can a client that goes away be noticed.
func drain(r *http.Request) error {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return errBody
	}
	return nil
}
