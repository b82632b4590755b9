package session_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// changeRace is two replicas that race for one user's only session.
type changeRace struct {
	t    *testing.T
	a, b *gateway
	// bad rounds are those in which something came back or was lost, early those in which the change was first, and void
	// those in which Redis did not answer in time, as it may on a starved machine: they show nothing.
	bad, early, void survivors
}

// run calls round a sixth of *stressRounds times: each asks Redis ten times or so. It says whether the round went wrong and whether the change was first.
func (r *changeRace) run(what string, round func(ctx context.Context, rec *session.Record) (bad, early bool, errs error)) {
	ctx := context.Background()
	race(*stressRounds/6, func() {
		rec, _ := sessiontest.Record(session.NewToken("x")[12:30])
		_, err := r.a.store.Create(ctx, rec, session.CreateOptions{TTL: hour, MaxPerUser: 20})
		var bad, early bool
		if err == nil {
			bad, early, err = round(ctx, rec)
		}
		r.void.add(isError(err, session.ErrUnavailable))
		switch {
		case isError(err, session.ErrUnavailable):
		case err != nil:
			r.t.Error(err)
		default:
			r.bad.add(bad)
			r.early.add(early)
		}
	})
	r.t.Logf("%d races, %d %s; the change was first in %d; %d did not count", r.bad.of, r.bad.n, what, r.early.n, r.void.n)
	if r.bad.n != 0 || r.bad.of == 0 {
		r.t.Errorf("%d of %d %s", r.bad.n, r.bad.of, what)
	}
	if r.early.n == 0 || r.early.n == r.early.of {
		r.t.Errorf("the change was first in %d of %d: there was no race", r.early.n, r.early.of)
	}
	if r.void.n*20 > r.void.of {
		r.t.Errorf("in %d of %d races Redis did not answer in time", r.void.n, r.void.of)
	}
}

// dawdle lets a change, which asks four times, get on for some of its way.
func (r *changeRace) dawdle(ctx context.Context) {
	for range rand.IntN(8) {
		r.a.store.Ping(ctx)
	}
}

// held asks Redis for the session, past every cache.
func (r *changeRace) held(ctx context.Context, rec *session.Record) (*session.Record, error) {
	all, err := r.a.store.List(ctx, rec.User.ID)
	if err == nil && len(all) != 1 {
		err = errors.New("the session is gone")
	}
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// TestChangeRaces: a change neither brings a session back nor gets lost, whatever else happens to the session at the same time.
func TestChangeRaces(t *testing.T) {
	server := testredis.Start(t)
	a, b := newGateway(t, server.Addr), newGateway(t, server.Addr)
	t.Run("and revoke", func(t *testing.T) {
		r := &changeRace{t: t, a: a, b: b}
		r.run("came back", func(ctx context.Context, rec *session.Record) (bool, bool, error) {
			var n int
			var changed, revoked error
			together(func() { n, changed = b.Change(ctx, rec.User.ID, session.Change{Role: ptr("member")}) },
				func() { r.dawdle(ctx); revoked = a.Revoke(ctx, rec.Key(), rec.User.ID) })
			return exists(t, a.store, rec.Key()), n == 1, errors.Join(changed, revoked)
		})
	})
	t.Run("and renewal", func(t *testing.T) {
		r := &changeRace{t: t, a: a, b: b}
		r.run("were lost", func(ctx context.Context, rec *session.Record) (bool, bool, error) {
			found, err := a.store.Find(ctx, rec.Key())
			if err != nil {
				return false, false, err
			}
			next := found.Record.Clone()
			next.LastAccessed = next.LastAccessed.Add(time.Minute)
			var changed, renewed error
			together(func() { _, changed = b.Change(ctx, rec.User.ID, session.Change{Role: ptr("member")}) },
				func() { r.dawdle(ctx); renewed = a.store.Replace(ctx, found.Record, next, hour) })
			conflict := errors.Is(renewed, session.ErrConflict)
			if conflict {
				renewed = nil // the stale copy has lost, as it must
			}
			now, err := r.held(ctx, rec)
			if err = errors.Join(changed, renewed, err); err != nil {
				return false, false, err
			}
			return now.Role != "member" || now.LastAccessed.Equal(next.LastAccessed) == conflict, conflict, nil
		})
	})
	t.Run("and another change", func(t *testing.T) {
		r := &changeRace{t: t, a: a, b: b}
		r.run("were lost", func(ctx context.Context, rec *session.Record) (bool, bool, error) {
			var roleAt, nameAt time.Time
			var role, name error
			together(func() {
				_, role = a.Change(ctx, rec.User.ID, session.Change{Role: ptr("member")})
				roleAt = time.Now()
			}, func() {
				_, name = b.Change(ctx, rec.User.ID, session.Change{Name: ptr("New"), EmailVerified: ptr(true)})
				nameAt = time.Now()
			})
			now, err := r.held(ctx, rec)
			if err = errors.Join(role, name, err); err != nil {
				return false, false, err
			}
			return now.Role != "member" || now.Name != "New" || !now.EmailVerified, roleAt.Before(nameAt), nil
		})
	})
}
