package proxy

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"

	"gatehouse/session"
	"gatehouse/telemetry"
)

// Streams are the answers that outlive their request's first moment: WebSockets, server-sent events, gRPC
// calls, downloads. Those of logged-in users end when their session does, here or elsewhere, and when it gets
// another role: the application was told the old one at the beginning and hears no more (X04).
//
// They end by the connection being closed, or the HTTP/2 stream reset, so that no client takes what it
// has for complete. A WebSocket gets no close frame: the gateway passes bytes through and does not know
// where the application's frames end, and in the middle of one a close frame would be taken for its
// content. Browsers report code 1006.
//
// An open stream does not count as use of its session, whatever goes through it: only requests prolong
// one. A page left open for good would otherwise never be logged out by the idle limit.
type Streams struct {
	sessions Sessions
	metrics  *telemetry.Metrics
	wake     chan struct{}

	mu sync.Mutex
	// open has the streams by session; those of nobody are under the zero ID. Keys with one ID differ only
	// while sessions move from the application's table.
	open map[session.ID]map[*stream]struct{}
	// due are the sessions that have changed, in that order; waits says the same by key. Each is in
	// there once, so they are never more than there are sessions with open streams.
	due   []session.Key
	waits map[session.Key]bool
	shut  bool
}

// NewStreams makes an empty set. For sessions that end elsewhere to end streams here Run must run, and Changed be told.
func NewStreams(sessions Sessions, metrics *telemetry.Metrics) *Streams {
	return &Streams{
		sessions: sessions, metrics: metrics, wake: make(chan struct{}, recheckers),
		open: make(map[session.ID]map[*stream]struct{}), waits: make(map[session.Key]bool),
	}
}

// watch takes an answer in, if it is a stream.
func (st *Streams) watch(resp *http.Response, s *state) {
	if s.grpc {
		s.call.answered(resp.Body) // it has been in here since it was asked (serveGRPC)
		return
	}
	kind := streamKind(resp)
	if kind == "" {
		return
	}
	one, shut := st.add(kind, s, resp.Body)
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok && kind == streamWebSocket {
		resp.Body = streamConn{one, conn}
	} else {
		resp.Body = one
	}
	if shut && endless(kind) {
		one.cut(cutShutdown)
	}
	// The session may have ended while the application was thinking, when there was no stream to end yet.
	st.Changed(one.key.ID)
}

// add takes a stream in. It also tells whether the streams have been shut down.
func (st *Streams) add(kind string, s *state, body io.ReadCloser) (one *stream, shut bool) {
	one = &stream{set: st, kind: kind, state: s, body: body, key: s.streamKey()}
	if s.signedIn() {
		one.role = s.session.Record.Role
	}
	id := one.key.ID
	st.mu.Lock()
	if st.open[id] == nil {
		st.open[id] = make(map[*stream]struct{})
	}
	st.open[id][one] = struct{}{}
	shut = st.shut
	st.mu.Unlock()
	st.metrics.StreamOpened(kind)
	return one, shut
}

// streamKey is the key of the request's session; zero: nobody is logged in.
func (s *state) streamKey() (key session.Key) {
	if s.signedIn() {
		key = s.session.Record.Key()
	}
	return key
}

// endless reports whether streams of a kind would never end by themselves. Downloads do, and most gRPC calls: which
// of them are streams cannot be seen.
func endless(kind string) bool { return kind == streamWebSocket || kind == streamEvents }

func (st *Streams) forget(o *stream) {
	st.mu.Lock()
	id := o.key.ID
	delete(st.open[id], o)
	if len(st.open[id]) == 0 {
		delete(st.open, id)
	}
	st.mu.Unlock()
	st.metrics.StreamClosed(o.kind)
}

// End cuts the streams of sessions that have ended. It is meant for [session.Manager.OnEnd].
func (st *Streams) End(ids []session.ID) {
	for _, id := range ids {
		for _, o := range st.of(id) {
			o.cut(cutEnded)
		}
	}
}

// Shutdown cuts the streams that would never end by themselves; downloads and gRPC calls may finish.
func (st *Streams) Shutdown() {
	st.mu.Lock()
	st.shut = true
	st.mu.Unlock()
	for _, o := range st.list(func(_ session.Key, o *stream) bool { return endless(o.kind) }) {
		o.cut(cutShutdown)
	}
}

// of gives the open streams of one session; of nobody's session, which the zero ID is, there are none.
func (st *Streams) of(id session.ID) []*stream {
	if id.IsZero() {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Collect(maps.Keys(st.open[id]))
}

// ofKey gives those of one session that were opened under this key.
func (st *Streams) ofKey(key session.Key) []*stream {
	return slices.DeleteFunc(st.of(key.ID), func(o *stream) bool { return o.key != key })
}

// list gives the open streams that match.
func (st *Streams) list(match func(session.Key, *stream) bool) []*stream {
	st.mu.Lock()
	defer st.mu.Unlock()
	var out []*stream
	for _, streams := range st.open {
		for o := range streams {
			if match(o.key, o) {
				out = append(out, o)
			}
		}
	}
	return out
}
