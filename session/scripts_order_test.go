package session_test

import (
	"strconv"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"

	"github.com/redis/rueidis"
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

// TestS07_LongIndex: what a client that logs in for each request leaves behind is healed, and revoked, in steps that
// each take no longer than a question may, and the limit holds again.
func TestS07_LongIndex(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	store := open(t, server)
	c := server.Client(t)
	const many = 5000 // over two of the scripts' batches
	tag := session.TagOf("u")
	index := "user_sessions:{" + string(tag) + "}:u"
	fill := func(records bool) (ids []session.ID) {
		t.Helper()
		end := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)
		var cmds rueidis.Commands
		for range many {
			rec, _ := sessiontest.Record("u")
			ids = append(ids, rec.ID)
			cmds = append(cmds, c.B().Arbitrary("ZADD").Keys(index).Args(end, rec.ID.String()).Build())
			if records {
				cmds = append(cmds, c.B().Set().Key("session:{"+string(tag)+"}:"+rec.ID.String()).Value("x").Ex(time.Hour).Build())
			}
		}
		for _, reply := range c.DoMulti(t.Context(), cmds...) {
			if err := reply.Error(); err != nil {
				t.Fatal(err)
			}
		}
		return ids
	}
	count := func(args ...string) int64 {
		t.Helper()
		answer := server.Do(t, args...)
		n, err := answer.AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	create := func(reject bool) error {
		t.Helper()
		rec, _ := sessiontest.Record("u")
		began, err := store.Epoch(t.Context())
		if err == nil {
			_, err = store.Create(t.Context(), rec, session.CreateOptions{Began: began, TTL: 2 * hour, MaxPerUser: 3, RejectAtLimit: reject})
		}
		return err
	}
	for _, reject := range []bool{true, false} {
		fill(false)
		if err := create(reject); err != nil {
			t.Errorf("reject=%t: a login with %d dead entries: %v", reject, many, err)
		}
		if n := count("ZCARD", index); n != 1 && reject || n > 2 {
			t.Errorf("reject=%t: %d entries are left", reject, n)
		}
	}

	fill(true)
	if err := create(true); !isError(err, session.ErrLimit) {
		t.Errorf("a login over the limit: %v", err)
	}
	logins := 0
	for count("ZCARD", index) > 3 && logins < 10 {
		if err := create(false); err != nil {
			t.Fatal(err)
		}
		logins++
	}
	if n := count("DBSIZE"); logins == 10 || n != 4 { // three sessions and the index
		t.Errorf("after %d logins: %d entries, %d keys", logins, count("ZCARD", index), n)
	}

	kept := fill(true)[many/2]
	ended, err := store.RevokeUser(t.Context(), "u", kept)
	if err != nil || len(ended) != many+2 {
		t.Errorf("%d sessions ended, %v, want %d", len(ended), err, many+2)
	}
	if n, left := count("ZCARD", index), count("EXISTS", "session:{"+string(tag)+"}:"+kept.String()); n != 1 || left != 1 {
		t.Errorf("%d entries are left, and the spared session %d times", n, left)
	}
}
