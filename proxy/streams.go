package proxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/session"
	"gatehouse/telemetry"
)

// Kinds of streams, as the metric names them.
const (
	streamWebSocket = "websocket"
	streamEvents    = "sse"
	streamDownload  = "download"
)

// largeAnswer is from where on an answer counts as a stream: shorter ones are over before a
// revocation could reach them.
const largeAnswer = 1 << 20

// recheckEvery is how often the sessions of open streams are looked up again. The look-up is
// answered from memory, and Redis tells when that has changed, so a logout on another replica ends
// streams here within about this time (X04).
const recheckEvery = time.Second

// Streams are the answers that outlive their request's first moment: WebSockets, server-sent events,
// downloads. Those of logged-in users end when their session does (X04).
type Streams struct {
	sessions Sessions
	metrics  *telemetry.Metrics

	mu   sync.Mutex
	open map[session.Key]map[*stream]struct{}
	shut bool
}

// NewStreams makes an empty set. Run must run for sessions that end elsewhere to end streams here.
func NewStreams(sessions Sessions, metrics *telemetry.Metrics) *Streams {
	return &Streams{sessions: sessions, metrics: metrics, open: make(map[session.Key]map[*stream]struct{})}
}

// stream is one open answer. Its body is the application's, closing it ends both sides.
type stream struct {
	set   *Streams
	kind  string
	state *state
	key   session.Key // zero: nobody is logged in
	body  io.ReadCloser
	// mu orders cut and Close: after Close the request's writer may not be touched.
	mu     sync.Mutex
	closed bool
}

// watch takes an answer in, if it is a stream.
func (st *Streams) watch(resp *http.Response, s *state) {
	kind := streamKind(resp)
	if kind == "" {
		return
	}
	one := &stream{set: st, kind: kind, state: s, body: resp.Body}
	if s.signedIn() {
		one.key = s.session.Record.Key()
	}
	key := one.key
	st.mu.Lock()
	if st.open[key] == nil {
		st.open[key] = make(map[*stream]struct{})
	}
	st.open[key][one] = struct{}{}
	shut := st.shut
	st.mu.Unlock()
	st.metrics.StreamOpened(kind)
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok && kind == streamWebSocket {
		resp.Body = streamConn{one, conn}
	} else {
		resp.Body = one
	}
	if shut && kind != streamDownload {
		one.cut("shutting down")
	}
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
	return o.body.Close()
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
	_ = o.body.Close()
	w := o.state.writer
	if w == nil {
		return
	}
	// The request may be waiting for a client that neither reads nor writes.
	if conn := w.conn.Load(); conn != nil {
		_ = (*conn).Close()
	} else if o.kind != streamWebSocket {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
	}
}

// streamConn is the stream of an upgraded connection, which is written to as well.
type streamConn struct {
	*stream
	io.Writer
}

func (st *Streams) forget(o *stream) {
	st.mu.Lock()
	delete(st.open[o.key], o)
	if len(st.open[o.key]) == 0 {
		delete(st.open, o.key)
	}
	st.mu.Unlock()
	st.metrics.StreamClosed(o.kind)
}

// End cuts the streams of sessions that have ended. It is meant for [session.Manager.OnEnd].
func (st *Streams) End(ids []session.ID) {
	ended := make(map[session.ID]bool, len(ids))
	for _, id := range ids {
		ended[id] = true
	}
	for _, o := range st.list(func(k session.Key, _ *stream) bool { return ended[k.ID] }) {
		o.cut("session ended")
	}
}

// Shutdown cuts the streams that would never end by themselves; downloads may finish.
func (st *Streams) Shutdown() {
	st.mu.Lock()
	st.shut = true
	st.mu.Unlock()
	for _, o := range st.list(func(_ session.Key, o *stream) bool { return o.kind != streamDownload }) {
		o.cut("shutting down")
	}
}

// Run looks the sessions of open streams up until ctx is done.
func (st *Streams) Run(ctx context.Context) {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			st.Recheck(ctx)
		}
	}
}

// Recheck cuts the streams whose session is gone, expired, may no longer pass, or cannot be
// vouched for any more while Redis is away (design: Outage).
func (st *Streams) Recheck(ctx context.Context) {
	st.mu.Lock()
	keys := make([]session.Key, 0, len(st.open))
	for k := range st.open {
		if k != (session.Key{}) {
			keys = append(keys, k)
		}
	}
	st.mu.Unlock()
	for _, key := range keys {
		found, err := st.sessions.Check(ctx, key)
		if ctx.Err() != nil {
			return
		}
		why, spare := "session ended", func(*stream) bool { return false }
		switch {
		case errors.Is(err, session.ErrUnavailable):
			why = "session cannot be checked"
		case err == nil:
			why, spare = "role may no longer pass", func(o *stream) bool { return o.state.decision.Allows(found.Role) }
		}
		for _, o := range st.of(key) {
			if !spare(o) {
				o.cut(why)
			}
		}
	}
}

// of gives the open streams of one session.
func (st *Streams) of(key session.Key) []*stream {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Collect(maps.Keys(st.open[key]))
}

// list gives the open streams that match.
func (st *Streams) list(match func(session.Key, *stream) bool) []*stream {
	st.mu.Lock()
	defer st.mu.Unlock()
	var out []*stream
	for key, streams := range st.open {
		for o := range streams {
			if match(key, o) {
				out = append(out, o)
			}
		}
	}
	return out
}
