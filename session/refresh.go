package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/telemetry"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/rs/zerolog"
)

// What [Refresh.Read] says when it gives no user. Any other error means that the backend could not be asked.
var (
	// ErrUserMissing: the backend was asked and has no such user. Never said of a question that failed.
	ErrUserMissing = errors.New("session: the login backend has no such user")
	// ErrUserRefused: there is such a user, who may not log in now: disabled, locked, not verified. Wrapped
	// around nothing that was asked for; its text may stand in a log.
	ErrUserRefused = errors.New("session: the user may not log in any more")
	// ErrUserUnreadable: what the backend says of this one user cannot be understood, and the reader has told the
	// operator. It says nothing about the user, nor about others.
	ErrUserUnreadable = errors.New("session: what the login backend says of the user cannot be read")
)

// Refresh is how the users of live sessions are read again from the login backend.
type Refresh struct {
	// Every is how long ago a user may have been read when a request is served. 0: users are not read again.
	Every time.Duration
	// Backend whose sessions are meant, as in Record.Backend.
	Backend string
	// Application: the sessions the application made itself (Record.Backend "") are meant too.
	Application bool
	// Read gives what the backend says of a user now (nil: it does not say, and sessions keep what they have), or an error
	// (ErrUserMissing ff.). It bounds its own time: many requests wait for one answer, so none of them can end it.
	Read func(ctx context.Context, userID string) (Change, error)
}

const (
	// refreshRetry is how long a user's session goes on as it is before a backend that could not be asked is asked again.
	refreshRetry = 10 * time.Second
	// refreshMemory bounds the users whose last look-up is remembered. Who is forgotten is looked up once more.
	refreshMemory = 100_000
	// refreshQueue bounds the users of open streams that wait to be looked up. Past it the stream's next check asks again.
	refreshQueue = 1024
	// refreshWorkers look them up. Few, so that streams leave the database's connections to requests.
	refreshWorkers = 2
)

// refresher reads users again. The time of a user's last look-up is this replica's own affair: in the record it
// would be a write for each, and each write takes the session out of every replica's memory.
//
// A request is served on a user read at most Every ago, as long as the backend answers: the first one after that waits
// for the look-up, and those that come meanwhile wait for the same one. While the backend cannot be asked,
// sessions go on as they are: an outage logs nobody out.
type refresher struct {
	cfg     Refresh
	manager *Manager
	clock   Clock
	log     zerolog.Logger
	metrics *telemetry.Metrics
	guard   *refreshGuard
	outage  refreshOutage
	queue   chan *Record
	workers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	users   *simplelru.LRU[string, *lookup]
	flights map[string]*flight
}

// RefreshUsers has the users of sessions read again. It must be called before the first session is asked for, once at most.
func (m *Manager) RefreshUsers(cfg Refresh) {
	if cfg.Every <= 0 || cfg.Read == nil {
		return
	}
	r := &refresher{
		cfg: cfg, manager: m, clock: m.clock, log: m.log, metrics: m.metrics, guard: newRefreshGuard(m.log, m.clock),
		outage: refreshOutage{log: m.log}, queue: make(chan *Record, refreshQueue), flights: map[string]*flight{},
	}
	var err error
	if r.users, err = simplelru.NewLRU[string, *lookup](refreshMemory, nil); err != nil { // only for a size below one
		panic(err)
	}
	for range refreshWorkers {
		r.workers.Go(r.work)
	}
	m.refresh = r
}

// flight is a look-up that is under way.
type flight struct {
	done   chan struct{}
	result *lookup
	err    error
}

// use is what a request that began to look for a session at began does with it: its user is read again if that is due, and it is
// prolonged. ErrNotFound: the user is gone, and so is the session.
func (m *Manager) use(ctx context.Context, s Session, began, now time.Time) (Session, error) {
	rec, stale, err := m.refresh.current(ctx, s.Record, began)
	if err != nil {
		return Session{}, err
	}
	if s.Source != FromKnown && !stale { // a stale copy would lose against what was just written
		s.Renew = m.renewals.request(s.Record, now)
	}
	s.Record = rec
	return s, nil
}

// current gives the record with its user as the backend says, waiting for a look-up that is due. stale: rec itself is older than
// what is in the store by now.
func (r *refresher) current(ctx context.Context, rec *Record, now time.Time) (current *Record, stale bool, err error) {
	if r == nil || !r.concerns(rec) {
		return rec, false, nil
	}
	last, f, first := r.board(rec.User.ID, now, true)
	if first {
		r.fly(ctx, rec, last, f)
	}
	if f != nil {
		<-f.done
		if last, err = f.result, f.err; err != nil {
			return nil, false, err
		}
	}
	current, stale = last.apply(rec, now)
	return current, stale, nil
}

// check is current for an open stream. It does not wait: one loop asks for all of them, and a slow database must not keep it from
// ending streams. What the look-up says is seen by the next check.
func (r *refresher) check(rec *Record, now time.Time) *Record {
	if r == nil || !r.concerns(rec) {
		return rec
	}
	last, f, first := r.board(rec.User.ID, now, false)
	if first && f == nil {
		r.enqueue(rec)
	}
	current, _ := last.apply(rec, now)
	return current
}

func (r *refresher) concerns(rec *Record) bool {
	return rec.Backend == r.cfg.Backend || rec.Backend == "" && r.cfg.Application
}

// board gives a user's last look-up, and the one under way if one is due. first: nobody has begun it yet, which is for the
// caller to do; then there is a flight only if the caller will wait for it.
func (r *refresher) board(userID string, now time.Time, wait bool) (last *lookup, f *flight, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, _ = r.users.Get(userID)
	if last != nil && !last.due(now, r.cfg.Every) {
		return last, nil, false
	}
	f, under := r.flights[userID]
	if !under && wait {
		f = &flight{done: make(chan struct{})}
		r.flights[userID] = f
	}
	return last, f, !under
}

// fly looks a user up and tells those who wait.
func (r *refresher) fly(ctx context.Context, rec *Record, last *lookup, f *flight) {
	userID := rec.User.ID
	f.err = fmt.Errorf("%w: the look-up of a user was cut short", ErrUnavailable) // by a panic: nobody may wait for ever
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if f.err == nil {
			r.users.Add(userID, f.result)
		} else {
			r.users.Remove(userID)
		}
		delete(r.flights, userID)
		close(f.done)
	}()
	// Whoever came first may go away: the others still want the answer.
	f.result, f.err = r.ask(context.WithoutCancel(ctx), rec, last)
}

// enqueue has a user looked up by a worker. Waiting twice does no harm: the second finds that it is not due.
func (r *refresher) enqueue(rec *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	select {
	case r.queue <- rec:
	default:
	}
}

func (r *refresher) work() {
	for rec := range r.queue {
		if last, f, first := r.board(rec.User.ID, r.clock(), true); first {
			r.fly(context.Background(), rec, last, f)
		}
	}
}

// close ends the workers, after what they are at.
func (r *refresher) close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	r.workers.Wait()
}
