package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// lookup is how a user's last look-up went. All but the atomic is never changed.
type lookup struct {
	// said by the backend, when it last answered; known: it has.
	said  Change
	known bool
	// next is when it is asked again.
	next time.Time
	// settled is when all of the user's sessions said so too; zero: that is not known, or they could not be changed.
	settled time.Time
	// differs is a session of the user, the last one seen since that says something else. A login that began before a change
	// has made it, it was changed by hand, or the user's index does not have it; the next look-up sets it right.
	differs atomic.Pointer[Record]
}

// due also when the clock was set back: the next look-up must not be further away than it ever is.
func (l *lookup) due(now time.Time, every time.Duration) bool {
	return !now.Before(l.next) || l.next.Sub(now) > every
}

// apply gives the record as the backend has it, for a request that began at now. What the request has found before the last
// change was written is older than that change. Sessions in the application's table take their user from its users
// table each time they are read, so what was read here is older.
func (l *lookup) apply(rec *Record, now time.Time) (current *Record, stale bool) {
	if l == nil || !l.known || inTable(rec) || l.said.matches(&rec.User) {
		return rec, false
	}
	if !l.settled.IsZero() && now.After(l.settled) {
		l.differs.Store(rec)
		return rec, false
	}
	return l.said.applied(rec), !l.settled.IsZero()
}

// ask looks a user up and acts on the answer. It gives what there is to remember, or ErrNotFound: the user is gone and their
// sessions end.
func (r *refresher) ask(ctx context.Context, rec *Record, last *lookup) (*lookup, error) {
	if last == nil {
		last = &lookup{}
	}
	userID, began := rec.User.ID, r.clock()
	said, err := r.cfg.Read(ctx, userID)
	switch {
	case err == nil:
		r.outage.answered()
		r.guard.found()
		return r.changed(ctx, rec, last, said.valid(), began), nil
	case errors.Is(err, ErrUserRefused):
		r.outage.answered()
		r.guard.found() // somebody is in the table
		return nil, r.gone(ctx, rec, err)
	case errors.Is(err, ErrUserMissing):
		r.outage.answered()
		if r.guard.believes(userID) {
			return nil, r.gone(ctx, rec, err)
		}
		r.metrics.UserRefresh("held")
	case errors.Is(err, ErrUserUnreadable):
		r.outage.answered()
		r.metrics.UserRefresh("unreadable")
	default:
		r.outage.failed(err)
		r.metrics.UserRefresh("unavailable")
	}
	return last.again(began.Add(r.retry())), nil
}

func (r *refresher) retry() time.Duration { return min(r.cfg.Every, refreshRetry) }

// again is the same look-up, to be repeated at next.
func (l *lookup) again(next time.Time) *lookup {
	n := &lookup{said: l.said, known: l.known, settled: l.settled, next: next}
	n.differs.Store(l.differs.Load())
	return n
}

// changed writes what the backend says into the user's sessions, if any of them may say something else: an unchanged user costs no
// write.
func (r *refresher) changed(ctx context.Context, rec *Record, last *lookup, said Change, began time.Time) *lookup {
	l := &lookup{said: said, known: true, next: began.Add(r.cfg.Every)}
	if !r.mustWrite(rec, last, said) {
		l.settled = last.settled
		r.metrics.UserRefresh("unchanged")
		return l
	}
	possible := said.possible()
	n, err := r.write(ctx, possible, rec, last.differs.Load())
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrConflict):
		l.next = began.Add(r.retry())
	case err != nil && !(last.known && last.said.equal(said)): // too large for a record. Requests here are served by it all the same
		r.log.Error().Err(err).Str("user", rec.User.ID).Msg("what the login backend says of a user cannot be written into their sessions")
	case err == nil && (inTable(rec) || possible.equal(said) || said.matches(&possible.applied(rec).User)):
		l.settled = r.clock()
	}
	switch {
	case n > 0:
		r.metrics.UserRefresh("changed")
	case err == nil:
		r.metrics.UserRefresh("unchanged")
	default:
		r.metrics.UserRefresh("unwritten")
	}
	return l
}

// mustWrite: the backend says something new, or a session is known to say something else. At a user's first look-up nobody knows
// what their other sessions say, so they are gone through, unless some may be in the application's table: to find
// those can be to read the whole of it. Without it, apply sets each right.
func (r *refresher) mustWrite(rec *Record, last *lookup, said Change) bool {
	if last.differs.Load() != nil || last.known && !last.said.equal(said) || !inTable(rec) && !said.matches(&rec.User) {
		return true
	}
	return last.settled.IsZero() && !r.manager.isMigrating()
}

// write changes all sessions of a user, and those in hand (the first is never nil) even if the user's index does not have them
// (`gatehouse sessions audit`): Change would not find them, and they would be served with the old role for good.
func (r *refresher) write(ctx context.Context, c Change, inHand ...*Record) (changed int, err error) {
	userID := inHand[0].User.ID
	changed, err = r.manager.Change(ctx, userID, c)
	for _, rec := range inHand {
		if err != nil || rec == nil || inTable(rec) {
			continue
		}
		var written bool
		written, err = r.manager.changeOne(ctx, rec, c)
		if errors.Is(err, ErrNotFound) { // it has ended
			err = nil
		}
		if written {
			changed++
			r.manager.metrics.SessionsChanged(1)
			r.manager.audit(ctx, telemetry.Audit{Event: telemetry.EventChange, UserID: userID, Session: rec.ID.Short(), Reason: c.summary(), Count: 1})
		}
	}
	return changed, err
}

// gone ends the sessions of a user, and the one in hand even if the user's index does not have it. An error of the store
// changes nothing for this replica: it refuses them from now on.
func (r *refresher) gone(ctx context.Context, rec *Record, why error) error {
	userID := rec.User.ID
	r.metrics.UserRefresh("gone")
	r.log.Info().Str("user", userID).AnErr("reason", why).Msg("a user may not log in any more: their sessions end")
	_, err := r.manager.RevokeUser(ctx, userID)
	if err != nil || !r.manager.endings.session(rec.ID, r.clock()) { // it was not among those that have ended
		err = errors.Join(err, r.manager.revoke(ctx, rec.Key(), userID, endRevoked))
	}
	if err != nil {
		r.log.Warn().Str("user", userID).Err(err).Msg("the end of a user's sessions is not confirmed yet and will be tried again")
	}
	return ErrNotFound
}

// refreshOutage logs that the backend cannot be asked, and that it can again, each once.
type refreshOutage struct {
	log  zerolog.Logger
	away atomic.Bool
	mu   sync.Mutex
}

func (o *refreshOutage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.away.Swap(true) {
		o.log.Warn().Err(err).Msg("users cannot be read again from the login backend: their sessions go on as they are")
	}
}

func (o *refreshOutage) answered() {
	if !o.away.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away.Swap(false) {
		o.log.Info().Msg("users are read again from the login backend")
	}
}
