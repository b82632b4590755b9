package session

import (
	"time"

	"gatehouse/config"
)

// Time and clocks (S08). What decides is the store's clock: every time to live goes to the store as
// a duration, and the index's expiry scores are computed by the store. A replica's own clock is
// used for two things only:
//
//   - the record's absolute limit, which is checked here and therefore exact up to the replica's
//     error; against a limit of days, a minute is nothing, and it can only end a session, at the
//     store's own limit plus or minus that error;
//   - whether a renewal is due, where an error makes one come early or late by that error.
//
// The idle limit is checked here as well, in case the configured one was lowered below what the
// store was told, but with a tolerance that covers the clocks of the replica that wrote LastAccessed
// and of this one each being a minute off. Without it, a replica whose clock is ahead would
// end short-lived sessions that the store holds to be alive.
const clockTolerance = 2 * time.Minute

// maxRenewEvery bounds how old a busy session's LastAccessed gets.
const maxRenewEvery = time.Hour

// policy decides about sessions. Its methods are functions of their arguments alone.
type policy struct {
	idle     time.Duration
	absolute time.Duration
}

func newPolicy(cfg config.Session) policy {
	return policy{idle: cfg.Idle, absolute: cfg.Absolute}
}

// renewEvery is how often a session in use is written: each write costs every replica its cached copy.
func (p policy) renewEvery() time.Duration { return min(p.idle/10, maxRenewEvery) }

// expired reports whether the session has ended, whatever the store says.
func (p policy) expired(r *Record, now time.Time) bool {
	return !now.Before(r.ExpiresAt) || now.Sub(r.LastAccessed) > p.idle+clockTolerance
}

// renewalDue reports whether a use of the session now should prolong it. A LastAccessed in the future was
// written by a replica whose clock is ahead: waiting for it could outlast a short idle limit.
func (p policy) renewalDue(r *Record, now time.Time) bool {
	return now.Sub(r.LastAccessed).Abs() >= p.renewEvery()
}

// ttl is how long the store should keep the session from now on: until the idle limit, and
// never past the absolute one.
func (p policy) ttl(r *Record, now time.Time) time.Duration {
	return min(p.idle, r.ExpiresAt.Sub(now))
}
