package session

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// changeRounds bounds how often ChangeSecrets starts over because others were faster. Each round
// means that another change got through.
const changeRounds = 32

// Secrets opens what the session keeps sealed; nil when there is nothing. The result is the caller's.
func (m *Manager) Secrets(rec *Record, token string) ([]byte, error) {
	return unseal(token, rec.ID, rec.Sealed)
}

// ChangeSecrets replaces the session's secrets by what change makes of them. It compares and sets:
// change may be called several times, each time with the secrets as they are then, and its error
// ends it. Nothing is written when it changes nothing. A change is a use of the session and
// prolongs it. ErrNotFound: the session has ended, it is not brought back. ErrUnavailable. ErrTooLarge.
func (m *Manager) ChangeSecrets(ctx context.Context, token string, change func(old []byte) ([]byte, error)) error {
	key, ok := ParseToken(token)
	if !ok || m.endings.session(key.ID, m.clock()) {
		return ErrNotFound
	}
	found, err := m.store.Find(ctx, key)
	if err != nil {
		return corruptIsAbsent(err)
	}
	current := found.Record
	for range changeRounds {
		now := m.clock().UTC().Truncate(time.Millisecond)
		ttl := m.policy.ttl(current, now)
		if m.policy.expired(current, now) || m.endings.user(current) || ttl <= 0 {
			return ErrNotFound
		}
		next, err := m.withSecrets(current, token, change)
		if err != nil || next == nil {
			return err
		}
		next.LastAccessed = now
		err = m.store.Replace(ctx, current, next, ttl)
		var conflict *ConflictError
		if !errors.As(err, &conflict) {
			return corruptIsAbsent(err)
		}
		current = conflict.Current
	}
	return ErrConflict
}

// withSecrets gives the record with changed secrets, nil when they do not change.
func (m *Manager) withSecrets(current *Record, token string, change func(old []byte) ([]byte, error)) (*Record, error) {
	old, err := unseal(token, current.ID, current.Sealed)
	if err != nil {
		return nil, err
	}
	secrets, err := change(bytes.Clone(old))
	if err != nil || bytes.Equal(old, secrets) {
		return nil, err
	}
	next := current.Clone()
	next.Sealed, err = seal(token, current.ID, secrets)
	return next, err
}

func corruptIsAbsent(err error) error {
	if errors.Is(err, ErrCorrupt) {
		return ErrNotFound
	}
	return err
}
