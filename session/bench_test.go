package session_test

import (
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// warm makes the session be in memory.
func warm(t testing.TB, g *gateway, token string) {
	t.Helper()
	await(t, "the session to be in memory", func() bool { return g.finds(t, token).Source == session.FromCache })
}

func BenchmarkFindHit(b *testing.B) {
	g := newGateway(b, testredis.Start(b).Addr)
	token, rec := g.login(b, "42")
	warm(b, g, token)
	key := rec.Key()
	b.Run("store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f, err := g.store.Find(b.Context(), key); err != nil || f.Source != session.FromCache {
				b.Fatal(f.Source, err)
			}
		}
	})
	b.Run("manager", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if s, err := g.Find(b.Context(), token); err != nil || s.Source != session.FromCache {
				b.Fatal(s.Source, err)
			}
		}
	})
	b.Run("parse token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := session.ParseToken(token); !ok {
				b.Fatal("no token")
			}
		}
	})
}

func BenchmarkFindMiss(b *testing.B) {
	g := newGateway(b, testredis.Start(b).Addr)
	absent, _ := session.ParseToken(session.NewToken("nobody"))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		absent.ID[0], absent.ID[1], absent.ID[2] = byte(i), byte(i>>8), byte(i>>16)
		if _, err := g.store.Find(b.Context(), absent); err == nil {
			b.Fatal("found")
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	g := newGateway(b, testredis.Start(b).Addr)
	b.ReportAllocs()
	for b.Loop() {
		g.login(b, "42")
	}
}
