package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/fault"

	"github.com/redis/rueidis"
)

// An alias leads from a session of the application's to what it has become in Redis. The browser that
// brings the application's cookie is given the new token; until it brings that, and for clients that
// never take a new cookie, the alias is how the session is found.
type alias struct {
	Tag Tag    `json:"tag"`
	ID  string `json:"id"`
	// Sealed is the new token, under a key derived from the application's: whoever brings that gets it
	// again, as often as an answer was lost, and nobody who reads Redis does. Empty: the session came over
	// without the browser (backfill), its token is not known to anybody yet.
	Sealed []byte `json:"sealed,omitempty"`
	// From is the ID the session had before its token was made, should that have been cut short.
	From string `json:"from,omitempty"`
	// State says more of it, once there is more to say: aliasMoved or aliasEnded.
	State string `json:"state,omitempty"`

	raw string
}

// The values of alias.State.
const (
	// aliasMoved: the session was in Redis and its row was marked. If it is not there any more, it has ended, whatever
	// becomes of the row: an application that goes on using its sessions may write it anew.
	aliasMoved = "moved"
	// aliasEnded: the session has ended without ever having come over.
	aliasEnded = "ended"
)

// errEnded: the application's session has ended, and does not come back if its row does.
var errEnded = fmt.Errorf("%w: ended", ErrNotFound)

func (a alias) key() (Key, bool)  { return aliasKey(a.Tag, a.ID) }
func (a alias) from() (Key, bool) { return aliasKey(a.Tag, a.From) }

func aliasKey(tag Tag, id string) (Key, bool) {
	parsed, ok := ParseID(id)
	return Key{Tag: tag, ID: parsed}, ok
}

// newAlias names a new token for the user, sealed under the application's.
func newAlias(userID, appToken string) (a alias, token string, err error) {
	token = NewToken(userID)
	key, _ := ParseToken(token)
	a = alias{Tag: key.Tag, ID: key.ID.String()}
	if appToken != "" {
		a.Sealed, err = seal(appToken, key.ID, []byte(token))
	}
	return a, token, err
}

// open gives the new token to who has the application's; "" when there is none yet.
func (a alias) open(appToken string) (string, error) {
	key, ok := a.key()
	if !ok {
		return "", fmt.Errorf("%w: alias without an ID", ErrCorrupt)
	}
	token, err := unseal(appToken, key.ID, a.Sealed)
	return string(token), err
}

// alias reads where a row's session is. ErrNotFound, ErrCorrupt, ErrUnavailable. fresh asks past the cache:
// for who has just heard from the database that there must be one.
func (s *RedisStore) alias(_ context.Context, row ID, fresh bool) (alias, error) {
	c, err := s.client()
	if err != nil {
		return alias{}, err
	}
	name := s.keys.alias(row)
	var reply rueidis.RedisResult
	if !fresh {
		reply = c.DoCache(s.deadlines.context(), c.B().Get().Key(name).Cache(), clientTTL)
	}
	if err := reply.Error(); fresh || errors.Is(err, rueidis.ErrDoCacheAborted) || isFull(err) {
		reply = c.Do(s.deadlines.context(), c.B().Get().Key(name).Build())
	}
	raw, err := reply.ToString()
	switch {
	case rueidis.IsRedisNil(err):
		return alias{}, ErrNotFound
	case err != nil:
		return alias{}, s.failed(err)
	}
	s.breaker.report(nil)
	return parseAlias(raw)
}

func parseAlias(raw string) (alias, error) {
	a := alias{raw: raw}
	if err := json.Unmarshal([]byte(raw), &a); err != nil {
		return alias{}, fmt.Errorf("%w: alias is no JSON", ErrCorrupt)
	}
	if _, ok := a.key(); !ok && a.State != aliasEnded {
		return alias{}, fmt.Errorf("%w: alias without an ID", ErrCorrupt)
	}
	return a, nil
}

// setAlias writes next over old (the zero alias: over nothing) and gives what stands there then: next, or
// with ErrConflict what somebody else has written meanwhile.
func (s *RedisStore) setAlias(_ context.Context, row ID, old, next alias, ttl time.Duration) (alias, error) {
	text, err := json.Marshal(next)
	if err != nil {
		return alias{}, err
	}
	next.raw = string(text)
	fault.Point("alias.before")
	answer, err := s.exec(s.scripts.alias, []string{s.keys.alias(row)}, []string{old.raw, next.raw, milliseconds(ttl)})
	switch {
	case err != nil:
		return alias{}, err
	case answer[0] == "ok":
		fault.Point("alias.done")
		return next, nil
	case answer[0] == "conflict" && len(answer) == 2 && answer[1] != "":
		held, err := parseAlias(answer[1])
		if err != nil {
			return alias{}, err
		}
		return held, ErrConflict
	case answer[0] == "conflict":
		return alias{}, ErrConflict
	}
	return alias{}, s.surprised(answer)
}

// expireAlias lets an alias end after ttl. name is Record.Alias.
func (s *RedisStore) expireAlias(_ context.Context, name string, ttl time.Duration) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	err = c.Do(s.deadlines.context(), c.B().Pexpire().Key(name).Milliseconds(ttl.Milliseconds()).Build()).Error()
	if err != nil {
		return s.failed(err)
	}
	s.breaker.report(nil)
	return nil
}

// rotate gives a session another ID, in one step. ErrNotFound when it is gone: it is not brought back.
// ErrConflict when it was changed since it was read.
func (s *RedisStore) rotate(_ context.Context, old, next *Record, ttl time.Duration) error {
	raw, err := encodeRecord(next)
	if err != nil {
		return err
	}
	key := next.Key()
	stored, err := decodeRecord(raw, key)
	if err != nil {
		return err
	}
	keys := []string{s.keys.session(old.Key()), s.keys.session(key), s.keys.index(next.User.ID)}
	fault.Point("rotate.before")
	answer, err := s.exec(s.scripts.rotate, keys, []string{old.raw, raw, milliseconds(ttl), old.ID.String(), next.ID.String()})
	if err != nil {
		return err
	}
	switch answer[0] {
	case "ok":
		fault.Point("rotate.done")
		s.forget(old.Key())
		s.remember(key, keys[1], stored, time.Now())
		return nil
	case "gone":
		return ErrNotFound
	case "conflict":
		return ErrConflict
	}
	return s.surprised(answer)
}

// findFresh is Find past the cache: for who knows from elsewhere that the session must be there.
func (s *RedisStore) findFresh(ctx context.Context, key Key) (Found, error) {
	c, err := s.client()
	if err != nil {
		return Found{}, err
	}
	name := s.keys.session(key)
	raw, err := c.Do(s.deadlines.context(), c.B().Get().Key(name).Build()).ToString()
	return s.found(s.deadlines.context(), c, key, name, s.known.get(key), raw, false, err)
}
