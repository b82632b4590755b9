package session

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tombstoneFor is how long an ended session's ID is remembered after the store confirmed the end.
// A store's cache may answer from before it for a moment; longer than any such moment is enough.
const tombstoneFor = 10 * time.Second

// endings are the sessions this replica refuses, whatever the store says: those it has just ended, and
// those whose end the store has not confirmed yet.
type endings struct {
	// count of all entries: with none, which is nearly always, a look costs no lock.
	count atomic.Int64

	mu       sync.Mutex
	sessions map[ID]time.Time // refused until then; zero: until confirmed
	users    map[string][]userEnding
	sweepAt  time.Time
}

// userEnding is an unconfirmed revocation of all of a user's sessions.
type userEnding struct {
	at     time.Time
	except []ID
}

func newEndings() *endings {
	return &endings{sessions: map[ID]time.Time{}, users: map[string][]userEnding{}}
}

// session reports whether the session is refused.
func (e *endings) session(id ID, now time.Time) bool {
	if e.count.Load() == 0 {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sweep(now)
	_, ok := e.sessions[id]
	return ok
}

// user reports whether the record falls under an unconfirmed revocation of all sessions of its
// user. Sessions made after that are not meant.
func (e *endings) user(r *Record) bool {
	if e.count.Load() == 0 {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.users[r.User.ID], func(u userEnding) bool {
		return !r.CreatedAt.After(u.at) && !slices.Contains(u.except, r.ID)
	})
}

// refuse refuses sessions until they are confirmed.
func (e *endings) refuse(ids ...ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		e.sessions[id] = time.Time{}
	}
	e.recount()
}

// confirm lets the refusal of sessions end tombstoneFor after now.
func (e *endings) confirm(now time.Time, ids ...ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sweep(now)
	for _, id := range ids {
		e.sessions[id] = now.Add(tombstoneFor)
	}
	e.recount()
}

func (e *endings) refuseUser(userID string, at time.Time, except []ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users[userID] = append(e.users[userID], userEnding{at: at, except: slices.Clone(except)})
	e.recount()
}

// confirmUser takes back refuseUser with the same time.
func (e *endings) confirmUser(userID string, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users[userID] = slices.DeleteFunc(e.users[userID], func(u userEnding) bool { return u.at.Equal(at) })
	if len(e.users[userID]) == 0 {
		delete(e.users, userID)
	}
	e.recount()
}

// sweep forgets what is over, at most once a second: the map is as large as the sessions ended within tombstoneFor.
func (e *endings) sweep(now time.Time) {
	if now.Before(e.sweepAt) {
		return
	}
	e.sweepAt = now.Add(time.Second)
	for id, until := range e.sessions {
		if !until.IsZero() && now.After(until) {
			delete(e.sessions, id)
		}
	}
	e.recount()
}

func (e *endings) recount() { e.count.Store(int64(len(e.sessions) + len(e.users))) }
