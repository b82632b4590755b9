package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/telemetry"
)

// MinBeginning is how many characters of a session ID name it at least: as many as logs show.
const MinBeginning = 8

// ErrAmbiguous: more than one session's ID begins as given.
var ErrAmbiguous = errors.New("session: more than one session begins like this")

// errWithoutScan: the store cannot be gone through.
var errWithoutScan = errors.New("this store cannot be gone through session by session")

// Operator is what operators do with sessions, by the command line or the admin API. Safe for concurrent use.
//
// Show, List, Revoke and RevokeUser see what the gateways see: while sessions move, those of the application's
// table as well. Each, Stats and Audit look at Redis only.
type Operator struct {
	m *Manager
	// redis is nil for stores that have none.
	redis *RedisStore
	// both is nil unless sessions move.
	both *MigratingStore
}

// NewOperator works through a manager; closing that is its owner's.
func NewOperator(m *Manager) *Operator {
	o := &Operator{m: m}
	switch store := m.store.(type) {
	case *RedisStore:
		o.redis = store
	case *MigratingStore:
		o.redis, o.both = store.redis, store
	}
	return o
}

// Show gives one live session. id is a session ID or a beginning of at least MinBeginning characters that no other
// session's has. With userID "" all sessions are looked through, by their keys' names, which on a full
// server takes seconds; otherwise that user's.
//
// ErrNotFound, also when what there is cannot be read and so is no session; ErrAmbiguous, with the IDs;
// ErrUnavailable; ctx's error.
func (o *Operator) Show(ctx context.Context, id, userID string) (*Record, error) {
	if err := checkBeginning(id); err != nil {
		return nil, err
	}
	found, err := o.candidates(ctx, id, userID)
	if err != nil {
		return nil, err
	}
	now := o.m.clock()
	found = slices.DeleteFunc(found, func(r *Record) bool { return !o.m.alive(r, now) })
	switch len(found) {
	case 0:
		return nil, ErrNotFound
	case 1:
		return found[0], nil
	}
	ids := make([]string, 0, len(found))
	for _, r := range found {
		ids = append(ids, r.ID.String())
	}
	slices.Sort(ids)
	return nil, fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(ids, ", "))
}

// IsBeginning reports whether a session ID can begin like this.
func IsBeginning(id string) bool { return checkBeginning(id) == nil }

// checkBeginning refuses what cannot be of an ID. It never repeats it: it may be a token, which people
// mistake for the ID.
func checkBeginning(id string) error {
	if _, token := ParseToken(id); token {
		return fmt.Errorf("%w: this is a session's token, not its ID, and whoever has it is logged in; end that session, and use its ID", ErrNotFound)
	}
	if len(id) < MinBeginning || len(id) > encoding.EncodedLen(len(ID{})) {
		return fmt.Errorf("%w: give a session ID, or its first %d characters or more", ErrNotFound, MinBeginning)
	}
	for _, b := range []byte(id) {
		if !strings.ContainsRune("-_", rune(b)) && (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') {
			return fmt.Errorf("%w: session IDs are made of letters, digits, - and _ only", ErrNotFound)
		}
	}
	return nil
}

// candidates gives the sessions whose IDs begin with id, live or not.
func (o *Operator) candidates(ctx context.Context, id, userID string) ([]*Record, error) {
	if userID == "" {
		return o.everywhere(ctx, id)
	}
	all, err := o.m.List(ctx, userID)
	if err != nil {
		return nil, err
	}
	mine := slices.DeleteFunc(all, func(r *Record) bool { return !strings.HasPrefix(r.ID.String(), id) })
	whole, ok := ParseID(id)
	if len(mine) > 0 || !ok || o.redis == nil {
		return mine, nil
	}
	// By its whole ID a session is found that its user's index has lost.
	found, err := o.redis.findFresh(ctx, Key{Tag: TagOf(userID), ID: whole})
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case err != nil || found.Record.User.ID != userID:
		return nil, nil
	case o.both != nil:
		return o.both.counting(ctx, found.Record)
	}
	return []*Record{found.Record}, nil
}

func (o *Operator) everywhere(ctx context.Context, id string) ([]*Record, error) {
	if o.redis == nil {
		return nil, unavailable(errWithoutScan)
	}
	inRedis, err := o.redis.beginning(ctx, id)
	if err != nil || o.both == nil {
		return inRedis, err
	}
	return o.both.beginning(ctx, id, inRedis)
}

// List gives the user's live sessions, oldest first. ErrUnavailable.
func (o *Operator) List(ctx context.Context, userID string) ([]*Record, error) {
	return o.m.List(ctx, userID)
}

// Revoke ends a session that Show or List has given. nil also when it has ended meanwhile. ErrUnconfirmed: the store
// could not be told; it is tried again until the manager is closed.
func (o *Operator) Revoke(ctx context.Context, rec *Record) error {
	err := o.m.revoke(ctx, rec.Key(), rec.User.ID, endRevoked)
	reason := "operator"
	if err != nil {
		reason = "unconfirmed"
	}
	o.m.audit(ctx, telemetry.Audit{Event: telemetry.EventRevoke, UserID: rec.User.ID, Session: rec.ID.Short(), Reason: reason})
	return err
}

// RevokeUser ends all sessions of a user but those in except, as [Manager.RevokeUser] does, and gives how many ended.
// ErrUnconfirmed as in Revoke.
func (o *Operator) RevokeUser(ctx context.Context, userID string, except ...ID) (int, error) {
	return o.m.RevokeUser(ctx, userID, except...)
}

// Each calls f for every session in Redis, in no order, or with ErrCorrupt for a record that cannot be read; it ends with
// f's error. Those that come or go meanwhile may be among them or not. progress may be nil; it is told how
// many of all of Redis's keys, not only sessions, have been looked at, and how many there are, 0 for unknown.
// ErrUnavailable; ctx's error.
func (o *Operator) Each(ctx context.Context, progress func(done, total int64), f func(*Record, error) error) error {
	if o.redis == nil {
		return unavailable(errWithoutScan)
	}
	now := o.m.clock()
	return o.redis.each(ctx, progress, func(rec *Record, err error) error {
		if err == nil && !o.m.alive(rec, now) {
			return nil
		}
		return f(rec, err)
	})
}
