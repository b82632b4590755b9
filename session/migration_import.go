package session

import (
	"context"
	"errors"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/fault"
	"gatehouse/telemetry"
)

// unlimited is how a session comes over: nobody is logged out for it, and no limit refuses it.
func (m *MigratingStore) unlimited(rec *Record) CreateOptions {
	return CreateOptions{Began: always, TTL: m.ttl(rec)}
}

// adopt makes a copy the session itself: its row is marked. A copy whose row is gone has ended. While the database is
// away a copy is worth what its row is: what this replica knows of it.
func (m *MigratingStore) adopt(ctx context.Context, key Key, copied Found) (Found, error) {
	if m.closing.Load() {
		return Found{}, unavailable(errClosing)
	}
	row, err := m.mark(ctx, key)
	switch {
	case err == nil:
		return m.flip(ctx, copied, row)
	case m.isRowless(err):
		m.dropCopy(key, copied.Record.User.ID)
		return Found{}, ErrNotFound
	}
	m.stats.add(statErrors)
	inTable, findErr := m.tableFind(func() (Found, error) { return m.table.Find(ctx, key) })
	if errors.Is(findErr, errMigrated) { // marked after all: the next request goes on from there
		return Found{}, unavailable(err)
	}
	return inTable, findErr
}

// mark marks a session's row and gives what it said.
func (m *MigratingStore) mark(ctx context.Context, key Key) (row *Record, err error) {
	err = m.table.Move(ctx, key, func(rec *Record, _ bool) error {
		row = rec
		return nil
	})
	return row, err
}

// isRowless reports whether an error says that there is no such row. In state done the whole table may be gone.
func (m *MigratingStore) isRowless(err error) bool {
	return errors.Is(err, ErrNotFound) || database.IsMissingTable(err) && m.Setting().State == config.StateDone
}

// flip notes in Redis that the row is marked. If that fails the session is found as a copy again, and
// adopted again, which changes nothing more.
func (m *MigratingStore) flip(ctx context.Context, copied Found, row *Record) (Found, error) {
	next := joined(copied.Record, row)
	next.Database = DatabaseMoved
	err := m.redis.Replace(ctx, copied.Record, next, m.ttl(next))
	switch {
	case errors.Is(err, ErrNotFound):
		return Found{}, ErrNotFound
	case err != nil: // somebody else has done so, or Redis is away: it is this session all the same
		copied.Record = next
		return copied, nil
	}
	fault.Point("import.flipped")
	m.imported(ctx, next)
	copied.Record = next
	return copied, nil
}

// joined is a copy as its row has it: who the user is and may do always, for a role that was taken away while the
// row counted must not come back; secrets and the last use where the row's are not older.
func joined(copied, row *Record) *Record {
	next := copied.Clone()
	if row == nil {
		return next
	}
	next.User = row.User
	if row.raw != "" && !row.LastAccessed.Before(copied.LastAccessed) {
		next.Sealed, next.LastAccessed = row.Sealed, row.LastAccessed
	}
	return next
}

// hit tells of a session that was still only in the table. In state drain there should be none left.
func (m *MigratingStore) hit(ctx context.Context, row *Record) {
	if m.Setting().State != config.StateDrain || row == nil {
		return
	}
	m.opts.Log.Warn().Str("id", telemetry.RequestFrom(ctx).ID).Str("user", row.User.ID).Str("session", row.ID.Short()).
		Msg("state drain: a session was still in the database alone; it has come over now")
}

func (m *MigratingStore) imported(ctx context.Context, rec *Record) {
	m.stats.add(statImports)
	r := telemetry.RequestFrom(ctx)
	a := telemetry.Audit{Event: telemetry.EventImport, RequestID: r.ID, UserID: rec.User.ID, Session: rec.ID.Short()}
	if r.Client.IsValid() {
		a.Client = r.Client.String()
	}
	telemetry.LogAudit(&m.opts.Log, a)
}

// come is what a record of the table becomes in Redis: a copy until its row is marked.
func (m *MigratingStore) come(rec *Record) *Record {
	next := rec.Clone()
	next.Database, next.row, next.raw = DatabaseCopy, "", ""
	next.LastAccessed = m.clock().UTC().Truncate(time.Millisecond)
	return next
}

// bring makes the record in Redis while the row is locked. Another one under the ID is one that was made
// before, by an import that was cut short or as a copy.
func (m *MigratingStore) bring(ctx context.Context, next *Record) error {
	_, err := m.redis.Create(ctx, next, m.unlimited(next))
	fault.Point("import.brought")
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// importBorn brings a session over that was born in the table. Its token stays the same.
func (m *MigratingStore) importBorn(ctx context.Context, key Key) (Found, error) {
	// A plain look first: what is no session costs no transaction.
	inTable, err := m.tableFind(func() (Found, error) { return m.table.Find(ctx, key) })
	switch {
	case errors.Is(err, errMigrated):
		return m.arrived(ctx, key, nil)
	case err != nil:
		return inTable, err
	case !m.imports.begin(key.ID):
		return inTable, nil // served from its row, like every other session while it waits
	}
	defer m.imports.end(key.ID)
	var row *Record
	err = m.table.Move(ctx, key, func(rec *Record, moved bool) error {
		if moved {
			return errMigrated
		}
		row = rec
		return m.bring(ctx, m.come(rec))
	})
	switch {
	case err == nil:
		m.hit(ctx, row)
		return m.arrived(ctx, key, row)
	case errors.Is(err, errMigrated):
		return m.arrived(ctx, key, nil)
	}
	return m.notImported(ctx, row, err)
}

// arrived finds a session whose row is marked, past the cache, which may not have heard yet.
func (m *MigratingStore) arrived(ctx context.Context, key Key, row *Record) (Found, error) {
	found, err := m.redis.findFresh(ctx, key)
	if err == nil && found.Record.Database == DatabaseCopy {
		return m.flip(ctx, found, row)
	}
	return found, err
}

// notImported: without Redis the session is still in the table, where it was read under the lock.
func (m *MigratingStore) notImported(ctx context.Context, row *Record, err error) (Found, error) {
	switch {
	case errors.Is(err, ErrNotFound):
		return Found{}, ErrNotFound
	case row != nil:
		m.stats.add(statImportErrors)
		m.opts.Log.Warn().Str("session", row.ID.Short()).Err(err).Msg("a session could not come over to Redis and is served from the database; it is tried again with its next request")
		return Found{Record: row, Source: FromDatabase, VerifiedAt: m.clock()}, nil
	case errors.Is(err, ErrUnavailable):
		m.stats.add(statErrors)
	}
	return Found{}, err
}

// importApp brings a session of the application's over and gives it a token of the gateway's.
// inTable is what the table said, if it was asked already.
func (m *MigratingStore) importApp(ctx context.Context, app AppToken, inTable Found) (Found, string, error) {
	asked := inTable.Record != nil
	if !asked {
		var err error
		inTable, err = m.tableFind(func() (Found, error) { return m.table.FindRow(ctx, app.row) })
		if errors.Is(err, errMigrated) {
			return m.arrivedApp(ctx, app, nil)
		}
		if err != nil {
			return inTable, "", err
		}
	}
	if !m.imports.begin(rowID(app.row)) {
		return inTable, "", nil
	}
	defer m.imports.end(rowID(app.row))
	var row *Record
	err := m.table.Move(ctx, Key{Row: app.row}, func(rec *Record, moved bool) error {
		if moved {
			return errMigrated
		}
		row = rec
		a, err := m.ensureAlias(ctx, app, rec)
		if err != nil {
			return err
		}
		key, _ := a.key()
		next := m.come(rec)
		next.ID, next.born, next.Alias = key.ID, false, m.weakAlias(app)
		return m.bring(ctx, next)
	})
	switch {
	case err == nil:
		if !asked {
			m.hit(ctx, row)
		}
		return m.arrivedApp(ctx, app, row)
	case errors.Is(err, errMigrated):
		return m.arrivedApp(ctx, app, nil)
	case errors.Is(err, ErrNotFound):
		return Found{}, "", ErrNotFound
	}
	found, err := m.notImported(ctx, row, err)
	return found, "", err
}

// arrivedApp is arrived for a session of the application's.
func (m *MigratingStore) arrivedApp(ctx context.Context, app AppToken, row *Record) (Found, string, error) {
	fault.Point("import.committed")
	found, token, err := m.findAlias(ctx, app, true)
	if err == nil && found.Record.Database == DatabaseCopy {
		found, err = m.flip(ctx, found, row)
	}
	if err == nil {
		m.moved(rowID(app.row), found.Record)
	}
	return found, token, err
}

// dropCopy takes away a copy whose row is gone.
func (m *MigratingStore) dropCopy(key Key, userID string) {
	m.later.once("drop copy", key.ID, func() error {
		ctx, key := context.Background(), Key{Tag: key.Tag, ID: key.ID}
		found, err := m.redis.findFresh(ctx, key)
		if err != nil || found.Record.Database != DatabaseCopy {
			return ifUnavailable(err)
		}
		_, err = m.redis.Revoke(ctx, key, userID)
		return err
	})
}
