package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"gatehouse/config"
	"gatehouse/database"
)

// Create adds a session where its token says (see place): a session born in the table goes there, and in
// state shadow a copy of it to Redis.
func (m *MigratingStore) Create(ctx context.Context, rec *Record, opts CreateOptions) ([]ID, error) {
	if rec.born {
		return m.createInTable(ctx, rec, opts)
	}
	if !opts.Began.hasRedis {
		return nil, unavailable(errBeganElsewhere)
	}
	ended, err := m.redis.Create(ctx, rec, opts)
	if err == nil && m.Setting().State != config.StateDone {
		m.endRows(rec, ended, opts.Replaces)
	}
	return ended, err
}

// errBeganElsewhere: the state has changed between a login's beginning and its end, or a store went away.
var errBeganElsewhere = errors.New("the login began while this store could not be asked; try again")

func (m *MigratingStore) createInTable(ctx context.Context, rec *Record, opts CreateOptions) ([]ID, error) {
	if !opts.Began.hasDatabase || m.closing.Load() {
		return nil, unavailable(errBeganElsewhere)
	}
	shadow := m.Setting().State == config.StateShadow && opts.Began.hasRedis
	ended, err := m.table.create(ctx, rec, opts, func() error {
		if !shadow {
			return nil
		}
		// Inside the transaction: whoever ends the session afterwards finds the row, and then the copy.
		return m.copy(ctx, rec, opts.Began)
	})
	if err != nil {
		return nil, err
	}
	for _, id := range withID(ended, opts.Replaces) {
		m.dropCopy(Key{Tag: TagOf(rec.User.ID), ID: id}, rec.User.ID)
	}
	return ended, nil
}

// copy puts a copy of a new session into Redis. That Redis is away is no reason to refuse the login;
// that all sessions of the user were revoked there is.
func (m *MigratingStore) copy(ctx context.Context, rec *Record, began Epoch) error {
	copied := rec.Clone()
	copied.Database = DatabaseCopy
	opts := m.unlimited(rec)
	opts.Began = began
	_, err := m.redis.Create(ctx, copied, opts)
	switch {
	case err == nil:
		m.stats.add(statCopies)
	case errors.Is(err, ErrSuperseded):
		return err
	default:
		m.stats.add(statCopyErrors)
		m.opts.Log.Warn().Str("session", rec.ID.Short()).Err(err).Msg("a new session could not be copied to Redis; it is in the database alone")
	}
	return nil
}

// endRows takes away the rows of sessions that ended for a new one in Redis: copies, that were not
// adopted yet.
func (m *MigratingStore) endRows(rec *Record, ended []ID, replaced ID) {
	for _, id := range withID(ended, replaced) {
		key := Key{Tag: TagOf(rec.User.ID), ID: id, Database: true}
		end := func() error {
			_, err := m.table.Revoke(context.Background(), key, rec.User.ID)
			return err
		}
		if end() != nil {
			m.later.once("end row", id, end)
		}
	}
}

func withID(ids []ID, id ID) []ID {
	if id.IsZero() || slices.Contains(ids, id) {
		return ids
	}
	return append(slices.Clone(ids), id)
}

// inTable reports whether the record was read from the table, so that a change goes there.
func inTable(r *Record) bool { return r.Database == "" && (r.born || r.row != "") }

// Replace writes next over old where old was found; a copy in Redis follows its row.
func (m *MigratingStore) Replace(ctx context.Context, old, next *Record, ttl time.Duration) error {
	if !inTable(old) {
		return m.redis.Replace(ctx, old, next, ttl)
	}
	if m.closing.Load() {
		return unavailable(errClosing)
	}
	if err := m.table.Replace(ctx, old, next, ttl); err != nil {
		return err
	}
	if m.Setting().State == config.StateShadow && old.born {
		m.refreshCopy(next)
	}
	return nil
}

// refreshCopy writes what has changed of a row into its copy, if there is one.
func (m *MigratingStore) refreshCopy(rec *Record) {
	m.later.once("refresh copy", rec.ID, func() error {
		ctx := context.Background()
		held, err := m.redis.findFresh(ctx, Key{Tag: TagOf(rec.User.ID), ID: rec.ID})
		if err != nil || held.Record.Database != DatabaseCopy {
			return ifUnavailable(err)
		}
		next := rec.Clone()
		next.Database = DatabaseCopy
		return ifUnavailable(m.redis.Replace(ctx, held.Record, next, m.ttl(next)))
	})
}

// Revoke ends one session in both stores, the table first: an import that is under way ends before the
// row can be deleted, and its record is found in Redis then.
func (m *MigratingStore) Revoke(ctx context.Context, key Key, userID string) (bool, error) {
	if key.Row == "" && (!key.Database || m.Setting().State == config.StateDone) {
		return m.redis.Revoke(ctx, Key{Tag: key.Tag, ID: key.ID}, userID)
	}
	if m.Setting().State == config.StateDone {
		return m.revokeDone(ctx, key, userID)
	}
	wasRow := m.Setting().State == config.StateLegacy && m.isRow(ctx, key)
	inTable, err := m.table.Revoke(ctx, key, userID)
	inRedis, redisErr := false, error(nil)
	if key.Database {
		inRedis, redisErr = m.redis.Revoke(ctx, Key{Tag: key.Tag, ID: key.ID}, userID)
	} else {
		inRedis, redisErr = m.endAlias(ctx, rowID(key.Row), userID)
	}
	if wasRow && err == nil && redisErr != nil {
		// The row was the session, and Redis is not needed in this state. What Redis may hold of it is at most a copy, worth nothing without the row.
		m.later.once("drop copy", key.ID, func() error {
			_, err := m.redis.Revoke(context.Background(), Key{Tag: key.Tag, ID: key.ID}, userID)
			if key.Row != "" && err == nil {
				_, err = m.endAlias(context.Background(), rowID(key.Row), userID)
			}
			return err
		})
		redisErr = nil
	}
	return inTable || inRedis, errors.Join(err, redisErr)
}

// isRow reports whether the session is its row, and has not moved.
func (m *MigratingStore) isRow(ctx context.Context, key Key) (is bool) {
	err := m.table.Hold(ctx, key, func(_ *Record, moved bool) error {
		is = !moved
		return nil
	})
	return err == nil && is
}

// revokeDone ends an application's session in state done: what counts is in Redis. Where the application goes on
// using its sessions its own one ends too, as far as there still is a table.
func (m *MigratingStore) revokeDone(ctx context.Context, key Key, userID string) (bool, error) {
	was, err := m.endAlias(ctx, rowID(key.Row), userID)
	if m.forward {
		if _, tableErr := m.table.Revoke(ctx, key, userID); tableErr != nil && !database.IsMissingTable(tableErr) {
			m.opts.Log.Warn().Str("session", key.ID.Short()).Err(tableErr).Msg("state done: the application's own session could not be ended")
		}
	}
	return was, err
}

// RevokeUser ends the user's sessions in both stores, the table first, and succeeds only if both did.
func (m *MigratingStore) RevokeUser(ctx context.Context, userID string, except ...ID) ([]ID, error) {
	if m.Setting().State == config.StateDone {
		return m.redis.RevokeUser(ctx, userID, except...)
	}
	fromTable, err := m.table.RevokeUser(ctx, userID, except...)
	// Also when the database is away: what can end now ends now.
	fromRedis, redisErr := m.redis.RevokeUser(ctx, userID, except...)
	if err := errors.Join(err, redisErr); err != nil {
		return nil, err
	}
	if m.forward {
		// The application may be about to write one of the rows anew.
		for _, id := range fromTable {
			if _, err := m.endAlias(ctx, id, userID); err != nil {
				return nil, err
			}
		}
	}
	return union(fromTable, fromRedis), nil
}

func union(a, b []ID) []ID {
	all := slices.Clone(a)
	for _, id := range b {
		if !slices.Contains(a, id) {
			all = append(all, id)
		}
	}
	return all
}

// List gives the user's sessions of both stores, oldest first. A session that has a copy is listed once.
func (m *MigratingStore) List(ctx context.Context, userID string) ([]*Record, error) {
	inRedis, err := m.redis.List(ctx, userID)
	if m.Setting().State == config.StateDone {
		return inRedis, err
	}
	rows, tableErr := m.table.List(ctx, userID)
	if err := errors.Join(err, tableErr); err != nil {
		return nil, err
	}
	all := slices.Clone(rows)
	for _, r := range inRedis {
		same := func(row *Record) bool { return row.ID == r.ID }
		if !slices.ContainsFunc(rows, same) && !(r.Database == DatabaseCopy && r.born) {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b *Record) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, nil
}
