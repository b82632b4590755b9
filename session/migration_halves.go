package session

import (
	"context"
	"sync"
)

// half is how far a revocation of all sessions of a user has come.
type half struct {
	table, redis bool
	rows         []ID // that ended in the table
}

// halves are the revocations of all sessions of a user that not both stores have confirmed yet. What one of them has
// confirmed is not asked of it again with every try: that would end the logins that come later.
type halves struct {
	mu sync.Mutex
	of map[string]half
}

func halfKey(userID string, except []ID) string {
	key := userID
	for _, id := range except {
		key += "\x00" + string(id[:])
	}
	return key
}

// begin gives how far a revocation has come that is tried again; one that is asked for anew begins at the beginning.
func (h *halves) begin(ctx context.Context, key string) half {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !isRetry(ctx) {
		delete(h.of, key)
	}
	return h.of[key]
}

// keep is bounded by the revocations that wait to be confirmed (maxPending): only these are tried again.
func (h *halves) keep(key string, come half) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = map[string]half{}
	}
	if _, known := h.of[key]; known || len(h.of) < maxPending {
		h.of[key] = come
	}
}

func (h *halves) done(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.of, key)
}

type retryKey struct{}

// retrying marks a call that repeats one that was not confirmed.
func retrying(ctx context.Context) context.Context { return context.WithValue(ctx, retryKey{}, true) }

func isRetry(ctx context.Context) bool { return ctx.Value(retryKey{}) != nil }
