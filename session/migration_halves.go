package session

import (
	"context"
	"sync"
)

// halves are the revocations of all sessions of a user that the table has confirmed and Redis has not.
type halves struct {
	mu   sync.Mutex
	done map[string]struct{}
}

func (h *halves) key(userID string, except []ID) string {
	key := userID
	for _, id := range except {
		key += "\x00" + string(id[:])
	}
	return key
}

func (h *halves) has(userID string, except []ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.done[h.key(userID, except)]
	return ok
}

// set is bounded by the revocations that wait to be confirmed (maxPending): only these are tried again.
func (h *halves) set(userID string, except []ID, half bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := h.key(userID, except)
	if !half {
		delete(h.done, key)
		return
	}
	if h.done == nil {
		h.done = map[string]struct{}{}
	}
	if len(h.done) < maxPending {
		h.done[key] = struct{}{}
	}
}

type retryKey struct{}

// retrying marks a call that repeats one that was not confirmed.
func retrying(ctx context.Context) context.Context { return context.WithValue(ctx, retryKey{}, true) }

func isRetry(ctx context.Context) bool { return ctx.Value(retryKey{}) != nil }
