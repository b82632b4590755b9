package session

import (
	"context"
	"errors"
	"time"

	"gatehouse/session/appsession"
)

// aliasGrace is how long an old, weak token stays good once the browser has used the new one: for
// requests that were on their way.
const aliasGrace = time.Minute

// moved notes in the alias that the session is in Redis now, and its row marked.
func (m *MigratingStore) moved(row ID, rec *Record) {
	if rec == nil || rec.Alias != "" { // the alias of a weak token ends soon
		return
	}
	m.later.once("alias", row, func() error {
		ctx := context.Background()
		a, err := m.redis.alias(ctx, row, true)
		if err != nil || a.State != "" {
			return ifUnavailable(err)
		}
		next := a
		next.State = aliasMoved
		_, err = m.redis.setAlias(ctx, row, a, next, m.aliasTTL(rec))
		if errors.Is(err, ErrConflict) { // its token was named meanwhile
			return err
		}
		return ifUnavailable(err)
	})
}

// endAlias ends what has become of an application's session, and notes that it has ended. note: also when it never
// came over; an application that goes on using its sessions may write its row anew. Only for sessions there were:
// anybody can make up cookies, and each note is kept for long.
func (m *MigratingStore) endAlias(ctx context.Context, row ID, userID string, note bool) (was bool, err error) {
	for range 3 {
		a, err := m.redis.alias(ctx, row, true)
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
			return was, err
		}
		// Its first ID first: a claim that is under way moves it from there to the other, and finds nothing then.
		for _, id := range []string{a.From, a.ID} {
			key, ok := aliasKey(a.Tag, id)
			if !ok {
				continue
			}
			there, err := m.revokeOf(ctx, key, userID)
			if err != nil {
				return was, err
			}
			was = was || there
		}
		if a.State == aliasEnded || a.raw == "" && !note {
			return was, nil
		}
		next := a
		next.State = aliasEnded
		if _, err = m.redis.setAlias(ctx, row, a, next, m.policy.absolute); !errors.Is(err, ErrConflict) {
			return was, err
		}
	}
	return was, unavailable(errors.New("the alias of a session keeps changing"))
}

// revokeOf is Revoke of a session whose user may not be known: then its record tells, so that it leaves the
// user's index too.
func (m *MigratingStore) revokeOf(ctx context.Context, key Key, userID string) (bool, error) {
	if userID == "" {
		found, err := m.redis.findFresh(ctx, key)
		switch {
		case errors.Is(err, ErrUnavailable):
			return false, err
		case err == nil:
			userID = found.Record.User.ID
		}
	}
	return m.redis.Revoke(ctx, key, userID)
}

// weakAlias is the alias to end once the new token is in use; "" for tokens that are as good as ours.
func (m *MigratingStore) weakAlias(app AppToken) string {
	if appsession.Strong(app.token) {
		return ""
	}
	return m.redis.keys.alias(rowID(app.row))
}

// ensureAlias names the session's new token, or finds the one an import that was cut short has named.
func (m *MigratingStore) ensureAlias(ctx context.Context, app AppToken, rec *Record) (alias, error) {
	held, err := m.redis.alias(ctx, rowID(app.row), true)
	switch {
	case err == nil && held.State != "":
		return alias{}, errEnded
	case err == nil && held.Tag == TagOf(rec.User.ID):
		return held, nil
	case err == nil: // the application has logged somebody else in on the row since
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt):
		held = alias{}
	default:
		return alias{}, err
	}
	next, _, err := newAlias(rec.User.ID, app.token)
	if err != nil {
		return alias{}, err
	}
	a, err := m.redis.setAlias(ctx, rowID(app.row), held, next, m.aliasTTL(rec))
	if errors.Is(err, ErrConflict) && a.raw != "" {
		return a, nil
	}
	return a, err
}

// aliasTTL: until the session's own end at the latest.
func (m *MigratingStore) aliasTTL(rec *Record) time.Duration {
	return max(rec.ExpiresAt.Sub(m.clock()), time.Second)
}

// claim gives a session that came over without its browser (backfill) the token it has not had yet.
// The alias is written first: whoever finds it goes on from there.
func (m *MigratingStore) claim(ctx context.Context, app AppToken, a alias) (Found, string, error) {
	key, _ := a.key()
	found, err := m.redis.Find(ctx, key)
	if err != nil {
		return found, "", err
	}
	next, token, err := newAlias(found.Record.User.ID, app.token)
	if err != nil {
		return Found{}, "", err
	}
	next.From, next.State = a.ID, a.State
	switch held, err := m.redis.setAlias(ctx, rowID(app.row), a, next, m.aliasTTL(found.Record)); {
	case errors.Is(err, ErrConflict): // another request was first
		if held.raw == "" || len(held.Sealed) == 0 {
			return found, "", nil
		}
		if token, err = held.open(app.token); err != nil {
			return Found{}, "", ErrNotFound
		}
		next = held
	case err != nil:
		return found, "", nil // served as it is, and tried again with the next request
	}
	return m.finishClaim(ctx, app, next, token)
}

// finishClaim moves the session from its first ID to that of its token.
func (m *MigratingStore) finishClaim(ctx context.Context, app AppToken, a alias, token string) (Found, string, error) {
	key, _ := a.key()
	from, ok := a.from()
	if !ok {
		return Found{}, "", ErrNotFound
	}
	for range 3 {
		old, err := m.redis.findFresh(ctx, from)
		if errors.Is(err, ErrNotFound) { // done by another request, or revoked
			found, err := m.redis.findFresh(ctx, key)
			return found, token, err
		}
		if err != nil {
			return old, "", err
		}
		next := old.Record.Clone()
		next.ID, next.Alias = key.ID, m.weakAlias(app)
		err = m.redis.rotate(ctx, old.Record, next, m.ttl(next))
		switch {
		case errors.Is(err, ErrUnavailable):
			return old, "", nil
		case err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound):
			return Found{}, "", err
		}
	}
	found, err := m.redis.findFresh(ctx, key)
	return found, token, err
}

// confirm: the browser has the new token, so the old one, which was too weak, ends soon. Off the request's path.
func (m *MigratingStore) confirm(rec *Record) {
	m.later.once("confirm", rec.ID, func() error {
		ctx := context.Background()
		if err := m.redis.expireAlias(ctx, rec.Alias, aliasGrace); err != nil {
			return err
		}
		next := rec.Clone()
		next.Alias = ""
		if err := m.redis.Replace(ctx, rec, next, m.ttl(next)); errors.Is(err, ErrUnavailable) {
			return err
		}
		return nil // changed or gone meanwhile: its next use comes here again
	})
}
