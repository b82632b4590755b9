package session_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// indexed makes sessions of user "u", more than one page of a list holds.
func indexed(t *testing.T, store *session.RedisStore, n int) []*session.Record {
	t.Helper()
	began, err := store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*session.Record, n)
	for i := range all {
		all[i], _ = sessiontest.Record("u")
		if _, err := store.Create(t.Context(), all[i], session.CreateOptions{Began: began, TTL: hour + time.Duration(i)*time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// ties gives all entries of an index one score, as an import by other tools may.
func ties(t *testing.T, server *testredis.Server) {
	t.Helper()
	server.Do(t, "EVAL", `for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], ARGV[1], id) end`,
		"1", session.IndexKey("u"), fmt.Sprint(time.Now().Add(hour).UnixMilli()))
}

// lists fails unless a list holds each of these once, the oldest first; others may be in it where may says so.
func lists(t *testing.T, got []*session.Record, want []*session.Record, may bool) {
	t.Helper()
	times := map[session.ID]int{}
	for _, rec := range got {
		times[rec.ID]++
	}
	missing := 0
	for _, rec := range want {
		if times[rec.ID] == 0 {
			missing++
		}
	}
	twice := len(got) - len(times)
	if missing > 0 || twice > 0 || !may && len(got) != len(want) {
		t.Errorf("of %d sessions %d are missing, %d are there twice; %d in all", len(want), missing, twice, len(got))
	}
	if !slices.IsSortedFunc(got, func(a, b *session.Record) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
		t.Error("not the oldest first")
	}
}

// An index that somebody has filled is one user's trouble: it is read and healed in steps, within the timeout, and no
// other user hears of it.
func TestListOfAFullIndex(t *testing.T) {
	t.Parallel()
	const dead = 150_000
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, quick, func(s *settings) { s.session.MaxPerUser = 0 })
	var live []*session.Record
	for range 3 {
		_, rec := g.login(t, "u")
		live = append(live, rec)
	}
	// Before, between and behind the live ones; those in one place have one score.
	for i, at := range []time.Duration{hour, 168*time.Hour - time.Millisecond, 1000 * hour} {
		server.Do(t, "EVAL", `for i = 1, tonumber(ARGV[2]) do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[3] .. i) end`, "1",
			session.IndexKey("u"), fmt.Sprint(time.Now().Add(at).UnixMilli()), fmt.Sprint(dead/3), fmt.Sprintf("dead%d-", i))
	}
	list, err := g.List(t.Context(), "u")
	if err != nil {
		t.Fatalf("the list: %v", err)
	}
	lists(t, list, live, false)
	if n, err := ptr(server.Do(t, "ZCARD", session.IndexKey("u"))).AsInt64(); err != nil || n != 3 {
		t.Errorf("%d entries are left, %v; want the three that live", n, err)
	}
	if _, err := g.Begin(context.Background()); err != nil || g.store.Away() {
		t.Errorf("somebody else's login: %v; away: %t", err, g.store.Away())
	}
}

// Whoever needs all sessions of a user gets all of them, whatever their entries look like.
func TestListOfManySessions(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	store := open(t, server)
	all := indexed(t, store, 4100)
	check := func(what string) {
		t.Helper()
		got, err := store.List(t.Context(), "u")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		lists(t, got, all, false)
	}
	check("each with its own end")
	var left []*session.Record
	gone := []string{"DEL"}
	for i, rec := range all {
		if i%3 == 0 { // the index is not told
			gone = append(gone, name(rec))
		} else {
			left = append(left, rec)
		}
	}
	server.Do(t, gone...)
	all = left
	ties(t, server)
	check("all with one end, a third of them gone")
	check("healed")
	server.Do(t, "SET", name(all[0]), "{", "KEEPTTL")
	all = all[1:]
	check("one of them cannot be read")
}

// TestListWhileSessionsChange: between two pages sessions end, are used, and are made. None of those that are left is
// missing, none is there twice.
func TestListWhileSessionsChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		tied bool
		// change is given the sessions in the index's order, some hundreds of which have not been read yet.
		change func(t *testing.T, server *testredis.Server, order []string)
		gone   int // how many of the first end
	}{
		{"ended", false, endFirst, 50},
		{"ended, all with one end", true, endFirst, 50},
		{"the last one read has ended", true, func(t *testing.T, server *testredis.Server, order []string) { zrem(t, server, order[1999]) }, 0},
		{"used", false, func(t *testing.T, server *testredis.Server, order []string) {
			for _, id := range slices.Concat(order[:50], order[1990:2010]) {
				server.Do(t, "ZADD", session.IndexKey("u"), "XX", fmt.Sprint(time.Now().Add(9*hour).UnixMilli()), id)
			}
		}, 0},
		{"filed before", true, func(t *testing.T, server *testredis.Server, _ []string) {
			for i := range 20 {
				server.Do(t, "EVAL", `redis.call('ZADD', KEYS[1], redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2], ARGV[1])`,
					"1", session.IndexKey("u"), fmt.Sprint("!", i))
			}
		}, 0},
		{"filed before, and ended", true, func(t *testing.T, server *testredis.Server, order []string) {
			server.Do(t, "EVAL", `redis.call('ZADD', KEYS[1], redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2], '!new')`, "1", session.IndexKey("u"))
			zrem(t, server, order[0])
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := testredis.Start(t)
			store := open(t, server)
			all := indexed(t, store, 2300)
			if c.tied {
				ties(t, server)
			}
			order, err := ptr(server.Do(t, "ZRANGE", session.IndexKey("u"), "0", "-1")).AsStrSlice()
			if err != nil {
				t.Fatal(err)
			}
			got, err := store.ListBetween("u", func(page int) {
				if page == 1 {
					c.change(t, server, order)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			want := slices.DeleteFunc(all, func(rec *session.Record) bool { return slices.Contains(order[:c.gone], rec.ID.String()) })
			lists(t, got, want, true)
		})
	}
}

func zrem(t *testing.T, server *testredis.Server, ids ...string) {
	t.Helper()
	server.Do(t, append([]string{"ZREM", session.IndexKey("u")}, ids...)...)
}

func endFirst(t *testing.T, server *testredis.Server, order []string) {
	t.Helper()
	zrem(t, server, order[:50]...)
}

// An index that is always another one when it is asked for ends in an error, not in a list that never ends.
func TestListOfAnIndexThatKeepsChanging(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	store := open(t, server)
	indexed(t, store, 2300)
	ties(t, server)
	pages := 0
	_, err := store.ListBetween("u", func(int) {
		pages++
		server.Do(t, "EVAL", `for i = 1, 2 do
			redis.call('ZADD', KEYS[1], redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2], '!' .. ARGV[1] .. i)
			redis.call('SET', ARGV[2] .. '!' .. ARGV[1] .. i, '{')
		end`, "1", session.IndexKey("u"), fmt.Sprint(pages), "session:{"+string(session.TagOf("u"))+"}:")
		if pages > 1000 {
			t.Fatal("it goes on for ever")
		}
	})
	if !isError(err, session.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

// The embedded Redis pages as well.
func TestListOverMiniredis(t *testing.T) {
	t.Parallel()
	store := embedded(t)
	all := indexed(t, store, 5)
	for i := range 4100 {
		if _, err := store.EmbeddedServer().ZAdd(session.IndexKey("u"), float64(time.Now().Add(hour+2*time.Second).UnixMilli()), fmt.Sprint("dead", i)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.List(t.Context(), "u")
	if err != nil {
		t.Fatal(err)
	}
	lists(t, got, all, false)
	if left, err := store.EmbeddedServer().ZMembers(session.IndexKey("u")); err != nil || len(left) != len(all) {
		t.Errorf("%d entries are left, %v", len(left), err)
	}
}
