package session_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// raceRounds are few beside the 10,000 of the writes themselves (stress, Change): what is raced here is how they are joined.
const raceRounds = 300

// A logout while the user is read again: nothing brings the session back.
func TestRefreshAgainstLogout(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	here, there := d.reads(newGateway(t, server.Addr)), d.reads(newGateway(t, server.Addr))
	for i := range raceRounds {
		token, rec := d.as(t, here, "1")
		d.role("1", fmt.Sprint("role ", i))
		here.clock.advance(time.Minute)
		var race sync.WaitGroup
		race.Go(func() { here.Find(t.Context(), token) })
		race.Go(func() {
			if err := there.Revoke(t.Context(), rec.Key(), "1"); err != nil {
				t.Error(err)
			}
		})
		race.Wait()
	}
	for _, g := range []*gateway{here, newGateway(t, server.Addr)} {
		if all, err := g.List(t.Context(), "1"); err != nil || len(all) != 0 {
			t.Fatalf("%d sessions have survived their logout, %v", len(all), err)
		}
	}
}

// A renewal with the old copy must not undo a new role, and the other way round the session stays prolonged.
func TestRefreshAgainstRenewal(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	here, there := d.reads(newGateway(t, server.Addr)), newGateway(t, server.Addr)
	fresh := newGateway(t, server.Addr)
	for i := range raceRounds {
		token, _ := d.as(t, here, "1")
		role := fmt.Sprint("role ", i)
		here.clock.advance(2 * time.Hour) // the renewal is due
		there.clock.advance(2 * time.Hour)
		fresh.clock.advance(2 * time.Hour)
		d.role("1", role)
		var race sync.WaitGroup
		race.Go(func() {
			if s, err := here.Find(t.Context(), token); err != nil || s.Role != role {
				t.Errorf("the request: %q, %v", s.Role, err)
			}
		})
		race.Go(func() { there.Find(t.Context(), token) })
		race.Wait()
		if s := fresh.finds(t, token); s.Role != role {
			t.Fatalf("round %d: in Redis the role is %q", i, s.Role)
		}
		if _, err := here.RevokeUser(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
}

// Changes by hand at the same time: in the end the backend is right, and neither fails.
func TestRefreshAgainstChange(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	here, there := d.reads(newGateway(t, server.Addr)), newGateway(t, server.Addr)
	token, _ := d.as(t, here, "1")
	for i := range raceRounds {
		role := fmt.Sprint("role ", i)
		d.role("1", role)
		here.clock.advance(time.Minute)
		var race sync.WaitGroup
		race.Go(func() {
			if s, err := here.Find(t.Context(), token); err != nil || s.Role != role {
				t.Errorf("the request: %q, %v", s.Role, err)
			}
		})
		race.Go(func() {
			if _, err := there.Change(t.Context(), "1", session.Change{Role: ptr("by hand")}); err != nil && !errors.Is(err, session.ErrConflict) {
				t.Error(err)
			}
		})
		race.Wait()
	}
	last := fmt.Sprint("role ", raceRounds-1)
	if _, err := there.Change(t.Context(), "1", session.Change{Role: ptr("by hand")}); err != nil {
		t.Fatal(err)
	}
	await(t, "the last change by hand to arrive", func() bool { return here.finds(t, token).Role == "by hand" })
	here.clock.advance(time.Minute)
	here.roleIs(t, token, last)
	await(t, "the other replica to hear of it", func() bool { return there.finds(t, token).Role == last })
}
