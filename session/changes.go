package session

import (
	"slices"
	"sync"
	"sync/atomic"
)

// listeners are told which sessions have changed. The zero value has none.
type listeners struct {
	mu  sync.Mutex
	all atomic.Pointer[[]func(id ID)]
}

func (l *listeners) add(f func(id ID)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []func(id ID)
	if old := l.all.Load(); old != nil {
		all = slices.Clone(*old)
	}
	all = append(all, f)
	l.all.Store(&all)
}

// tell takes no lock and makes no garbage: it runs on the connection, for every key that changes.
func (l *listeners) tell(id ID) {
	if all := l.all.Load(); all != nil {
		for _, f := range *all {
			f(id)
		}
	}
}

// OnChange has f called with each session of which Redis says that its record has changed or gone:
// revoked, expired, renewed, given another role, by this replica, another one or by hand. What has
// become of it [Manager.Check] tells, which asks Redis again, so that a policy is applied in one place.
//
// It is a hint, and no promise. Redis tells only of sessions this process has read since their last change,
// a lost connection and FLUSHALL name no session, and neither a Redis without client tracking nor
// the application's table tells anything. Who must know asks Check every so often as well.
//
// f is called on the connection to Redis, which carries everybody's answers: it must not wait and not ask
// the manager.
func (m *Manager) OnChange(f func(id ID)) {
	if store, ok := m.store.(interface{ onChange(f func(id ID)) }); ok {
		store.onChange(f)
	}
}

func (s *RedisStore) onChange(f func(id ID)) { s.listeners.add(f) }

// onChange tells of what is in Redis: sessions that were born there, have come over, or have a copy there.
func (m *MigratingStore) onChange(f func(id ID)) { m.redis.onChange(f) }
