//go:build !race

package session_test

import (
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// A user who is not due costs a look into memory, and no garbage.
func TestRefreshMakesNoGarbage(t *testing.T) {
	d := newDirectory(ann)
	g := d.reads(newGateway(t, testredis.Start(t).Addr))
	token, rec := d.as(t, g, "1")
	warm(t, g, token)
	key := rec.Key()
	for name, find := range map[string]func() session.Session{
		"manager": func() session.Session { s, _ := g.Find(t.Context(), token); return s },
		"check":   func() session.Session { s, _ := g.Check(t.Context(), key); return s },
	} {
		wrong := 0
		n := testing.AllocsPerRun(2000, func() {
			if s := find(); s.Record == nil || s.Source != session.FromCache {
				wrong++
			}
		})
		// A shared deadline is made anew every 25 ms: a few allocations in thousands of calls.
		if n >= 1 || wrong > 0 {
			t.Errorf("%s: %v allocations, %d not from the cache", name, n, wrong)
		}
	}
	if d.took("1") != 1 {
		t.Errorf("asked %d times", d.took("1"))
	}
}

func BenchmarkFindHitWithRefresh(b *testing.B) {
	d := newDirectory(ann)
	g := d.reads(newGateway(b, testredis.Start(b).Addr))
	token, _ := d.as(b, g, "1")
	warm(b, g, token)
	b.ReportAllocs()
	for b.Loop() {
		if s, err := g.Find(b.Context(), token); err != nil || s.Source != session.FromCache {
			b.Fatal(s.Source, err)
		}
	}
}
