package session_test

import (
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// Two replicas take from one bucket (L03).
func TestL03_LimitsHoldTogether(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	plain := func(*config.Redis) {}
	a, b := open(t, server, plain), open(t, server, plain)
	taken := 0
	var wait time.Duration
	for i := range 20 {
		store := a
		if i%2 == 1 {
			store = b
		}
		retry, ok, err := store.Take(t.Context(), "account:bob", 0.01, 5)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			taken++
		} else {
			wait = retry
		}
	}
	if taken != 5 {
		t.Errorf("%d events of two replicas were let through, want 5", taken)
	}
	if wait <= 90*time.Second || wait > 100*time.Second {
		t.Errorf("told to wait %v, want a little under 100 s", wait)
	}
	if _, ok, err := a.Take(t.Context(), "account:eve", 0.01, 5); !ok || err != nil {
		t.Errorf("another name: %v, %v", ok, err)
	}
	// It refills by Redis's clock, and a bucket that is full again is gone.
	for range 3 {
		if _, ok, err := a.Take(t.Context(), "quick", 20, 1); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
		if retry, ok, _ := b.Take(t.Context(), "quick", 20, 1); ok || retry > 50*time.Millisecond {
			t.Errorf("an empty bucket: %v, wait %v", ok, retry)
		}
		await(t, "the bucket to be full again", func() bool {
			answer := server.Do(t, "EXISTS", session.LimitKeyForTest("quick"))
			left, err := answer.AsInt64()
			return err == nil && left == 0
		})
	}
	server.Kill()
	if _, _, err := a.Take(t.Context(), "account:bob", 1, 5); !isError(err, session.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
}

func TestTakeOverMiniredis(t *testing.T) {
	t.Parallel()
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{"embedded"}, Timeout: time.Second}, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i, want := range []bool{true, true, false} {
		if _, ok, err := store.Take(t.Context(), "n", 0.001, 2); ok != want || err != nil {
			t.Errorf("event %d: %v, %v", i, ok, err)
		}
	}
}
