package session

import (
	"context"
	"errors"
	"time"
)

// Try finds out whether Redis takes what the gateway asks of it: it makes a session of nobody, finds, prolongs, lists and
// ends it. An answer to a plain question does not show that the gateway's user has the rights to log people in.
func (s *RedisStore) Try(ctx context.Context) (err error) {
	user := "gatehouse-check-" + NewToken("")[tagChars+1:]
	key, _ := ParseToken(NewToken(user))
	began, err := s.Epoch(ctx)
	if err != nil {
		return err
	}
	now := s.clock().UTC()
	rec := &Record{ID: key.ID, User: User{ID: user}, CreatedAt: now, LastAccessed: now, ExpiresAt: now.Add(tryTTL)}
	_, err = s.Create(ctx, rec, CreateOptions{Began: began, TTL: tryTTL, MaxPerUser: 1})
	if err != nil {
		return err
	}
	defer func() {
		_, ended := s.Revoke(ctx, key, user)
		err = errors.Join(err, ended)
	}()
	found, err := s.Find(ctx, key)
	if err != nil {
		return err
	}
	if err := s.Replace(ctx, found.Record, found.Record.Clone(), tryTTL); err != nil {
		return err
	}
	_, err = s.List(ctx, user)
	return err
}

// tryTTL is how long what Try makes is left should it be cut short.
const tryTTL = 10 * time.Second
