package login

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"gatehouse/session"
)

// maxQueued bounds the cookies of one session that wait for Redis.
const maxQueued = 128

// errNothingNew ends a ChangeSecrets whose outcome would be what is stored already.
var errNothingNew = errors.New("login: nothing new")

// vaultState is what the vault holds of one session in memory.
type vaultState struct {
	mu sync.Mutex
	// opened is what sealed holds.
	sealed []byte
	opened *jar
	// written is what this replica wrote last; it goes before older records until freshUntil.
	written    *jar
	freshUntil time.Time

	// queue holds changes that are not saved yet, at most one per cookie: an overlay over the jar.
	queue []queued
	// last is the highest number given to a change, saved the highest that has been written.
	last, saved uint64
	// saving is closed when the write that is under way ends; nil when there is none. One at a time,
	// so that a slow write cannot put back what a later one has changed.
	saving  chan struct{}
	lastErr error
	tried   time.Time
}

type queued struct {
	change
	number uint64
}

// pending lists the waiting changes. The caller holds mu.
func (s *vaultState) pending() []change {
	changes := make([]change, 0, len(s.queue))
	for _, q := range s.queue {
		changes = append(changes, q.change)
	}
	return changes
}

// due reports whether a retry is worth it now.
func (s *vaultState) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0 && s.saving == nil && now.Sub(s.tried) >= retryEvery
}

func (s *vaultState) unsaved() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

func (s *vaultState) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.written, s.opened, s.sealed = nil, nil, nil, nil
}

// add queues changes and returns the number of the last one. The caller holds mu.
func (s *vaultState) add(changes []change) (uint64, error) {
	var full error
	for _, c := range changes {
		s.queue = slices.DeleteFunc(s.queue, func(q queued) bool { return q.cookie.same(c.cookie) })
		if len(s.queue) >= maxQueued {
			full = ErrJarFull
			continue
		}
		s.last++
		s.queue = append(s.queue, queued{c, s.last})
	}
	return s.last, full
}

// save queues the changes and returns when they are written, or could not be. Changes of requests
// that run at the same time are written together: a page's twenty images, each answered with the
// application's cookie anew, cost two writes and not twenty.
func (v *Vault) save(ctx context.Context, rec *session.Record, token string, s *vaultState, changes []change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine, full := s.add(changes)
	for s.saved < mine {
		if s.saving == nil {
			v.writeQueue(ctx, rec, token, s)
		} else {
			under := s.saving
			s.mu.Unlock()
			<-under
			s.mu.Lock()
		}
		if s.saved < mine && s.lastErr != nil {
			return errors.Join(full, s.lastErr)
		}
	}
	return full
}

// retry writes what an outage has left over. The request that brings it along does not fail for it.
func (v *Vault) retry(rec *session.Record, token string, s *vaultState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 || s.saving != nil {
		return
	}
	v.writeQueue(context.Background(), rec, token, s)
	if s.lastErr != nil {
		v.log.Warn().Err(s.lastErr).Str("session", rec.ID.Short()).Msg("changes of the application's cookies still wait for Redis")
	}
}

// writeQueue writes all that is queued and sets lastErr. The caller holds mu, which is given
// back for the time of the write.
func (v *Vault) writeQueue(ctx context.Context, rec *session.Record, token string, s *vaultState) {
	batch, upTo := s.pending(), s.last
	done := make(chan struct{})
	s.saving, s.tried = done, v.clock()
	s.mu.Unlock()
	written, err := v.write(ctx, token, batch)
	s.mu.Lock()
	s.saving, s.lastErr = nil, err
	close(done)
	if errors.Is(err, session.ErrNotFound) {
		// Logged out meanwhile: there is nothing left to keep the cookies for.
		s.queue, s.written, s.lastErr = nil, nil, nil
		s.saved = s.last
		return
	}
	if err != nil {
		return
	}
	s.queue = slices.DeleteFunc(s.queue, func(q queued) bool { return q.number <= upTo })
	s.saved = upTo
	s.written, s.freshUntil = written, v.clock().Add(freshFor)
}

// write applies the batch to what the store holds at this moment, and gives what it holds then.
func (v *Vault) write(ctx context.Context, token string, batch []change) (*jar, error) {
	var written *jar
	// The client may go away any time; the application has changed its cookie all the same. The
	// store's own timeout bounds the call.
	err := v.sessions.ChangeSecrets(context.WithoutCancel(ctx), token, func(old []byte) ([]byte, error) {
		stored, err := decodeJar(old)
		if err != nil {
			return nil, err
		}
		next, _ := stored.apply(batch, v.clock()) // what does not fit was reported when it came
		if next == stored {
			written = stored
			return nil, errNothingNew
		}
		written = next
		return next.encode()
	})
	if err != nil && !errors.Is(err, errNothingNew) {
		return nil, err
	}
	return written, nil
}
