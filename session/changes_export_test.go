package session

// EvictForTest drops a session from memory, as a full one does, and leaves it tracked by Redis.
func (s *RedisStore) EvictForTest(id ID) { s.known.remove(id) }
