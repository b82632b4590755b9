package session

import (
	"context"

	"gatehouse/config"
)

// What tests outside the package need of its inside.

// ErrMigrated is what a marked row is.
var ErrMigrated = errMigrated

// CreateWith is create.
func (s *DatabaseStore) CreateWith(ctx context.Context, rec *Record, opts CreateOptions, inTx func() error) ([]ID, error) {
	return s.create(ctx, rec, opts, inTx)
}

// RowOf is the id column of a row the gateway makes.
func RowOf(id ID, form string) string { return rowOf(id, form) }

// DatabaseEpochAt is a point in the table's order of logins.
func DatabaseEpochAt(n int64) Epoch { return Epoch{database: n, hasDatabase: true} }

// Born reports whether a login at the gateway made the session, in the table.
func (r *Record) Born() bool { return r.born }

// RowID is the ID of the session in an application's row.
func RowID(row string) ID { return rowID(row) }

// Queries are the statements with the preset's filled in.
func (s *DatabaseStore) Queries() config.SessionQueries { return s.queries }
