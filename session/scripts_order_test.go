package session_test

import (
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// TestS06_RefusedDeletionIsAskedForAgain: where Redis refuses to delete, the index must not have lost the session
// by then: the revocation that is tried again would find nothing to do, and be confirmed while the session lives.
func TestS06_RefusedDeletionIsAskedForAgain(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	server.Do(t, "ACL", "SETUSER", "gatehouse", "on", ">secret", "~*", "&*", "+@all")
	store := open(t, server, func(c *config.Redis) { c.Username, c.Password = "gatehouse", "secret" })
	create := func(limit int) *session.Record {
		t.Helper()
		rec, _ := sessiontest.Record("u")
		began, err := store.Epoch(t.Context())
		if err == nil {
			_, err = store.Create(t.Context(), rec, session.CreateOptions{Began: began, TTL: hour, MaxPerUser: limit})
		}
		if err != nil {
			t.Error(err)
		}
		return rec
	}
	rec := create(9)
	server.Do(t, "ACL", "SETUSER", "gatehouse", "-del")
	if _, err := store.RevokeUser(t.Context(), "u"); !isError(err, session.ErrUnavailable) {
		t.Fatalf("without the right to delete: %v", err)
	}
	server.Do(t, "ACL", "SETUSER", "gatehouse", "+del")
	if ids, err := store.RevokeUser(t.Context(), "u"); err != nil || len(ids) != 1 || exists(t, store, rec.Key()) {
		t.Errorf("tried again: %v, %v; still there: %t", ids, err, exists(t, store, rec.Key()))
	}

	old := create(9)
	server.Do(t, "ACL", "SETUSER", "gatehouse", "-del")
	next, _ := sessiontest.Record("u")
	began, err := store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), next, session.CreateOptions{Began: began, TTL: hour, MaxPerUser: 1}); !isError(err, session.ErrUnavailable) {
		t.Fatalf("an eviction without the right to delete: %v", err)
	}
	if wrong, _ := unindexed(t, store, "u", old.Key()); wrong != 0 {
		t.Error("the session that could not be evicted is not in the index any more")
	}
}

// TestS07_AnIndexWithoutEndGetsItsLongestMembers: not that of the session filed just now, before which others of the
// user would be in no index.
func TestS07_AnIndexWithoutEndGetsItsLongestMembers(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	store := open(t, server)
	for _, ttl := range []time.Duration{10 * time.Hour, time.Hour} {
		rec, _ := sessiontest.Record("u")
		began, err := store.Epoch(t.Context())
		if err == nil {
			_, err = store.Create(t.Context(), rec, session.CreateOptions{Began: began, TTL: ttl, MaxPerUser: 9})
		}
		if err != nil {
			t.Fatal(err)
		}
		if ttl > time.Hour {
			server.Do(t, "PERSIST", "user_sessions:{"+string(session.TagOf("u"))+"}:u")
		}
	}
	answer := server.Do(t, "PTTL", "user_sessions:{"+string(session.TagOf("u"))+"}:u")
	left, err := answer.AsInt64()
	if err != nil || time.Duration(left)*time.Millisecond < 9*time.Hour {
		t.Errorf("the index ends in %v, %v, a session of it in 10 h", time.Duration(left)*time.Millisecond, err)
	}
}
