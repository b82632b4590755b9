package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// replies are the answers of Redis kept in memory, of all connections together. The library's own store has a
// bound for each connection, of which there are as many as nodes and cores make, evicts what is in
// use as soon as anything else, says nothing of it, and takes twice the memory.
//
// What makes an answer worthless is the connection's business: it is told of changes, in the order of its answers,
// and all it holds is dropped when it breaks.
type replies struct {
	limit int
	usage usage
	// unsure: somebody has asked over a connection of which it is not known whether Redis tracks what is read there.
	unsure atomic.Bool

	mu    sync.RWMutex
	bytes int
	conns map[*replyConn]struct{}
}

// replyConn are the answers that came over one connection. Its fields are guarded by all.mu.
type replyConn struct {
	all   *replies
	held  map[string]*answer
	asked map[string]*question
	bytes int
	// first is evicted next, last was added or spared last.
	first, last *answer
	closed      bool
	// trusted: Redis takes CLIENT CACHING here. Nothing is kept before it has said so, for each connection anew: the
	// library makes them by itself, to whatever node and for whatever rights there are by then.
	trusted bool
}

// answer is one that is kept.
type answer struct {
	name       string // of the key
	val        rueidis.RedisMessage
	until      int64 // Unix milliseconds
	absent     bool  // there is no such key
	used       atomic.Bool
	prev, next *answer
}

// question is one under way, for all who ask the same meanwhile.
type question struct {
	until   int64
	discard bool // its answer is not to be kept, and nobody else may have it
	done    chan struct{}
	val     rueidis.RedisMessage
	err     error
}

var _ rueidis.CacheStore = (*replyConn)(nil)

// answerOverhead is what an answer takes beside its text and its key, in bytes: measured, with the map's
// slot (TestSizesAreThoseOfTheHeap).
const answerOverhead = 160

// size is an estimate, a little above the truth: memory comes in pieces up to an eighth larger than the text.
func (a *answer) size() int { return a.val.CacheSize()*9/8 + len(a.name) + answerOverhead }

// maxSpared bounds how many answers in use an eviction passes over, so that it never takes long.
const maxSpared = 16

// cachedCommand is the only one whose answers are kept.
const cachedCommand = "GET"

// trackingCommand is what tracks asks, with the key taken out as the library does.
const trackingCommand = "CLIENTYES"

func newReplies(limit int, u usage) *replies {
	return &replies{limit: limit, usage: u, conns: make(map[*replyConn]struct{})}
}

// connection gives a new connection its store.
func (a *replies) connection(rueidis.CacheStoreOption) rueidis.CacheStore {
	return &replyConn{all: a, held: make(map[string]*answer), asked: make(map[string]*question)}
}

// drop forgets the answer under a key. Who asks from now on is not given that of a question under way.
func (a *replies) drop(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		c.remove(c.held[name])
		if q := c.asked[name]; q != nil {
			q.discard = true
		}
	}
}

// Flight gives the answer kept, or the question under way to wait for, or neither: then the caller asks.
func (c *replyConn) Flight(name, command string, ttl time.Duration, now time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	if command != cachedCommand {
		return rueidis.RedisMessage{}, nil
	}
	ms := now.UnixMilli()
	c.all.mu.RLock()
	if r := c.held[name]; r != nil && ms < r.until {
		val := r.val
		if !r.used.Load() { // a line that all cores read is not written for each of them
			r.used.Store(true)
		}
		c.all.mu.RUnlock()
		return val, nil
	}
	c.all.mu.RUnlock()
	return c.ask(name, ttl, ms)
}

func (c *replyConn) ask(name string, ttl time.Duration, ms int64) (rueidis.RedisMessage, rueidis.CacheEntry) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.closed {
		return rueidis.RedisMessage{}, nil
	}
	if !c.trusted {
		c.all.unsure.Store(true)
		return rueidis.RedisMessage{}, nil
	}
	if r := c.held[name]; r != nil {
		if ms < r.until { // it came between the two locks
			return r.val, nil
		}
		c.remove(r)
	}
	if q := c.asked[name]; q != nil {
		if q.discard { // it stays until it is answered: answers are told apart by their keys alone
			return rueidis.RedisMessage{}, nil
		}
		return rueidis.RedisMessage{}, q
	}
	c.all.conns[c] = struct{}{} // not before: a connection that fails at once is never closed
	c.asked[name] = &question{until: ms + ttl.Milliseconds(), done: make(chan struct{})}
	return rueidis.RedisMessage{}, nil
}

// Update takes the answer to a question and says until when it holds. The server's time to live shortens ours.
func (c *replyConn) Update(name, command string, val rueidis.RedisMessage) int64 {
	c.all.mu.Lock()
	if command == trackingCommand {
		c.trusted = true
	}
	q := c.asked[name]
	if q == nil {
		c.all.mu.Unlock()
		return 0
	}
	delete(c.asked, name)
	until := q.until
	if at := val.CachePXAT(); at > 0 && at < until {
		until = at
	}
	err, evicted := val.Error(), 0
	if absent := rueidis.IsRedisNil(err); !q.discard && (err == nil || absent) {
		c.add(&answer{name: name, val: val, until: until, absent: absent})
		evicted = c.all.shrink()
	}
	c.all.mu.Unlock()
	q.land(val, nil)
	c.all.usage.evicted(evicted)
	return until
}

// Cancel ends a question without an answer.
func (c *replyConn) Cancel(name, command string, err error) {
	c.all.mu.Lock()
	if _, refused := reply(err); refused && command == trackingCommand {
		c.distrust()
	}
	q := c.asked[name]
	delete(c.asked, name)
	c.all.mu.Unlock()
	if q != nil {
		q.land(rueidis.RedisMessage{}, err)
	}
}

// distrust drops everything, what is under way too: Redis does not track it.
func (c *replyConn) distrust() {
	c.trusted = false
	c.clear()
	for _, q := range c.asked {
		q.discard = true
	}
}

// Delete drops the answers under keys that have changed, nil: all. Questions go on, by the order of
// the connection their answers are newer.
func (c *replyConn) Delete(keys []rueidis.RedisMessage) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if keys == nil {
		c.clear()
		return
	}
	for i := range keys {
		if name, err := keys[i].ToString(); err == nil {
			c.remove(c.held[name])
		}
	}
}

// Close drops everything: nobody tells of changes any more.
func (c *replyConn) Close(err error) {
	c.all.mu.Lock()
	c.closed = true
	c.clear()
	asked := c.asked
	c.asked = nil
	delete(c.all.conns, c)
	c.all.mu.Unlock()
	for _, q := range asked {
		q.land(rueidis.RedisMessage{}, err)
	}
}

func (q *question) land(val rueidis.RedisMessage, err error) {
	q.val, q.err = val, err
	close(q.done)
}

// Wait gives the answer, or ctx's error when that ends first.
func (q *question) Wait(ctx context.Context) (rueidis.RedisMessage, error) {
	select {
	case <-q.done:
		return q.val, q.err
	case <-ctx.Done():
		return rueidis.RedisMessage{}, ctx.Err()
	}
}
