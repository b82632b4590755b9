package session

import (
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

// Sources are the scripts by name.
func Sources() map[string]string {
	return map[string]string{
		"create": sourceCreate, "replace": sourceReplace, "revoke": sourceRevoke, "revokeUser": sourceRevokeUser,
		"list": sourceList, "advance": sourceAdvance, "raise": sourceRaise,
	}
}

// UseScripts makes the store run changed scripts.
func (s *RedisStore) UseScripts(change func(string) string) {
	lua := func(source string) *rueidis.Lua { return rueidis.NewLuaScript(change(source)) }
	s.scripts = scripts{
		create: lua(sourceCreate), replace: lua(sourceReplace), revoke: lua(sourceRevoke), revokeUser: lua(sourceRevokeUser),
		list: lua(sourceList), advance: lua(sourceAdvance), raise: lua(sourceRaise),
	}
}

// LimitKeyForTest is the key of a limit's bucket, without prefix.
func LimitKeyForTest(name string) string { return keyspace{}.limit(name) }

// EpochAt is a point in Redis's order of logins.
func EpochAt(n int64) Epoch { return Epoch{redis: n, hasRedis: true} }
