package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The errors of a [Store] and the [Manager]. They are compared with errors.Is.
var (
	// ErrNotFound: there is no such session. It never existed, ended, or was revoked.
	ErrNotFound = errors.New("session: not found")
	// ErrUnavailable: the store could not be asked. It says nothing about the session.
	// Wrapped around the cause.
	ErrUnavailable = errors.New("session: store unavailable")
	// ErrCorrupt: the store holds something under this ID that is not this session's record
	// (truncated, another ID inside, a newer schema). To a request it is no session.
	ErrCorrupt = errors.New("session: corrupt record")
	// ErrConflict: the record has changed since it was read.
	ErrConflict = errors.New("session: record changed meanwhile")
	// ErrSuperseded: all sessions of the user were revoked after this login began.
	ErrSuperseded = errors.New("session: sessions were revoked while logging in")
	// ErrLimit: the user has as many sessions as allowed and the policy is to refuse.
	ErrLimit = errors.New("session: too many sessions")
	// ErrTooLarge: the record is larger than MaxRecordSize.
	ErrTooLarge = errors.New("session: record too large")
	// ErrInvalidUser: the user ID is empty or not UTF-8. The login backend must not give such an ID.
	ErrInvalidUser = errors.New("session: user ID is empty or not UTF-8")
	// errMigrated: the row of the application's table is marked as moved to Redis. By itself it is no session
	// any more, whatever happens to Redis: it may have been revoked there.
	errMigrated = fmt.Errorf("%w: moved to Redis", ErrNotFound)
	// ErrUnconfirmed: this replica refuses the session from now on, but the store could not be
	// told yet. The revocation is retried until the store confirms it.
	ErrUnconfirmed = errors.New("session: revocation not confirmed yet")
)

// ConflictError is the ErrConflict of [Store.Replace]. It carries what the store holds now, so that a
// compare-and-set can go on from there without reading again, past any cache.
type ConflictError struct {
	Current *Record
}

// Error says what happened.
func (*ConflictError) Error() string { return ErrConflict.Error() }

// Is makes it an ErrConflict.
func (*ConflictError) Is(target error) bool { return target == ErrConflict }

// Source says where a session was found.
type Source string

// The sources, which are also the label values of the metric for session finds.
const (
	FromCache Source = "cache" // this process's memory, kept honest by Redis's invalidations
	FromStore Source = "redis" // a round trip to the store
	FromKnown Source = "known" // the store is away, the session was verified not long ago
	// FromDatabase is the application's own sessions table.
	FromDatabase Source = "database"
)

// Epoch is a point in the order of logins and revocations of all users, given out by the
// store. A login takes one before it looks at any credential; when all sessions of the user
// are revoked after that, the epoch is too old and [Store.Create] refuses it. Each store has an order
// of its own, and while sessions move from one to the other a login takes a point in both: where
// its session goes is not known before its user is.
type Epoch struct {
	redis, database       int64
	hasRedis, hasDatabase bool
}

// Found is what a store knows of a session.
type Found struct {
	// Record is shared between callers and never changed; take a Clone to change it.
	Record *Record
	Source Source
	// VerifiedAt is when the store last vouched for the record, by the injected clock.
	VerifiedAt time.Time
}

// CreateOptions is what the store must hold true while it adds a session.
type CreateOptions struct {
	// Began is the login's epoch.
	Began Epoch
	// TTL after which the store forgets the session, measured by the store's own clock.
	TTL time.Duration
	// MaxPerUser bounds the user's sessions, the new one included.
	MaxPerUser int
	// RejectAtLimit refuses with ErrLimit instead of evicting the oldest.
	RejectAtLimit bool
	// Replaces is a session of the same user that ends in the same step (zero: none).
	Replaces ID
}

// Store keeps session records. Implementations are safe for concurrent use.
//
// Absent and broken are different answers: ErrNotFound is said only when the store was asked and
// has no such session; whenever it could not be asked, or its answer was not one, the error wraps
// ErrUnavailable. A method that changes something and returns ErrUnavailable may or may not have
// done so; each can safely be called again.
//
// A call is bounded by the store's own timeout, which is short; RevokeUser and List, for a user with thousands of
// sessions, ask several times, each time with that bound. Callers share questions to the
// store, so ctx's end does not end a call: one caller's cancellation never fails another's.
//
// Times: how long a session lives is passed as a duration and measured by the store's clock,
// never as a point in time by this process's clock. So a replica whose clock is wrong neither
// shortens nor prolongs a session's idle limit.
type Store interface {
	// Find returns the live session under key. With ErrUnavailable it also returns the last
	// record it knew (Source FromKnown, VerifiedAt set) if it still has one; what that is worth
	// is for the caller to decide. A caller may be given the same *Record again and again.
	Find(ctx context.Context, key Key) (Found, error)

	// Epoch is asked for at the beginning of each login.
	Epoch(ctx context.Context) (Epoch, error)

	// Create adds rec in one step: the generation is checked (ErrSuperseded), dead index entries
	// are pruned, the limit is enforced (oldest evicted, or ErrLimit), record and index entry are
	// written. It returns the sessions that ended for it, opts.Replaces among them if it was there.
	// It never overwrites a session: another record under the ID is ErrConflict, the same one is success.
	Create(ctx context.Context, rec *Record, opts CreateOptions) (evicted []ID, err error)

	// Replace writes next over old if the store still holds old exactly as it was read, and sets
	// the time to live. ErrNotFound when the session is gone (it is never brought back),
	// ErrConflict, as a *ConflictError, when somebody changed it meanwhile. ID and user must be
	// the same. After it, Find through the same store no longer gives old.
	Replace(ctx context.Context, old, next *Record, ttl time.Duration) error

	// Revoke ends one session. It reports whether there was one; no session is no error. With an
	// unknown user (userID "") the index entry stays until the index heals.
	Revoke(ctx context.Context, key Key, userID string) (bool, error)

	// RevokeUser ends every session of a user but those in except, and makes logins that have begun
	// and not finished fail. It returns the sessions that ended; with an error those that had ended before it came
	// up, which a further call does not return again.
	RevokeUser(ctx context.Context, userID string, except ...ID) ([]ID, error)

	// List returns the user's live sessions, oldest first, and heals the index on the way.
	List(ctx context.Context, userID string) ([]*Record, error)

	// Ping asks the store for a sign of life, whatever the breaker thinks.
	Ping(ctx context.Context) error

	// Close releases connections. Calls after it return ErrUnavailable.
	Close() error
}
