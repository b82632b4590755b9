package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"gatehouse/pages"
)

// statusClientGone is what the log says of a client that left (nginx's 499); nobody reads it.
const statusClientGone = 499

// discardLog: what httputil.ReverseProxy would log stands in the access line already.
var discardLog = log.New(io.Discard, "", 0)

// Fail implements login.Application: it is the one place where a failure to get an answer from the
// application becomes a status.
func (f *Forwarder) Fail(w http.ResponseWriter, r *http.Request, err error) {
	s := stateOf(r)
	s.Error = err.Error()
	problem := classify(r, s, err)
	if problem.Status == statusClientGone {
		if resp, ok := w.(*response); ok {
			resp.status = statusClientGone
		}
		panic(http.ErrAbortHandler)
	}
	f.pages.Problem(w, r, problem)
}

func classify(r *http.Request, s *state, err error) pages.Problem {
	var (
		tooLarge *http.MaxBytesError
		timeout  net.Error
	)
	if why := s.cut.Load(); why != nil {
		return cutProblem(*why) // a call that was ended before the application answered it
	}
	switch {
	case s.body.tooSlow():
		return pages.Problem{Status: http.StatusRequestTimeout, Code: "request_timeout",
			Message: "The rest of the request did not arrive in time."}
	case errors.As(err, &tooLarge):
		return pages.Problem{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large",
			Message: "The body of this request is too large."}
	case errors.Is(r.Context().Err(), context.Canceled):
		return pages.Problem{Status: statusClientGone}
	case s.body.malformed():
		return pages.Problem{Status: http.StatusBadRequest, Code: "bad_request",
			Message: "The body of this request is malformed."}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return pages.Problem{Status: http.StatusGatewayTimeout, Code: "timeout",
			Message: "The application did not answer in time. Please try again shortly."}
	default:
		return pages.Problem{Status: http.StatusBadGateway, Code: "bad_gateway",
			Message: "The application cannot be reached or did not answer properly. Please try again shortly."}
	}
}
