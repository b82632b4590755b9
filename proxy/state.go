package proxy

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse/session"
	"gatehouse/telemetry"
)

// state is what the gateway knows of one request. There is one per request, reached through the
// request's context; it belongs to the request's goroutine.
type state struct {
	telemetry.Request
	began time.Time
	peer  bool // the peer is a trusted proxy
	// about is the request a web server asks about, nil when this one is to be passed on.
	about    *inquiry
	path     Path
	decision Decision

	// session and token are set when the request has a session.
	session session.Session
	token   string

	// asked and answered bound the application's part of the time.
	asked, answered time.Time
	// handshake: a WebSocket was asked for; upgraded: the connection has become one.
	handshake, upgraded bool
	// grpc: a gRPC call to an application that is asked by HTTP/2.
	grpc bool
	// call is its stream, from the beginning.
	call *stream
	// cancel ends a request to an application that is asked by HTTP/2; nil for others, whose connection is closed.
	cancel context.CancelFunc
	// relayed: the answer is the application's, not one of the gateway's own.
	relayed bool
	// trailers may follow the application's answer.
	trailers bool
	// writer is the answer, for streams that are cut from outside; cut says why.
	writer *response
	cut    atomic.Pointer[string]
	// body is the request's, nil when it has none.
	body *body
}

// signedIn reports whether the request has a session.
func (s *state) signedIn() bool { return s.session.Record != nil }

// client is the client's address as text; a peer on a unix socket has none.
func (s *state) client() string {
	if !s.Client.IsValid() {
		return ""
	}
	return s.Client.String()
}

// use makes rec's owner the user of this request.
func (s *state) use(found session.Session, token string) {
	s.session, s.token = found, token
	s.UserID = found.User.ID
	s.Session = found.Record.ID.Short()
	s.Source = string(found.Source)
}

// requestContext carries the state. It answers for telemetry's key as well, so that the whole
// request needs one context value.
type requestContext struct {
	context.Context
	state *state
}

type stateKey struct{}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	switch key.(type) {
	case stateKey:
		return c.state
	case telemetry.RequestKey:
		return &c.state.Request
	}
	return c.Context.Value(key)
}

// stateOf gives the state of a request that came through observe. Without one it is a mistake in
// the chain, and the panic says so.
func stateOf(r *http.Request) *state {
	return r.Context().Value(stateKey{}).(*state)
}
