package session_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"gatehouse/internal/testredis"
)

func TestStats(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Flags("--maxmemory", "100mb"))
	o, g := newOperator(t, server, func(s *settings) { s.session.MaxPerUser = 0 })
	_, oldest := g.login(t, "u0")
	for user, n := range map[string]int{"u0": 1, "u1": 1, "u2": 4, "u3": 5, "u4": 12, "u5": 120} {
		for range n {
			g.login(t, user)
		}
	}
	_, spoilt := g.login(t, "u6")
	server.Do(t, "SET", name(spoilt), `{"v":99}`, "KEEPTTL")
	server.Do(t, "SET", "session:of-another-program", "x")
	var told [][2]int64
	s, err := o.Stats(t.Context(), func(done, total int64) { told = append(told, [2]int64{done, total}) })
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]int64{}
	for _, r := range s.PerUser {
		if r.Users > 0 {
			users[fmt.Sprintf("%d-%d", r.From, r.To)] = r.Users
		}
	}
	want := map[string]int64{"1-1": 1, "2-2": 1, "3-5": 2, "11-20": 1, "101-0": 1}
	if s.Sessions != 144 || s.Users != 6 || s.Corrupt != 1 || s.Copies != 0 || !maps.Equal(users, want) {
		t.Errorf("%+v, per user %v, want %v", s, users, want)
	}
	if s.Oldest == nil || s.Oldest.ID != oldest.ID.String() || s.Oldest.UserID != "u0" {
		t.Errorf("oldest %+v", s.Oldest)
	}
	m := s.Memory
	if m.Used == nil || *m.Used < 100_000 || m.Max == nil || *m.Max != 100<<20 || m.Sampled != 144 || m.PerSession == nil || *m.PerSession < 200 || *m.PerSession > 2000 {
		t.Errorf("memory %+v", m)
	}
	last := told[len(told)-1]
	if last[0] != last[1] || last[1] < 144 || !slices.IsSortedFunc(told, func(a, b [2]int64) int { return int(a[0] - b[0]) }) {
		t.Errorf("progress %v", told)
	}
}

func TestStatsOfNothing(t *testing.T) {
	t.Parallel()
	o, _ := newOperator(t, testredis.Start(t))
	s, err := o.Stats(t.Context(), nil)
	if err != nil || s.Sessions != 0 || s.Users != 0 || s.Oldest != nil || s.Memory.PerSession != nil || s.Memory.Max == nil || *s.Memory.Max != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// A Redis that does not say what its memory is, or refuses to: unknown, and no error.
func TestStatsWithNarrowRights(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	server.Do(t, "ACL", "SETUSER", "narrow", "on", ">secret", "~*", "&*", "+@all", "-info", "-memory", "-dbsize")
	o, g := newOperator(t, server, func(s *settings) { s.redis.Username, s.redis.Password = "narrow", "secret" })
	g.login(t, "ada")
	s, err := o.Stats(t.Context(), func(_, total int64) {
		if total != 0 {
			t.Errorf("total %d, which nobody has said", total)
		}
	})
	if err != nil || s.Sessions != 1 || s.Memory.Used != nil || s.Memory.Max != nil || s.Memory.PerSession != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if g.store.Away() {
		t.Error("Redis counts as away")
	}
}
