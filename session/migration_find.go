package session

import (
	"context"
	"errors"

	"gatehouse/config"
)

// Find gives the session under key, and brings it over when the state asks for that.
//
//	born in Redis          Redis
//	born in the table      legacy, shadow: the table, and Redis when the row is marked
//	                       primary, drain: Redis, else the table and over
//	                       done: Redis
//
// canary is primary for the users who are in, and shadow for the others. When one store is away the other is
// asked all the same; what only the one that is away could know is ErrUnavailable.
func (m *MigratingStore) Find(ctx context.Context, key Key) (Found, error) {
	set := m.Setting()
	switch {
	case key.Row != "":
		return m.findRow(ctx, key.Row)
	case !key.Database:
		return m.findBornInRedis(ctx, key)
	case set.State == config.StateDone:
		return m.findDone(ctx, key)
	case set.moves(key.Tag):
		return m.findMoved(ctx, key)
	default:
		return m.findInTable(ctx, key, set)
	}
}

// findBornInRedis also takes note when a browser uses the new token of a session whose old one was weak.
func (m *MigratingStore) findBornInRedis(ctx context.Context, key Key) (Found, error) {
	found, err := m.redis.Find(ctx, key)
	if err == nil && found.Record.Alias != "" {
		m.confirm(found.Record)
	}
	return found, err
}

// findDone: a copy that nobody has adopted yet counts only with its row, in this state too.
func (m *MigratingStore) findDone(ctx context.Context, key Key) (Found, error) {
	found, err := m.redis.Find(ctx, key)
	if err == nil && found.Record.Database == DatabaseCopy {
		return m.adopt(ctx, key, found)
	}
	return found, err
}

// tableFind asks the table, unless its rows are not to be read now.
func (m *MigratingStore) tableFind(ask func() (Found, error)) (Found, error) {
	if m.closing.Load() {
		return Found{}, unavailable(errClosing)
	}
	found, err := ask()
	switch {
	case err == nil:
		m.stats.add(statDatabaseHits)
	case errors.Is(err, ErrUnavailable):
		m.stats.add(statErrors)
	}
	return found, err
}

// errClosing is why the table is not read between state done and an earlier one.
var errClosing = errors.New("the sessions table is being closed after state done; its sessions ended then")

// findInTable is for users whose sessions are in the table. One that has come over, and whose row
// is marked therefore, stays in Redis: a step back logs nobody out.
func (m *MigratingStore) findInTable(ctx context.Context, key Key, set Setting) (Found, error) {
	inTable, err := m.tableFind(func() (Found, error) { return m.table.Find(ctx, key) })
	if err == nil {
		if set.State != config.StateLegacy {
			m.compare(inTable.Record)
		}
		return inTable, nil
	}
	if errors.Is(err, ErrCorrupt) {
		return Found{}, err
	}
	inRedis, redisErr := m.redis.Find(ctx, key)
	if errors.Is(err, errMigrated) && errors.Is(redisErr, ErrNotFound) {
		inRedis, redisErr = m.redis.findFresh(ctx, key) // the cache may not have heard yet that it has come over
	}
	copied := redisErr == nil && inRedis.Record.Database == DatabaseCopy
	switch {
	case copied && errors.Is(err, ErrNotFound) && !errors.Is(err, errMigrated):
		// The copy of a row that is gone: the session has ended, the copy follows.
		m.dropCopy(key, inRedis.Record.User.ID)
		return Found{}, ErrNotFound
	case copied && errors.Is(err, ErrUnavailable):
		return inTable, err // a copy counts only with its row
	case redisErr == nil:
		return inRedis, nil
	case errors.Is(err, ErrUnavailable):
		return laterKnown(inTable, inRedis), errors.Join(err, ifUnavailable(redisErr))
	default:
		return inRedis, redisErr
	}
}

// findMoved is for users whose sessions are in Redis, or on their way there.
func (m *MigratingStore) findMoved(ctx context.Context, key Key) (Found, error) {
	found, err := m.redis.Find(ctx, key)
	switch {
	case err == nil && found.Record.Database == DatabaseCopy:
		return m.adopt(ctx, key, found)
	case err == nil:
		return found, nil
	case errors.Is(err, ErrUnavailable):
		return m.withoutRedis(found, err, func() (Found, error) { return m.table.Find(ctx, key) })
	case errors.Is(err, ErrNotFound):
		return m.importBorn(ctx, key)
	}
	return found, err
}

// withoutRedis serves sessions that are only in the table. A marked row is none: what became of
// its session Redis alone knows. Nor is no row, the operator may have cleaned up.
func (m *MigratingStore) withoutRedis(known Found, redisErr error, ask func() (Found, error)) (Found, error) {
	inTable, err := m.tableFind(ask)
	if err == nil {
		return inTable, nil
	}
	return laterKnown(known, inTable), errors.Join(redisErr, ifUnavailable(err))
}

// findRow is for streams that were opened in a session of the application's: they go on when it comes over.
func (m *MigratingStore) findRow(ctx context.Context, row string) (Found, error) {
	inTable, err := Found{}, error(ErrNotFound)
	if m.Setting().State != config.StateDone {
		if inTable, err = m.tableFind(func() (Found, error) { return m.table.FindRow(ctx, row) }); err == nil {
			return inTable, nil
		}
	}
	a, aliasErr := m.redis.alias(ctx, rowID(row), false)
	if aliasErr != nil {
		return inTable, errors.Join(err, ifUnavailable(aliasErr))
	}
	found, redisErr := Found{}, error(ErrNotFound)
	for _, id := range []string{a.ID, a.From} {
		if key, ok := aliasKey(a.Tag, id); ok && errors.Is(redisErr, ErrNotFound) {
			found, redisErr = m.redis.Find(ctx, key)
		}
	}
	return found, redisErr
}

// FindApp gives the session of a token of the application's. token is the gateway's token of
// that session, for the browser's next requests; "" when it keeps the application's.
func (m *MigratingStore) FindApp(ctx context.Context, app AppToken) (found Found, token string, err error) {
	set := m.Setting()
	switch set.State {
	case config.StateDone:
		found, token, err = m.findAlias(ctx, app, false)
		if err == nil && found.Record.Database == DatabaseCopy {
			return m.importApp(ctx, app, Found{})
		}
		return found, token, err
	case config.StatePrimary, config.StateDrain:
		return m.findAppMoved(ctx, app)
	}
	found, err = m.tableFind(func() (Found, error) { return m.table.FindRow(ctx, app.row) })
	if err == nil && m.hasEnded(ctx, app) {
		return Found{}, "", errEnded
	}
	if err == nil {
		if set.moves(TagOf(found.Record.User.ID)) {
			return m.importApp(ctx, app, found)
		}
		return found, "", nil
	}
	if errors.Is(err, ErrCorrupt) {
		return Found{}, "", err
	}
	inRedis, token, redisErr := m.findAlias(ctx, app, false)
	if errors.Is(err, errMigrated) && errors.Is(redisErr, ErrNotFound) {
		inRedis, token, redisErr = m.findAlias(ctx, app, true)
	}
	copied := redisErr == nil && inRedis.Record.Database == DatabaseCopy
	switch {
	case redisErr == nil && (errors.Is(err, errMigrated) || !copied):
		return inRedis, token, nil
	case copied && errors.Is(err, ErrUnavailable):
		return found, "", err
	case errors.Is(err, ErrUnavailable):
		return laterKnown(found, inRedis), "", errors.Join(err, ifUnavailable(redisErr))
	case copied:
		return Found{}, "", ErrNotFound
	}
	return inRedis, "", redisErr
}

// hasEnded reports whether the row is one that the application has written anew after its session ended. Only one that goes on
// using its sessions can; while Redis is away nobody knows, and the row counts.
func (m *MigratingStore) hasEnded(ctx context.Context, app AppToken) bool {
	if !m.forward {
		return false
	}
	a, err := m.redis.alias(ctx, rowID(app.row), false)
	if err != nil || a.State == "" {
		return false
	}
	for _, id := range []string{a.ID, a.From} {
		if key, ok := aliasKey(a.Tag, id); ok {
			if _, err = m.redis.Find(ctx, key); !errors.Is(err, ErrNotFound) {
				break
			}
		}
	}
	return a.State == aliasEnded || errors.Is(err, ErrNotFound)
}

// findAppMoved looks for the session in Redis first.
func (m *MigratingStore) findAppMoved(ctx context.Context, app AppToken) (Found, string, error) {
	found, token, err := m.findAlias(ctx, app, false)
	switch {
	case err == nil && found.Record.Database != DatabaseCopy:
		return found, token, nil
	case errors.Is(err, errEnded):
		return Found{}, "", ErrNotFound
	case errors.Is(err, ErrUnavailable):
		found, err = m.withoutRedis(found, err, func() (Found, error) { return m.table.FindRow(ctx, app.row) })
		return found, "", err
	}
	return m.importApp(ctx, app, Found{})
}

// findAlias follows the alias of a row. fresh: past the cache, when the database has just said that the
// session must be in Redis.
func (m *MigratingStore) findAlias(ctx context.Context, app AppToken, fresh bool) (Found, string, error) {
	a, err := m.redis.alias(ctx, rowID(app.row), fresh)
	if err != nil {
		return Found{}, "", err
	}
	if a.State == aliasEnded {
		return Found{}, "", errEnded
	}
	token, err := a.open(app.token)
	if err != nil {
		return Found{}, "", ErrNotFound // sealed for another token: not this one's session
	}
	if token == "" {
		return m.claim(ctx, app, a)
	}
	find := m.redis.Find
	if fresh {
		find = m.redis.findFresh
	}
	key, _ := a.key()
	found, err := find(ctx, key)
	if errors.Is(err, ErrNotFound) && a.From != "" {
		return m.finishClaim(ctx, app, a, token)
	}
	return found, token, err
}

// laterKnown gives what one of two stores knew of a session that neither can vouch for now.
func laterKnown(a, b Found) Found {
	if a.Record == nil || b.Record != nil && b.VerifiedAt.After(a.VerifiedAt) {
		return b
	}
	return a
}

// ifUnavailable leaves out what is no trouble: that the other store has no such session.
func ifUnavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return nil
}
