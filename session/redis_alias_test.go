package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
)

// Moves is moves, for tests outside the package.
func (s Setting) Moves(userID string) bool { return s.moves(TagOf(userID)) }

// Differences is differences, for tests outside the package.
func Differences(row, copied *Record) []string { return differences(row, copied) }

// openAliases is a store on a Redis of its own.
func openAliases(t *testing.T) (*RedisStore, *testredis.Server) {
	t.Helper()
	server := testredis.Start(t)
	return openAliasStore(t, server, ""), server
}

func openAliasStore(t *testing.T, server *testredis.Server, prefix string) *RedisStore {
	t.Helper()
	s, err := Open(t.Context(), config.Redis{Addresses: []string{server.Addr}, KeyPrefix: prefix, Timeout: 5 * time.Second}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err = s.Epoch(t.Context()); err == nil {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// newSession makes a session in Redis, as an import without its browser does.
func newSession(t *testing.T, s *RedisStore, user string) *Record {
	t.Helper()
	key, _ := ParseToken(NewToken(user))
	now := time.Now().UTC().Truncate(time.Millisecond)
	rec := &Record{Version: SchemaVersion, ID: key.ID, User: User{ID: user}, CreatedAt: now, LastAccessed: now, ExpiresAt: now.Add(time.Hour), Database: DatabaseMoved}
	if _, err := s.Create(t.Context(), rec, CreateOptions{Began: always, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	found, err := s.findFresh(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return found.Record
}

// renamed is a session under a new ID.
func renamed(rec *Record) *Record {
	next := rec.Clone()
	key, _ := ParseToken(NewToken(rec.User.ID))
	next.ID = key.ID
	return next
}

func aliasOf(t *testing.T, user, appToken string) alias {
	t.Helper()
	a, _, err := newAlias(user, appToken)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// keysIn are the names of the keys there are.
func keysIn(t *testing.T, server *testredis.Server, pattern string) []string {
	t.Helper()
	reply := server.Do(t, "KEYS", pattern)
	names, err := reply.AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestAliasIsWrittenOverWhatWasRead(t *testing.T) {
	t.Parallel()
	s, server := openAliases(t)
	row := rowID("row of the application")
	first, second, third := aliasOf(t, "1", "app"), aliasOf(t, "1", "app"), aliasOf(t, "1", "app")
	held, err := s.setAlias(t.Context(), row, alias{}, first, time.Hour)
	if err != nil || held.ID != first.ID {
		t.Fatalf("over nothing: %v, %v", held.ID, err)
	}
	if other, err := s.setAlias(t.Context(), row, alias{}, second, time.Hour); !errors.Is(err, ErrConflict) || other.ID != first.ID || other.raw != held.raw {
		t.Errorf("over nothing, where there is one: %v, %v; want ErrConflict and the one there is", other.ID, err)
	}
	next, err := s.setAlias(t.Context(), row, held, second, 2*time.Hour)
	if err != nil || next.ID != second.ID {
		t.Errorf("over what was read: %v, %v", next.ID, err)
	}
	if ms := number(t, server, "PTTL", s.keys.alias(row)); ms < time.Hour.Milliseconds() || ms > 2*time.Hour.Milliseconds() {
		t.Errorf("it ends in %d ms", ms)
	}
	if other, err := s.setAlias(t.Context(), row, held, third, time.Hour); !errors.Is(err, ErrConflict) || other.ID != second.ID {
		t.Errorf("over what was read before somebody else wrote: %v, %v; want ErrConflict and theirs", other.ID, err)
	}
	// One that has ended is not brought back by who has read it before.
	server.Do(t, "DEL", s.keys.alias(row))
	if other, err := s.setAlias(t.Context(), row, next, third, time.Hour); !errors.Is(err, ErrConflict) || other.raw != "" {
		t.Errorf("over one that has ended: %+v, %v; want ErrConflict and nothing", other, err)
	}
	if left := keysIn(t, server, "*app_session*"); len(left) != 0 {
		t.Errorf("it was brought back: %v", left)
	}
	if _, err := s.alias(t.Context(), row, true); !errors.Is(err, ErrNotFound) {
		t.Errorf("read: %v, want ErrNotFound", err)
	}
	server.Do(t, "SET", s.keys.alias(row), `{"id":`)
	if _, err := s.alias(t.Context(), row, true); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged one is read: %v, want ErrCorrupt", err)
	}
}

// number is what a command gives.
func number(t *testing.T, server *testredis.Server, args ...string) int64 {
	t.Helper()
	reply := server.Do(t, args...)
	n, err := reply.AsInt64()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return n
}

// TestAliasHasOneWriter: whoever is first, all others learn what it has written.
func TestAliasHasOneWriter(t *testing.T) {
	t.Parallel()
	s, _ := openAliases(t)
	for round := range 50 {
		var mu sync.Mutex
		won, ids := 0, map[string]bool{}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				held, err := s.setAlias(context.Background(), rowID(fmt.Sprint(round)), alias{}, aliasOf(t, "1", "app"), time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
				ids[held.ID] = true
			})
		}
		all.Wait()
		if won != 1 || len(ids) != 1 {
			t.Fatalf("round %d: %d writers have won, and %d aliases are known", round, won, len(ids))
		}
	}
}

// TestAliasOpensForItsToken: who reads Redis learns no token, and another token opens nothing.
func TestAliasOpensForItsToken(t *testing.T) {
	t.Parallel()
	a, token, err := newAlias("1", "the application's")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.open("the application's"); err != nil || got != token {
		t.Errorf("its own token opens: %v", err)
	}
	for _, other := range []string{"", "The application's", token} {
		if got, err := a.open(other); err == nil || got != "" {
			t.Error("another token opens it")
		}
	}
	closed, _, err := newAlias("1", "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := closed.open("anything"); err != nil || got != "" {
		t.Errorf("one without its browser has no token yet: %v", err)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	s, server := openAliases(t)
	old := newSession(t, s, "7")
	next := renamed(old)
	if err := s.rotate(t.Context(), old, next, 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.findFresh(t.Context(), old.Key()); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old ID: %v", err)
	}
	found, err := s.findFresh(t.Context(), next.Key())
	if err != nil || found.Record.User.ID != "7" || !found.Record.ExpiresAt.Equal(old.ExpiresAt) {
		t.Errorf("the new ID: %v, %v", found.Record, err)
	}
	if ms := number(t, server, "PTTL", s.keys.session(next.Key())); ms <= 0 || ms > (30*time.Minute).Milliseconds() {
		t.Errorf("it ends in %d ms", ms)
	}
	if list, err := s.List(t.Context(), "7"); err != nil || len(list) != 1 || list[0].ID != next.ID {
		t.Errorf("listed: %v, %v", list, err)
	}
	if n := number(t, server, "ZCARD", s.keys.index("7")); n != 1 {
		t.Errorf("%d entries in the index", n)
	}
	// Gone: not brought back.
	if err := s.rotate(t.Context(), old, renamed(old), time.Hour); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that is gone: %v", err)
	}
	// Changed since it was read: neither lost nor doubled.
	changed := found.Record.Clone()
	changed.Role = "admin"
	if err := s.Replace(t.Context(), found.Record, changed, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.rotate(t.Context(), found.Record, renamed(found.Record), time.Hour); !errors.Is(err, ErrConflict) {
		t.Errorf("one that has changed: %v", err)
	}
	if left := keysIn(t, server, "session:*"); len(left) != 1 || left[0] != s.keys.session(next.Key()) {
		t.Errorf("%d sessions are left, want the one that was rotated", len(left))
	}
}

// TestRotateAgainstRevoke: a session that is given another ID while it is revoked is gone under both. Who revokes begins
// with the old ID: the other way round the session slips from the one to the other in between.
func TestRotateAgainstRevoke(t *testing.T) {
	t.Parallel()
	s, server := openAliases(t)
	const rounds = 500
	rotated := 0
	for range rounds {
		old := newSession(t, s, "8")
		next := renamed(old)
		var both sync.WaitGroup
		both.Go(func() {
			switch err := s.rotate(context.Background(), old, next, time.Hour); {
			case err == nil:
				rotated++
			case !errors.Is(err, ErrNotFound):
				t.Error(err)
			}
		})
		both.Go(func() {
			for _, key := range []Key{old.Key(), next.Key()} {
				if _, err := s.Revoke(context.Background(), key, "8"); err != nil {
					t.Error(err)
				}
			}
		})
		both.Wait()
	}
	if left := keysIn(t, server, "*session*"); len(left) != 0 {
		t.Errorf("%d keys have survived: %v", len(left), left)
	}
	t.Logf("%d races, in %d of them the rotation came first, 0 survivors", rounds, rotated)
	for range 20 {
		old := newSession(t, s, "9")
		next := renamed(old)
		var both sync.WaitGroup
		both.Go(func() { _ = s.rotate(context.Background(), old, next, time.Hour) })
		both.Go(func() {
			if _, err := s.RevokeUser(context.Background(), "9"); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if left := keysIn(t, server, "session:*"); len(left) != 0 {
			t.Fatal("a session has survived the revocation of all sessions of its user")
		}
	}
}

// TestEachKnowsItsOwn: in a prefix the characters of Redis's patterns mean themselves.
func TestEachKnowsItsOwn(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	prefixes := []string{"", "a*:", "ab:", "a?:", "[ab]:", `a\:`, "a:", `\*`, "a[", "a]^-:"}
	want := map[string]ID{}
	for _, p := range prefixes {
		s := openAliasStore(t, server, p)
		want[p] = newSession(t, s, "1").ID
		if _, err := s.setAlias(t.Context(), rowID("row"), alias{}, aliasOf(t, "1", "app"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	// What only looks like a session is none, and what cannot be read is told as that.
	server.Do(t, "SET", "a*:session:{short}:x", "x")
	server.Do(t, "SET", "a*:session:{"+string(TagOf("2"))+"}:"+ID{7}.String(), "no JSON")
	for _, p := range prefixes {
		s := openAliasStore(t, server, p)
		var got []ID
		unreadable := 0
		err := s.Each(t.Context(), func(rec *Record, err error) error {
			if err != nil {
				unreadable++
				return nil
			}
			got = append(got, rec.ID)
			return nil
		})
		if err != nil || len(got) != 1 || got[0] != want[p] || (unreadable == 1) != (p == "a*:") {
			t.Errorf("prefix %q: %d sessions, its own: %v, %d cannot be read, %v", p, len(got), slices.Contains(got, want[p]), unreadable, err)
		}
	}
}
