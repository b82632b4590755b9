package session_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"

	"github.com/redis/rueidis"
)

// Gateways go on while an audit repairs: sessions are made, damaged by hand, renewed and ended all the time. No
// session that was ended is there afterwards, none that was made is lost, and nothing is left to repair.
func TestRepairRacesWithGateways(t *testing.T) {
	t.Parallel()
	const workers, rounds = 4, 500
	server := testredis.Start(t)
	o, g := newOperator(t, server, func(s *settings) { s.session.MaxPerUser = 0 })
	stop, audits := make(chan struct{}), sync.WaitGroup{}
	var repaired, runs atomic.Int64
	for range 2 {
		audits.Go(func() {
			for {
				r, err := o.Audit(t.Context(), true, nil)
				if err != nil {
					t.Error(err)
					return
				}
				repaired.Add(r.Repaired)
				runs.Add(1)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	by := server.Client(t)
	var mu sync.Mutex
	var kept, ended []*session.Record
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := range rounds {
				rec, lives := raceOnce(t, g.store, by, fmt.Sprintf("u%d", worker), i)
				if rec == nil {
					return
				}
				mu.Lock()
				if lives {
					kept = append(kept, rec)
				} else {
					ended = append(ended, rec)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	close(stop)
	audits.Wait()
	t.Logf("%d rounds, %d audits, %d repairs; %d sessions kept, %d ended", workers*rounds, runs.Load(), repaired.Load(), len(kept), len(ended))
	if repaired.Load() < 100 || runs.Load() < 10 {
		t.Error("too little was repaired for this to show anything")
	}
	fresh := newGateway(t, server.Addr)
	for _, rec := range ended {
		if _, err := fresh.store.Find(t.Context(), rec.Key()); !isError(err, session.ErrNotFound) {
			t.Fatalf("a session that was ended: %v", err)
		}
	}
	for _, rec := range kept {
		if _, err := fresh.store.Find(t.Context(), rec.Key()); err != nil {
			t.Fatalf("a session that was made: %v", err)
		}
	}
	if _, err := o.Audit(t.Context(), true, nil); err != nil {
		t.Fatal(err)
	}
	if r := audit(t, o, false, nil, nil); r.Sessions != int64(len(kept)) || r.Entries != r.Sessions {
		t.Errorf("%d sessions and %d entries, want %d", r.Sessions, r.Entries, len(kept))
	}
}

// raceOnce makes a session, damages it, uses it and ends it, but for one in ten.
func raceOnce(t *testing.T, store *session.RedisStore, by rueidis.Client, user string, i int) (rec *session.Record, lives bool) {
	ctx := t.Context()
	rec, _ = sessiontest.Record(user)
	if _, err := store.Create(ctx, rec, session.CreateOptions{TTL: hour, Began: session.EpochAt(1 << 40)}); err != nil {
		t.Error(err)
		return nil, false
	}
	index := session.IndexKey(user)
	var spoil rueidis.Completed
	switch i % 4 {
	case 0:
		spoil = by.B().Zrem().Key(index).Member(rec.ID.String()).Build()
	case 1:
		spoil = by.B().Zadd().Key(index).ScoreMember().ScoreMember(1, rec.ID.String()).Build()
	case 2:
		spoil = by.B().Persist().Key(name(rec)).Build()
	default:
		dead, _ := sessiontest.Record(user)
		spoil = by.B().Zadd().Key(index).ScoreMember().ScoreMember(1e14, dead.ID.String()).Build()
	}
	if err := by.Do(ctx, spoil).Error(); err != nil {
		t.Error(err)
		return nil, false
	}
	if found, err := store.Find(ctx, rec.Key()); err == nil && i%3 == 0 {
		next := found.Record.Clone()
		next.User.Role = "changed"
		if err := store.Replace(ctx, found.Record, next, hour); err != nil {
			t.Errorf("a renewal: %v", err)
		}
	}
	if i%10 == 9 {
		return rec, true
	}
	if _, err := store.Revoke(ctx, rec.Key(), user); err != nil {
		t.Error(err)
	}
	return rec, false
}
