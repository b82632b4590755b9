package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/redis/rueidis"
)

const (
	// leaderFor is how long a replica leads the clean-up without saying so again: should it die, another
	// takes over after that.
	leaderFor = 30 * time.Second
	// cleanupPause stands between two batches, so that the application's own questions get through.
	cleanupPause = 100 * time.Millisecond
)

// expired rows are deleted by one replica at a time, which holds a lock in Redis. Without Redis nobody
// does: it is no work that could not wait.
type cleanup struct {
	store *MigratingStore
	every time.Duration
	batch int
	id    string
}

// StartCleanup has expired rows deleted every so often, in batches, until the store is closed. It can
// be started once. The rows are the application's: it is off by default.
func (m *MigratingStore) StartCleanup(every time.Duration, batch int) {
	if every <= 0 {
		return
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	c := &cleanup{store: m, every: every, batch: batch, id: hex.EncodeToString(id[:])}
	m.running.Go(c.run)
}

func (c *cleanup) run() {
	for {
		if !c.wait(c.every) {
			return
		}
		if err := c.round(); err != nil {
			c.store.opts.Log.Warn().Err(err).Msg("expired rows of the sessions table could not be deleted; it is tried again")
		}
	}
}

// wait reports whether to go on.
func (c *cleanup) wait(d time.Duration) bool {
	select {
	case <-c.store.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// round deletes what has expired, if no other replica is at it.
func (c *cleanup) round() error {
	total := int64(0)
	for {
		leads, err := c.store.redis.lead(c.store.redis.keys.cleanupLeader(), c.id, max(leaderFor, c.every))
		if err != nil || !leads {
			return err
		}
		n, err := c.store.table.DeleteExpired(context.Background(), c.batch)
		if err != nil {
			return err
		}
		if total += n; n < int64(c.batch) {
			break
		}
		if !c.wait(cleanupPause) {
			break
		}
	}
	if total > 0 {
		c.store.opts.Log.Info().Int64("rows", total).Msg("expired rows of the sessions table have been deleted")
	}
	return nil
}

func (k keyspace) cleanupLeader() string { return k.prefix + "cleanup_leader" }

// lead takes a lock or keeps it, for ttl from now on, and reports whether it is held by id.
func (s *RedisStore) lead(name, id string, ttl time.Duration) (bool, error) {
	c, err := s.client()
	if err != nil {
		return false, err
	}
	err = c.Do(s.deadlines.context(), c.B().Set().Key(name).Value(id).Nx().PxMilliseconds(ttl.Milliseconds()).Build()).Error()
	if err == nil {
		return true, nil
	}
	if !rueidis.IsRedisNil(err) {
		return false, s.failed(err)
	}
	held, err := c.Do(s.deadlines.context(), c.B().Get().Key(name).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return false, s.failed(err)
	}
	if held != id {
		return false, nil
	}
	if err := c.Do(s.deadlines.context(), c.B().Pexpire().Key(name).Milliseconds(ttl.Milliseconds()).Build()).Error(); err != nil {
		return false, s.failed(err)
	}
	return true, nil
}
