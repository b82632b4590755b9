package session_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// breaking is a store that fails after a part of a user's sessions has ended, one for each entry of ends.
type breaking struct {
	session.Store
	mu   sync.Mutex
	ends []*session.Record
	// hold: the attempts after the first wait until it is closed.
	hold   chan struct{}
	called int
}

func (b *breaking) RevokeUser(ctx context.Context, userID string, except ...session.ID) ([]session.ID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.called++; b.called > 1 {
		<-b.hold
	}
	if len(b.ends) == 0 {
		return b.Store.RevokeUser(ctx, userID, except...)
	}
	rec := b.ends[0]
	b.ends = b.ends[1:]
	if _, err := b.Store.Revoke(ctx, rec.Key(), userID); err != nil {
		return nil, err
	}
	return []session.ID{rec.ID}, errors.Join(session.ErrUnavailable, errors.New("the connection broke"))
}

// What had ended when the store failed has ended: its streams end at once, wherever it was read last, and it is counted once.
func TestRevokeUserThatBreaksOff(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	other := newGateway(t, server.Addr) // where they log in: the gateway under test has none of them in memory
	var all []*session.Record
	var tokens []string
	for range 5 {
		token, rec := other.login(t, "u")
		all, tokens = append(all, rec), append(tokens, token)
	}
	log, metrics, spared := &buffer{}, telemetry.NewMetrics(), all[4].ID
	opts := session.Options{Log: zerolog.New(log), Metrics: metrics}
	store := &breaking{Store: open(t, server), ends: []*session.Record{all[0], all[1]}, hold: make(chan struct{})}
	g := &gateway{Manager: session.NewManager(store, config.Session{Idle: hour, Absolute: hour, MaxPerUser: 20}, config.Outage{}, opts), metrics: metrics, log: log}
	g.OnEnd(func(ids []session.ID) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ended = append(g.ended, ids...)
	})
	release := sync.OnceFunc(func() { close(store.hold) })
	t.Cleanup(func() { release(); g.Close(context.Background()) })

	n, err := g.RevokeUser(t.Context(), "u", spared)
	if n != 1 || !isError(err, session.ErrUnconfirmed) {
		t.Fatalf("%d, %v; want the one that ended, and that it is not confirmed", n, err)
	}
	if ids := g.told(); !slices.Equal(ids, []session.ID{all[0].ID}) {
		t.Errorf("told of %v, want the one that ended", ids)
	}
	if got := g.metric(`gatehouse_sessions_ended_total{reason="revoked"}`); got != 1 {
		t.Errorf("%d counted, want 1", got)
	}
	g.refuses(t, tokens[0], session.ErrNotFound)
	release()
	await(t, "the others to have ended", func() bool { return g.metric("gatehouse_revocations_pending") == 0 })
	ids := g.told()
	if len(ids) != 3 || slices.Contains(ids, all[0].ID) || slices.Contains(ids, spared) {
		t.Errorf("then told of %v, want the other three", ids)
	}
	if got := g.metric(`gatehouse_sessions_ended_total{reason="revoked"}`); got != 4 {
		t.Errorf("%d counted, want 4", got)
	}
	text := log.String()
	if one, two := strings.Count(text, `"count":1`), strings.Count(text, `"count":2`); one != 2 || two != 1 {
		t.Errorf("the audit lines do not add up to 4: %s", text)
	}
	g.finds(t, tokens[4])
}
