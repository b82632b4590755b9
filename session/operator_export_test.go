package session

import "github.com/redis/rueidis"

// UseAuditScripts makes the store run changed scripts of an audit.
func (s *RedisStore) UseAuditScripts(change func(string) string) {
	lua := func(source string) *rueidis.Lua { return rueidis.NewLuaScript(change(source)) }
	s.scripts.auditSession, s.scripts.auditIndex, s.scripts.drop = lua(sourceAuditSession), lua(sourceAuditIndex), lua(sourceDrop)
}

// IndexKey is the key of a user's index, without prefix.
func IndexKey(userID string) string { return keyspace{}.index(userID) }
