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
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

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

// Redis tells when a session changes, and that one's streams are looked at within milliseconds. What it
// does not tell of (see [session.Manager.OnChange]) is found by looking all sessions up again.
const (
	// recheckEvery is the pause between two rounds over all sessions with open streams. A look-up is
	// mostly answered from memory.
	recheckEvery = time.Second
	// recheckers look sessions up at the same time. Few: while sessions are in the application's table each may
	// hold one of database.max_connections.
	recheckers = 4
	// recheckRate bounds the questions a round puts to Redis or the database, per second: after a lost
	// connection, and always without client tracking, no session is in memory, and thousands at once
	// would delay the requests of everybody.
	recheckRate = 2000
	// recheckWithin is how long a round may be stretched for that: with more sessions than fit at recheckRate
	// the rate is raised, for a session that has ended elsewhere must lose its streams in 30 s (X04). What is
	// left then is the store's own speed, recheckers look-ups at a time: 100,000 sessions in 25 s at 1 ms each.
	recheckWithin = 10 * time.Second
)

// Streams are the answers that outlive their request's first moment: WebSockets, server-sent events,
// downloads. Those of logged-in users end when their session does, here or elsewhere, and when it gets
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

// stream is one open answer. Its body is the application's, closing it ends both sides.
type stream struct {
	set   *Streams
	kind  string
	state *state
	key   session.Key // zero: nobody is logged in
	role  string      // as the application was told
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
		one.key, one.role = s.session.Record.Key(), s.session.Record.Role
	}
	id := one.key.ID
	st.mu.Lock()
	if st.open[id] == nil {
		st.open[id] = make(map[*stream]struct{})
	}
	st.open[id][one] = struct{}{}
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
	// The session may have ended while the application was thinking, when there was no stream to end yet.
	st.Changed(id)
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
		w.deadline(longAgo)
	}
}

// streamConn is the stream of an upgraded connection, which is written to as well.
type streamConn struct {
	*stream
	io.Writer
}

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
			o.cut("session ended")
		}
	}
}

// Changed has the streams of a session looked at whose record has changed or gone, on whichever replica. It
// is meant for [session.Manager.OnChange]: it runs on the connection to Redis and waits for nothing.
func (st *Streams) Changed(id session.ID) {
	if id.IsZero() {
		return // nobody's
	}
	st.mu.Lock()
	for o := range st.open[id] {
		if !st.waits[o.key] {
			st.waits[o.key] = true
			st.due = append(st.due, o.key)
		}
	}
	work := len(st.due) > 0
	st.mu.Unlock()
	if work {
		select {
		case st.wake <- struct{}{}:
		default: // everybody is woken already
		}
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

// Run looks the sessions of open streams up until ctx is done: those that change at once, and all of them
// every recheckEvery.
func (st *Streams) Run(ctx context.Context) {
	var followers sync.WaitGroup
	defer followers.Wait()
	for range recheckers {
		followers.Go(func() { st.follow(ctx) })
	}
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

// follow looks up sessions that have changed.
func (st *Streams) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.wake:
		}
		for key, ok := st.next(); ok; key, ok = st.next() {
			st.check(ctx, key, false)
		}
	}
}

// next takes a changed session out, before it is looked up: should it change again meanwhile, it is due again.
func (st *Streams) next() (session.Key, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.due) == 0 {
		st.due = nil // not the whole array for the sake of one rush
		return session.Key{}, false
	}
	key := st.due[0]
	st.due = st.due[1:]
	delete(st.waits, key)
	return key, true
}

// Recheck looks every session with open streams up once, and cuts the streams whose session is gone, expired,
// has another role, or cannot be vouched for any more while Redis is away (design: Outage).
func (st *Streams) Recheck(ctx context.Context) {
	keys := st.keys()
	perSecond := max(recheckRate, float64(len(keys))/recheckWithin.Seconds())
	budget := rate.NewLimiter(rate.Limit(perSecond), recheckers)
	var taken atomic.Int64
	var workers sync.WaitGroup
	for range min(recheckers, len(keys)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				n := int(taken.Add(1))
				if n > len(keys) {
					return
				}
				if st.check(ctx, keys[n-1], true) {
					_ = budget.Wait(ctx) // an error is ctx's end
				}
			}
		})
	}
	workers.Wait()
}

// check looks a session up and cuts those of its streams that may not go on. It reports whether a store was asked.
//
// Only a round cuts streams for a session that cannot be looked up. Most changes are renewals, and a Redis
// that is slow for once must not cost a stream just then.
func (st *Streams) check(ctx context.Context, key session.Key, round bool) (asked bool) {
	found, err := st.sessions.Check(ctx, key)
	if ctx.Err() != nil {
		return false
	}
	switch {
	case errors.Is(err, session.ErrUnavailable):
		if round {
			cutAll(st.ofKey(key), "session cannot be checked")
		}
		return false
	case err != nil:
		cutAll(st.ofKey(key), "session ended")
		return true
	}
	cutAll(st.otherRole(key, found.Role), "the session's role has changed")
	return found.Source != session.FromCache && found.Source != session.FromKnown
}

func cutAll(streams []*stream, why string) {
	for _, o := range streams {
		o.cut(why)
	}
}

// keys gives the sessions with open streams.
func (st *Streams) keys() []session.Key {
	st.mu.Lock()
	defer st.mu.Unlock()
	keys := make([]session.Key, 0, len(st.open))
	for id, streams := range st.open {
		if id.IsZero() {
			continue
		}
		from := len(keys)
		for o := range streams {
			if !slices.Contains(keys[from:], o.key) {
				keys = append(keys, o.key)
			}
		}
	}
	return keys
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

// otherRole gives those whose application was told another role. Mostly there are none, and a round makes no garbage.
func (st *Streams) otherRole(key session.Key, role string) (out []*stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for o := range st.open[key.ID] {
		if o.key == key && o.role != role {
			out = append(out, o)
		}
	}
	return out
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
