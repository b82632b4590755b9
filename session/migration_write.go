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
	if err != nil || m.isClosed() {
		return ended, err
	}
	for _, id := range withID(ended, opts.Replaces) {
		if m.endRow(ctx, Key{Tag: TagOf(rec.User.ID), ID: id, Database: true}, rec.User.ID) {
			ended = withID(ended, id)
		}
	}
	return ended, nil
}

// endRow ends a session that a new one in Redis has taken the place of in the table as well: its row, and then once more what
// may have come over from the row in between. It reports whether there was anything.
func (m *MigratingStore) endRow(ctx context.Context, key Key, userID string) bool {
	end := func(ctx context.Context) (bool, error) {
		row, err := m.table.Revoke(ctx, key, userID)
		if err != nil && !database.IsMissingTable(err) {
			return false, err
		}
		rec, err := m.redis.Revoke(ctx, Key{Tag: key.Tag, ID: key.ID}, userID)
		return row || rec, err
	}
	was, err := end(ctx)
	if err != nil {
		m.unended(key, userID)
	}
	return was
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
		key := Key{Tag: TagOf(rec.User.ID), ID: id}
		// Not its copy alone: it may have come over long ago, and the state have gone back since.
		there, err := m.redis.Revoke(ctx, key, rec.User.ID)
		if err != nil {
			m.later.once("end", id, func() error {
				_, err := m.redis.Revoke(context.Background(), key, rec.User.ID)
				return err
			})
		}
		if there {
			ended = withID(ended, id)
		}
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
	err := m.table.Replace(ctx, old, next, ttl)
	if errors.Is(err, errMigrated) && old.born {
		// It came over meanwhile: whoever changes it goes on from there.
		found, ferr := m.redis.findFresh(ctx, Key{Tag: TagOf(old.User.ID), ID: old.ID})
		if ferr != nil {
			return ferr
		}
		return &ConflictError{Current: found.Record}
	}
	if err != nil {
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
	if key.Row == "" && (!key.Database || m.isClosed()) {
		return m.redis.Revoke(ctx, Key{Tag: key.Tag, ID: key.ID}, userID)
	}
	if m.isClosed() {
		return m.revokeDone(ctx, key, userID)
	}
	wasRow := m.Setting().State == config.StateLegacy && m.isRow(ctx, key)
	inTable, err := m.table.Revoke(ctx, key, userID)
	if database.IsMissingTable(err) && m.Setting().State == config.StateDone {
		err = nil
	}
	inRedis, redisErr := false, error(nil)
	if key.Database {
		inRedis, redisErr = m.redis.Revoke(ctx, Key{Tag: key.Tag, ID: key.ID}, userID)
	} else {
		inRedis, redisErr = m.endAlias(ctx, rowID(key.Row), userID, inTable && m.forward)
	}
	if wasRow && err == nil && redisErr != nil {
		// The row was the session, and Redis is not needed in this state. What Redis may hold of it is at most a copy, worth nothing without the row.
		m.later.once("end", key.ID, func() error {
			ctx := context.Background()
			if key.Row != "" {
				_, err := m.endAlias(ctx, rowID(key.Row), userID, m.forward)
				return err
			}
			_, err := m.redis.Revoke(ctx, Key{Tag: key.Tag, ID: key.ID}, userID)
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
	was, err := m.endAlias(ctx, rowID(key.Row), userID, false)
	if m.forward {
		if _, tableErr := m.table.Revoke(ctx, key, userID); tableErr != nil && !database.IsMissingTable(tableErr) {
			m.opts.Log.Warn().Str("session", key.ID.Short()).Err(tableErr).Msg("state done: the application's own session could not be ended")
		}
	}
	return was, err
}

// RevokeUser ends the user's sessions in both stores, the table first, and succeeds only if both did. When the
// manager tries it again, only what has not succeeded is done again: else every login into the store that has confirmed
// it would be ended for as long as the other is away.
func (m *MigratingStore) RevokeUser(ctx context.Context, userID string, except ...ID) ([]ID, error) {
	if m.isClosed() {
		return m.redis.RevokeUser(ctx, userID, except...)
	}
	key := halfKey(userID, except)
	come := m.halves.begin(ctx, key)
	var tableErr, redisErr error
	if !come.table {
		var ids []ID
		ids, tableErr = m.table.RevokeUser(ctx, userID, except...)
		if database.IsMissingTable(tableErr) && m.Setting().State == config.StateDone {
			tableErr = nil
		}
		if come.rows = union(come.rows, ids); tableErr == nil {
			// In Redis once more: a row may have come over before it was deleted.
			come.table, come.redis = true, false
		}
	}
	var inRedis []ID
	if !come.redis { // also when the database is away: what can end now ends now
		inRedis, redisErr = m.redis.RevokeUser(ctx, userID, except...)
		come.redis = redisErr == nil
	}
	err := errors.Join(tableErr, redisErr)
	if err == nil {
		err = m.noteEnded(ctx, come.rows, userID)
	}
	if err != nil {
		m.halves.keep(key, come)
		return nil, err
	}
	m.halves.done(key)
	return union(come.rows, inRedis), nil
}

// noteEnded notes of rows that their sessions have ended, where the application may be about to write one of them anew.
func (m *MigratingStore) noteEnded(ctx context.Context, rows []ID, userID string) error {
	if !m.forward {
		return nil
	}
	for _, id := range rows {
		if _, err := m.endAlias(ctx, id, userID, true); err != nil {
			return err
		}
	}
	return nil
}

// isClosed: no row of the table is a session any more.
func (m *MigratingStore) isClosed() bool {
	return m.Setting().State == config.StateDone && m.closed.Load()
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
	if m.isClosed() {
		return inRedis, err
	}
	rows, tableErr := m.table.List(ctx, userID)
	if database.IsMissingTable(tableErr) && m.Setting().State == config.StateDone {
		tableErr = nil
	}
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
