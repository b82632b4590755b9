package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/telemetry"
)

// MaxAttribute bounds a name, role or email that a [Change] sets, in bytes. Percent-encoded as an identity header it
// is three times that, which still is a header every application takes.
const MaxAttribute = 512

// ErrInvalidChange: a value of a Change cannot be kept, or could not be sent to the application. Its text says which and
// why, and does not repeat the value.
var ErrInvalidChange = errors.New("session: this change is not possible")

// Change is what shall be different about a user in all of his sessions. nil leaves an attribute as it is.
type Change struct {
	Name, Role    *string
	EmailVerified *bool
	Email         *string
}

// Change writes c into all live sessions of a user, one after the other, by compare-and-set: what a session holds
// otherwise stays (its limits, its remaining idle time, fields of other versions), a session that ends meanwhile stays
// ended, and a renewal that is under way with the old copy is refused. It gives how many sessions are different now; those that
// had the values already are not written and not counted.
//
// A login that has asked its backend before is not seen: the backend is to be changed first. Two calls
// for the same attribute at the same time may leave some sessions with the one and some with the other value.
//
// Sessions in the application's own table are left alone: they take these attributes from its users
// table each time they are read.
//
// ErrInvalidUser and ErrInvalidChange: nothing has changed. ErrTooLarge: nothing has changed, a session's record would become larger than
// MaxRecordSize. ErrUnavailable, and ErrConflict when others changed the same session all the time: the sessions counted are
// changed, the rest are not; the same call again goes on.
func (m *Manager) Change(ctx context.Context, userID string, c Change) (changed int, err error) {
	if !validUserID(userID) {
		return 0, ErrInvalidUser
	}
	if err := c.check(); err != nil || c == (Change{}) {
		return 0, err
	}
	changed, err = m.changeAll(ctx, userID, c)
	if changed > 0 {
		m.metrics.SessionsChanged(changed)
		m.audit(ctx, telemetry.Audit{Event: telemetry.EventChange, UserID: userID, Reason: c.summary(), Count: changed})
	}
	return changed, err
}

// changeAll goes through the user's sessions, and once more when one was gone: while sessions come over
// from the application's table they get new IDs, and the old role must not slip through under one.
func (m *Manager) changeAll(ctx context.Context, userID string, c Change) (changed int, err error) {
	seen := make(map[ID]bool)
	for range changeRounds {
		all, err := m.store.List(ctx, userID)
		if err != nil {
			return changed, err
		}
		all = slices.DeleteFunc(all, func(r *Record) bool { return seen[r.ID] || inTable(r) })
		if err := c.fits(all); err != nil {
			return changed, err
		}
		gone := false
		for _, rec := range all {
			seen[rec.ID] = true
			switch written, err := m.changeOne(ctx, rec, c); {
			case errors.Is(err, ErrNotFound):
				gone = true
			case err != nil:
				return changed, err
			case written:
				changed++
			}
		}
		if !gone {
			return changed, nil
		}
	}
	return changed, ErrConflict
}

// changeOne changes one session and reports whether it had to. ErrNotFound: it has ended.
func (m *Manager) changeOne(ctx context.Context, rec *Record, c Change) (bool, error) {
	for range changeRounds {
		next := c.applied(rec)
		if next.User == rec.User {
			return false, nil
		}
		ttl, err := m.timeLeft(ctx, rec)
		if err != nil {
			return false, err
		}
		err = m.store.Replace(ctx, rec, next, ttl)
		var conflict *ConflictError
		if !errors.As(err, &conflict) {
			return err == nil, corruptIsAbsent(err)
		}
		rec = conflict.Current
	}
	return false, ErrConflict
}

// lasting is a store that says how long a session has left, by its own clock; zero: for ever.
type lasting interface {
	timeLeft(key Key) (time.Duration, error)
}

// timeLeft is the time to live a change leaves a session: what it has, as the store counts it. A change is no use of
// the session. Counted from LastAccessed instead, it would be wrong by how far the clocks of two replicas are apart, which
// can be longer than a short idle limit. When the session is renewed in between the compare-and-set fails, so the
// answer is never too old.
func (m *Manager) timeLeft(_ context.Context, rec *Record) (time.Duration, error) {
	if store, ok := m.store.(lasting); ok {
		if left, err := store.timeLeft(rec.Key()); left > 0 || err != nil {
			return left, err
		}
	}
	// A record without an end is damage; it gets back the one it should have.
	return m.policy.ttl(rec, rec.LastAccessed) - m.clock().Sub(rec.LastAccessed), nil
}

func (s *RedisStore) timeLeft(key Key) (time.Duration, error) {
	c, err := s.client()
	if err != nil {
		return 0, err
	}
	left, err := c.Do(s.deadlines.context(), c.B().Pttl().Key(s.keys.session(key)).Build()).AsInt64()
	if err != nil {
		return 0, s.failed(err)
	}
	s.breaker.report(nil)
	switch left {
	case -2:
		return 0, ErrNotFound
	case -1:
		return 0, nil
	}
	return time.Duration(max(left, 1)) * time.Millisecond, nil
}

func (m *MigratingStore) timeLeft(key Key) (time.Duration, error) { return m.redis.timeLeft(key) }

// applied gives a copy of the record with the change in it.
func (c Change) applied(rec *Record) *Record {
	next := rec.Clone()
	for _, a := range c.texts(&next.User) {
		if a.value != nil {
			*a.field = *a.value
		}
	}
	if c.EmailVerified != nil {
		next.EmailVerified = *c.EmailVerified
	}
	return next
}

// attribute is one of the changed texts, and where it goes.
type attribute struct {
	name         string
	value, field *string
}

func (c Change) texts(u *User) []attribute {
	return []attribute{{"name", c.Name, &u.Name}, {"role", c.Role, &u.Role}, {"email", c.Email, &u.Email}}
}

// check refuses what could not be kept as it is or not be sent on. The proxy leaves a raw-utf8 header with a control
// character out, and the application would take the user for one without role.
func (c Change) check() error {
	for _, a := range c.texts(new(User)) {
		if a.value == nil {
			continue
		}
		switch v := *a.value; {
		case !utf8.ValidString(v):
			return fmt.Errorf("%w: %s is not UTF-8", ErrInvalidChange, a.name)
		case len(v) > MaxAttribute:
			return fmt.Errorf("%w: %s is longer than %d bytes", ErrInvalidChange, a.name, MaxAttribute)
		case strings.ContainsFunc(v, unicode.IsControl):
			return fmt.Errorf("%w: %s holds a control character", ErrInvalidChange, a.name)
		case a.name != "name" && strings.TrimSpace(v) != v:
			// Roles are compared as they are, so such a one would fit no rule.
			return fmt.Errorf("%w: %s has a space at an end", ErrInvalidChange, a.name)
		}
	}
	return nil
}

// fits looks at all records before the first is written, so that a change is not left half done for its length.
func (c Change) fits(all []*Record) error {
	for _, rec := range all {
		if _, err := encodeRecord(c.applied(rec)); err != nil {
			return err
		}
	}
	return nil
}

// summary is for the audit line. Who got which role is what such a line is read for; a name or an email is
// nobody's business there.
func (c Change) summary() string {
	var parts []string
	if c.Role != nil {
		parts = append(parts, fmt.Sprintf("role=%q", *c.Role))
	}
	if c.EmailVerified != nil {
		parts = append(parts, fmt.Sprintf("emailVerified=%t", *c.EmailVerified))
	}
	for _, a := range c.texts(new(User)) {
		if a.value != nil && a.name != "role" {
			parts = append(parts, a.name)
		}
	}
	return strings.Join(parts, " ")
}
