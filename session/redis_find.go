package session

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
)

// clientTTL bounds how long a session may be answered from memory without asking Redis again, in
// case an invalidation was lost. Redis's own time to live shortens it.
const clientTTL = 5 * time.Minute

// Find gives the session under key. When it is in memory, and Redis has said nothing else since,
// that takes no round trip and makes no garbage.
func (s *RedisStore) Find(_ context.Context, key Key) (Found, error) {
	e := s.known.get(key)
	c, err := s.client()
	if err != nil {
		return lastKnown(e), err
	}
	var name string
	if e != nil {
		name = e.name
	} else {
		name = s.keys.session(key)
	}
	told := s.invalidations.Load()
	ctx := s.deadlines.context()
	reply := c.DoCache(ctx, c.B().Get().Key(name).Cache(), clientTTL)
	raw, err := reply.ToString()
	hit := reply.IsCacheHit()
	if err == nil && hit && e != nil && e.record != nil && e.raw == raw && !e.suspect.Load() {
		now := s.clock()
		e.vouch(now)
		return Found{Record: e.record, Source: FromCache, VerifiedAt: now}, nil
	}
	found, err := s.found(ctx, c, key, name, e, raw, hit, err)
	if err == nil && s.invalidations.Load() != told {
		// It may have been this session's, and have come before there was an entry to mark. It is
		// read again, should Redis go away before that it does not count as known.
		s.known.suspect(key.ID)
	}
	return found, err
}

// found is Find when the answer is not what is in memory. Both questions share one deadline: a connection that breaks
// after a while of silence would cost a request two.
func (s *RedisStore) found(ctx context.Context, c rueidis.Client, key Key, name string, e *entry, raw string, hit bool, err error) (Found, error) {
	// A full server (maxmemory) refuses the transaction the cache needs, and a lost connection ends
	// it; a plain GET works, or says what is the matter. The same goes for an answer of the cache
	// from before our own last write.
	doubt := hit && e != nil && (e.record == nil || e.raw != raw) && e.doubts(time.Now())
	if errors.Is(err, rueidis.ErrDoCacheAborted) || isFull(err) || doubt && (err == nil || rueidis.IsRedisNil(err)) {
		hit = false
		raw, err = c.Do(ctx, c.B().Get().Key(name).Build()).ToString()
	}
	switch {
	case rueidis.IsRedisNil(err):
		if !hit {
			s.breaker.report(nil)
		}
		if e != nil && e.record != nil {
			s.known.remove(key.ID)
		}
		return Found{}, ErrNotFound
	case err != nil:
		return lastKnown(e), s.failed(err)
	}
	source := FromCache
	if !hit {
		source = FromStore
		s.breaker.report(nil)
	}
	now := s.clock()
	if e != nil && e.record != nil && e.raw == raw && !e.suspect.Load() {
		e.vouch(now)
		return Found{Record: e.record, Source: source, VerifiedAt: now}, nil
	}
	record, err := s.decode(e, raw, key)
	if err != nil {
		s.known.remove(key.ID)
		return Found{}, err
	}
	s.remember(key, name, record, time.Time{})
	return Found{Record: record, Source: source, VerifiedAt: now}, nil
}

func (s *RedisStore) decode(e *entry, raw string, key Key) (*Record, error) {
	if e != nil && e.record != nil && e.raw == raw {
		return e.record, nil
	}
	return decodeRecord(raw, key)
}

// remember keeps a record that Redis has just vouched for. wrote is set when this process wrote it.
func (s *RedisStore) remember(key Key, name string, record *Record, wrote time.Time) {
	e := &entry{tag: key.Tag, name: name, record: record, wrote: wrote}
	if record != nil {
		e.raw = record.raw
	}
	e.verified.Store(s.clock().UnixNano())
	s.known.put(key.ID, e)
}

// forget notes that this process has ended the session, so that no stale answer of the
// cache brings it back.
func (s *RedisStore) forget(key Key) {
	s.remember(key, s.keys.session(key), nil, time.Now())
}

// lastKnown is what memory holds of a session while Redis cannot be asked. A session that Redis
// said has changed is not among it: the change may have been its end.
func lastKnown(e *entry) Found {
	if e == nil || e.record == nil || e.suspect.Load() {
		return Found{}
	}
	return Found{Record: e.record, Source: FromKnown, VerifiedAt: time.Unix(0, e.verified.Load())}
}
