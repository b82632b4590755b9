package session

// ListBetween lists as List does, and calls between after each page.
func (s *RedisStore) ListBetween(userID string, between func(page int)) ([]*Record, error) {
	l := s.listing(userID)
	for page := 1; ; page++ {
		more, err := l.next()
		if err != nil || !more {
			return l.sorted(), err
		}
		between(page)
	}
}
