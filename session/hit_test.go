//go:build !race

package session_test

import (
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// Finding a session in memory stands in front of every request: it must make no garbage. The race
// detector allocates on its own, so this is counted without it.
func TestFindMakesNoGarbage(t *testing.T) {
	g := newGateway(t, testredis.Start(t).Addr)
	token, rec := g.login(t, "42")
	warm(t, g, token)
	key := rec.Key()
	for name, find := range map[string]func() session.Source{
		"store":   func() session.Source { f, _ := g.store.Find(t.Context(), key); return f.Source },
		"manager": func() session.Source { s, _ := g.Find(t.Context(), token); return s.Source },
		"check":   func() session.Source { s, _ := g.Check(t.Context(), key); return s.Source },
	} {
		sources := map[session.Source]int{session.FromCache: 0}
		n := testing.AllocsPerRun(2000, func() { sources[find()]++ })
		// A shared deadline is made anew every 25 ms: a few allocations in thousands of calls.
		if n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if len(sources) != 1 {
			t.Errorf("%s: sources %v, want the cache alone", name, sources)
		}
	}
}
