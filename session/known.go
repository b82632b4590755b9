package session

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ownWriteDoubt is how long after a write of our own an answer from the client-side cache that
// does not show it is checked with Redis. The cache is told of our own writes as of everybody's,
// a moment later: one in five reads right after a write was answered from before it (measured).
// The bound is generous: it is that of a connection that has silently died, and then some.
const ownWriteDoubt = 10 * time.Second

// entry is what this process knows of one session. All but the atomics is never changed.
type entry struct {
	tag  Tag
	name string // of the key, so that a hit builds none
	raw  string
	// record decoded from raw. nil: this process has ended the session.
	record *Record
	// wrote is when this process wrote the entry's state to Redis, zero when it was read from there.
	// Monotonic real time, not the injected clock.
	wrote time.Time

	verified atomic.Int64 // Unix nanoseconds by the injected clock
	// suspect: Redis said that the key has changed, and it has not been read since. Such a session
	// may have been revoked, so it is not served when Redis is away.
	suspect atomic.Bool
}

func (e *entry) doubts(now time.Time) bool {
	return !e.wrote.IsZero() && now.Sub(e.wrote) < ownWriteDoubt
}

// vouch notes that Redis stands for the entry at t. A busy session's entry is read by many cores:
// it is not written more often than matters.
func (e *entry) vouch(t time.Time) {
	if at := t.UnixNano(); at-e.verified.Load() > int64(100*time.Millisecond) {
		e.verified.Store(at)
	}
}

// entryOverhead is what an entry takes beside its texts, in bytes: the decoded record, the list and the
// map's slot; measured (TestSizesAreThoseOfTheHeap).
const entryOverhead = 420

// size is an estimate, a little above the truth. The text counts twice: it is kept, and what was read out of it
// takes as much. An entry read from Redis shares the text with the answer, one that was written does not.
func (e *entry) size() int { return 2*len(e.raw) + entryOverhead }

// knownSessions are the entries by ID, bounded in bytes (estimated). Past the bound the one unused for
// longest is forgotten; it is asked for and decoded again when it is used.
type knownSessions struct {
	limit int
	usage usage
	// dropReply forgets the answer of Redis under a key; nil when there is none.
	dropReply func(name string)

	mu    sync.Mutex
	lru   *simplelru.LRU[ID, *entry]
	bytes int
}

func newKnownSessions(limit int, u usage) *knownSessions {
	k := &knownSessions{limit: limit, usage: u}
	var err error
	k.lru, err = simplelru.NewLRU(math.MaxInt, func(_ ID, e *entry) { k.count(-e.size(), -1) })
	if err != nil { // only for a size below one
		panic(err)
	}
	return k
}

func (k *knownSessions) count(bytes, entries int) {
	k.bytes += bytes
	k.usage.changed(bytes, entries)
}

// get gives the entry of a key, nil when there is none. An ID alone is not enough: the tag is part
// of what was asked for.
func (k *knownSessions) get(key Key) *entry {
	k.mu.Lock()
	e, ok := k.lru.Get(key.ID)
	k.mu.Unlock()
	if !ok || e.tag != key.Tag {
		return nil
	}
	return e
}

func (k *knownSessions) put(id ID, e *entry) {
	k.mu.Lock()
	k.lru.Remove(id) // Add alone would not give back the old entry's bytes
	k.lru.Add(id, e)
	k.count(e.size(), 1)
	evicted := k.shrink()
	k.mu.Unlock()
	k.usage.evicted(evicted)
}

// shrink evicts until the entries fit, and gives how many went. What such an entry knew better than an answer of
// Redis that is still kept (this process has just written, or ended the session), nobody
// would know then: so the answer goes as well.
func (k *knownSessions) shrink() (evicted int) {
	for k.bytes > k.limit && k.lru.Len() > 1 {
		_, e, _ := k.lru.RemoveOldest()
		if k.dropReply != nil && e.doubts(time.Now()) {
			k.dropReply(e.name)
		}
		evicted++
	}
	return evicted
}

func (k *knownSessions) remove(id ID) {
	k.mu.Lock()
	k.lru.Remove(id)
	k.mu.Unlock()
}

// suspect marks an entry whose key has changed, and gives that key if a session is behind it.
func (k *knownSessions) suspect(id ID) (Key, bool) {
	k.mu.Lock()
	e, ok := k.lru.Peek(id)
	k.mu.Unlock()
	if !ok || e.record == nil {
		return Key{}, false
	}
	e.suspect.Store(true)
	return Key{Tag: e.tag, ID: id}, true
}

// of gives the IDs of a user's sessions. It looks at every entry: for what happens rarely.
func (k *knownSessions) of(userID string) []ID {
	k.mu.Lock()
	defer k.mu.Unlock()
	var ids []ID
	for _, e := range k.lru.Values() {
		if e.record != nil && e.record.User.ID == userID {
			ids = append(ids, e.record.ID)
		}
	}
	return ids
}
