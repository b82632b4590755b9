package telemetry

import (
	"context"
	"net/netip"
)

// Request is what the layers of the gateway learn of one request on its way: the proxy fills in
// who is asking, the login and the proxy add what came of it, and the access line is written from
// it at the end. It belongs to the request's goroutine.
type Request struct {
	// ID of the request, taken over from a trusted proxy or made here.
	ID string
	// Client is the address of the client, decided by the trusted proxies.
	Client netip.Addr
	// HTTPS reports whether the client speaks https, to us or to a trusted proxy.
	HTTPS bool
	// Host is the host the client asked, folded.
	Host string

	// Rule, UserID, Session (short), Source and Error go into the access line.
	Rule    string
	UserID  string
	Session string
	Source  string
	Error   string
	// Status goes into the access line instead of the answer's own, when that says nothing: a failed gRPC call is
	// answered with 200. 0: the answer's own. GRPCStatus is the code of the call's end; empty for other requests.
	Status     int
	GRPCStatus string
}

// RequestKey is the key of the Request in a context. It is exported for the proxy alone, whose
// context type answers for it without a value of its own (one allocation per request fewer).
type RequestKey struct{}

// WithRequest puts r into the context.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, RequestKey{}, r)
}

// RequestFrom gives the Request of a context; an empty one, never nil, when there is none.
func RequestFrom(ctx context.Context) *Request {
	if r, ok := ctx.Value(RequestKey{}).(*Request); ok {
		return r
	}
	return &Request{}
}
