package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"gatehouse/session"
)

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
			cutAll(st.ofKey(key), cutUnverified)
		}
		return false
	case err != nil:
		cutAll(st.ofKey(key), cutEnded)
		return true
	}
	cutAll(st.otherRole(key, found.Role), cutRole)
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
