package proxy

import (
	"errors"
	"net/http"
	"time"

	"gatehouse/pages"
)

// farewell is how long the status of a call that was cut has to go out.
const farewell = 500 * time.Millisecond

// serveGRPC passes a call on (gRPC over HTTP2). It differs from other requests, because either side may say
// nothing for hours and nothing tells a conversation from a call whose answer is long in coming:
//
//   - timeouts.body does not bound the wait for the client's next message, nor timeouts.response_header the
//     wait for the application's first. A client that sends nothing holds one of its connection's streams, as
//     a WebSocket that is silent does; pings find out whether it is still there.
//   - The call is one of Streams from the beginning: a client that sends a message a minute may get its first
//     answer at the very end, and its session may end before (X04).
//   - However the gateway ends it, it ends with a status in the trailers. gRPC takes an answer without one for
//     incomplete, and this one is never OK, so nothing is taken for complete here that is not (X05).
func (f *Forwarder) serveGRPC(w http.ResponseWriter, in, out *http.Request, s *state) {
	s.grpc = true
	s.body.wait()
	s.call, _ = f.streams.add(streamGRPC, s, nil)
	defer s.call.Close()
	// The session may have ended since it was looked up, when the call was not among the streams yet.
	f.streams.Changed(s.call.key.ID)
	defer f.endCall(w, in, s)
	f.pass(w, out, s)
	if s.GRPCStatus == "" {
		s.GRPCStatus = statusOfCall(w.Header())
	}
}

// statusOfCall is the status with which the application ended a call.
func statusOfCall(h http.Header) string {
	for _, name := range []string{http.TrailerPrefix + "Grpc-Status", "Grpc-Status"} {
		if v := h[name]; len(v) == 1 && plainStatus(v[0]) {
			return v[0]
		}
	}
	return ""
}

// plainStatus keeps out of the log what is no status.
func plainStatus(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 2
}

// endCall ends an answer that was cut off with a status that says why. When the client has gone nobody hears it.
func (f *Forwarder) endCall(w http.ResponseWriter, r *http.Request, s *state) {
	v := recover()
	if v == nil {
		return
	}
	err, _ := v.(error)
	begun := s.writer != nil && s.writer.status != 0 && s.writer.status != statusClientGone
	if !errors.Is(err, http.ErrAbortHandler) || !begun || r.Context().Err() != nil {
		panic(v)
	}
	problem := pages.Problem{Status: http.StatusBadGateway, Message: "The application's answer was cut off."}
	if why := s.cut.Load(); why != nil {
		problem = cutProblem(*why)
	} else if s.body.tooLarge() {
		problem = pages.Problem{Status: http.StatusRequestEntityTooLarge, Message: "The messages of this call are larger than the gateway accepts in one call."}
	}
	s.Error = problem.Message
	pages.GRPCStatus(w.Header(), http.TrailerPrefix, r, problem)
}

// cutProblem says why a stream was cut.
func cutProblem(why string) pages.Problem {
	switch why {
	case cutRole:
		return pages.Problem{Status: http.StatusForbidden, Code: "forbidden", Message: "Your role has changed. Please try again."}
	case cutUnverified, cutShutdown:
		return pages.Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "The connection was ended by the gateway. Please try again shortly."}
	default:
		return pages.Problem{Status: http.StatusUnauthorized, Code: "unauthenticated", Message: "The session has ended. Log in and try again."}
	}
}
