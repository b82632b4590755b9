package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// TestLogoutByTheApplicationsCookieHolds: the logout could not be confirmed, because Redis was away. From the moment Redis is
// back until it is, the session, which has another ID there, is refused all the same.
func TestLogoutByTheApplicationsCookieHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis = testredis.Start(t, testredis.Persistent())
	quickly := func(c *config.Config) { c.Redis.Timeout = 250 * time.Millisecond }
	elsewhere, here := w.replica(config.StatePrimary, quickly), w.replica(config.StatePrimary, quickly)
	who := w.row("1", strongToken)
	who.isIn(elsewhere)
	app, _ := here.cookie.Read(http.Header{"Cookie": {"sid=" + strongToken}})
	w.redis.Kill()
	if err := here.Revoke(context.Background(), app.Key(), ""); !errors.Is(err, session.ErrUnconfirmed) {
		t.Fatalf("logout: %v", err)
	}
	w.redis.Restart()
	await(t, "the logout to be confirmed", func() bool {
		if s, err := here.FindApp(context.Background(), app); err == nil {
			t.Fatalf("who has logged out is served as user %s", s.User.ID)
		}
		_, err := who.visit(elsewhere)
		return errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrUnavailable)
	})
}
