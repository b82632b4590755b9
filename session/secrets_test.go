package session_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	a, b := newGateway(t, server.Addr), newGateway(t, server.Addr)
	token, rec := a.login(t, "u", func(l *session.Login) { l.Secrets = []byte("one") })
	open := func(g *gateway, token string) string {
		t.Helper()
		secrets, err := g.Secrets(g.finds(t, token).Record, token)
		if err != nil {
			t.Fatal(err)
		}
		return string(secrets)
	}
	set := func(g *gateway, want string) error {
		return g.ChangeSecrets(t.Context(), token, func([]byte) ([]byte, error) { return []byte(want), nil })
	}
	if open(a, token) != "one" || open(b, token) != "one" {
		t.Error("the secrets of the login are not there")
	}
	for _, want := range []string{"two", "three", ""} {
		if err := set(a, want); err != nil {
			t.Fatal(err)
		}
		if got := open(a, token); got != want {
			t.Errorf("right after the change: %q, want %q", got, want)
		}
		await(t, "the other replica to see the change", func() bool { return open(b, token) == want })
	}
	if s := a.finds(t, token); !s.ExpiresAt.Equal(rec.ExpiresAt) || !s.CreatedAt.Equal(rec.CreatedAt) {
		t.Error("a change moved the session's limits")
	}
	// Nothing to change, nothing written.
	before := commands(t, server, "set")
	if err := set(a, ""); err != nil || commands(t, server, "set") != before {
		t.Errorf("an unchanged jar was written, %v", err)
	}
	failure := errors.New("no")
	if err := a.ChangeSecrets(t.Context(), token, func([]byte) ([]byte, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Errorf("the caller's error is lost: %v", err)
	}
	if err := a.ChangeSecrets(t.Context(), token, func([]byte) ([]byte, error) { return make([]byte, 100_000), nil }); !errors.Is(err, session.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	none, _ := a.login(t, "u")
	if open(a, none) != "" {
		t.Error("secrets out of nothing")
	}
	if _, err := a.Secrets(mustSeal(t, a), token); err == nil {
		t.Error("another session's secrets open with this token")
	}
	a.Revoke(t.Context(), rec.Key(), "u")
	if err := set(a, "late"); !isError(err, session.ErrNotFound) {
		t.Errorf("a revoked session: %v", err)
	}
	// The other replica may not have heard yet: the store refuses all the same.
	if err := set(b, "late"); !isError(err, session.ErrNotFound) {
		t.Errorf("a revoked session, elsewhere: %v", err)
	}
}

func mustSeal(t *testing.T, g *gateway) *session.Record {
	token, _ := g.login(t, "u", func(l *session.Login) { l.Secrets = []byte("other") })
	return g.finds(t, token).Record
}

// Parallel changes on two replicas: none is lost.
func TestParallelSecrets(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	replicas := []*gateway{newGateway(t, server.Addr), newGateway(t, server.Addr)}
	token, _ := replicas[0].login(t, "u")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				err := replicas[i%2].ChangeSecrets(context.Background(), token, func(old []byte) ([]byte, error) {
					return append(old, byte('a'+i)), nil
				})
				if err != nil {
					t.Errorf("ChangeSecrets: %v", err)
				}
			}
		})
	}
	all.Wait()
	await(t, "the last change to be seen", func() bool {
		secrets, _ := replicas[0].Secrets(replicas[0].finds(t, token).Record, token)
		return len(secrets) == 80
	})
	secrets, _ := replicas[0].Secrets(replicas[0].finds(t, token).Record, token)
	for i := range 8 {
		if n := bytes.Count(secrets, []byte{byte('a' + i)}); n != 10 {
			t.Errorf("writer %d: %d of 10 changes", i, n)
		}
	}
}
