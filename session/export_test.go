package session

import (
	"context"

	"gatehouse/config"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
)

// What tests outside the package need of its inside.

// EmbeddedServer is the Redis inside the process.
func (s *RedisStore) EmbeddedServer() *miniredis.Miniredis { return s.embedded.server }

// Away reports whether the breaker is open.
func (s *RedisStore) Away() bool { return s.breaker.open.Load() }

// Client is the connection as it is now.
func (s *RedisStore) Client() (rueidis.Client, error) { return s.link.get() }

// LimitKeyForTest is the key of a limit's bucket, without prefix.
func LimitKeyForTest(name string) string { return keyspace{}.limit(name) }

// EpochAt is a point in Redis's order of logins.
func EpochAt(n int64) Epoch { return Epoch{redis: n, hasRedis: true} }

// Crash has hook called at the steps of an import: "locked", "brought" (the record is in Redis, nothing is
// committed) and "committed" (and nobody has heard). An error of it ends the import there.
func (m *MigratingStore) Crash(hook func(step string) error) { m.table = &crashing{m.table, hook} }

type crashing struct {
	table
	hook func(string) error
}

func (c *crashing) Move(ctx context.Context, key Key, f func(*Record, bool) error) error {
	err := c.table.Move(ctx, key, func(rec *Record, moved bool) error {
		if err := c.hook("locked"); err != nil {
			return err
		}
		if err := f(rec, moved); err != nil {
			return err
		}
		return c.hook("brought")
	})
	if err == nil {
		err = c.hook("committed")
	}
	return err
}

// ClaimHalf names a token for a session that was backfilled, and goes no further.
func (m *MigratingStore) ClaimHalf(ctx context.Context, app AppToken) (string, error) {
	a, err := m.redis.alias(ctx, rowID(app.row), true)
	if err != nil {
		return "", err
	}
	key, _ := a.key()
	found, err := m.redis.Find(ctx, key)
	if err != nil {
		return "", err
	}
	next, token, err := newAlias(found.Record.User.ID, app.token)
	if err != nil {
		return "", err
	}
	next.From, next.State = a.ID, a.State
	_, err = m.redis.setAlias(ctx, rowID(app.row), a, next, m.aliasTTL(found.Record))
	return token, err
}

// AliasKeyForTest is the key of a row's alias, without prefix.
func AliasKeyForTest(row string) string { return keyspace{}.alias(rowID(row)) }

// SetBorn makes a record one of a session that was born in the application's table.
func SetBorn(r *Record) { r.born = true }

// Connect gives a client as a store has one.
func Connect(cfg config.Redis) (rueidis.Client, error) {
	l, err := newLink(cfg, Options{}.withDefaults(), nil)
	if err != nil {
		return nil, err
	}
	c, _, err := l.connect()
	return c, err
}
