package session_test

import (
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// TestTry: it does what a login, a request and a logout do, leaves nothing behind, and says what is missing.
func TestTry(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	allow(t, server, "gatehouse", readme(t).gateway)
	store := open(t, server, as("gatehouse"))
	if err := store.Try(t.Context()); err != nil {
		t.Errorf("with the README's rights: %v", err)
	}
	answer := server.Do(t, "DBSIZE")
	if n, err := answer.AsInt64(); n != 0 || err != nil {
		t.Errorf("%d keys are left, %v", n, err)
	}
	for _, right := range []string{"evalsha", "time", "zadd", "set", "del", "zrange", "zcount"} {
		server.Do(t, "ACL", "SETUSER", "gatehouse", "-"+right)
		err := store.Try(t.Context())
		if !isError(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "redis.username") || !strings.Contains(err.Error(), "Rights in Redis") {
			t.Errorf("without %s: %v", right, err)
		}
		server.Do(t, "ACL", "SETUSER", "gatehouse", "+"+right)
	}
	cfg := config.Redis{Addresses: []string{server.Addr}}
	as("gatehouse")(&cfg)
	cfg.KeyPrefix = "other:"
	if err := openConfig(t, cfg, session.Options{}).Try(t.Context()); !isError(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "redis.key_prefix") {
		t.Errorf("with another prefix: %v", err)
	}
}
