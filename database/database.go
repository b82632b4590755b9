// Package database is the connection to the application's own database, PostgreSQL or MySQL/MariaDB:
// a bounded pool, a bound on the time of every question, a breaker for when the database is away,
// and errors that say whether it was away or said no.
package database

import (
	"context"
	"errors"
	"time"

	"gatehouse/config"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// ErrUnavailable: the database could not be asked, or did not answer in time. It says nothing about
// what was asked. Wrapped around the cause; never holds a password.
var ErrUnavailable = errors.New("database unavailable")

// Dialect is the kind of database.
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
)

// Options are what Open takes beside the configuration. The zero value works.
type Options struct {
	Log     zerolog.Logger
	Metrics *telemetry.Metrics
}

// Querier asks questions: a DB, each time over whatever connection is free, or a Tx over its own.
// Statements are written with $1, $2, ... in either dialect, each as often and in any order.
// Arguments are string, []byte, int64, bool, time.Time or nil; a string fits a column of any type.
type Querier interface {
	// Query calls each for every row. An error of each ends it and is returned as it is.
	Query(ctx context.Context, query string, args []any, each func(*Row) error) error
	// Exec runs a statement and gives how many rows it changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
}

// DB is a database that may be away. Safe for concurrent use.
type DB struct{}

// Tx is a transaction, at isolation READ COMMITTED.
type Tx struct{}

// Row is one row of an answer; its columns are taken by name, in any case. It is only good inside the
// call it was given to. A column that is absent or NULL gives the zero value; has tells.
type Row struct{}

// Open reads the URL and prepares the pool. That the database is away is no error: questions give
// ErrUnavailable until it is there. An error is one of the configuration.
func Open(ctx context.Context, cfg config.Database, opts Options) (*DB, error) { return &DB{}, nil }

// Dialect of the URL.
func (d *DB) Dialect() Dialect { return Postgres }

// Query, see Querier.
func (d *DB) Query(ctx context.Context, query string, args []any, each func(*Row) error) error {
	return ErrUnavailable
}

// Exec, see Querier.
func (d *DB) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return 0, ErrUnavailable
}

// Tx runs f in one transaction: committed when f returns nil, rolled back else, with f's error. When
// the commit's answer is lost the error is ErrUnavailable and the transaction may have happened.
func (d *DB) Tx(ctx context.Context, f func(*Tx) error) error { return ErrUnavailable }

// Ping asks for a sign of life, whatever the breaker thinks.
func (d *DB) Ping(ctx context.Context) error { return ErrUnavailable }

// Away reports whether the breaker holds the database to be away.
func (d *DB) Away() bool { return true }

// Close ends the connections. Questions after it give ErrUnavailable.
func (d *DB) Close() error { return nil }

// Query, see Querier.
func (t *Tx) Query(ctx context.Context, query string, args []any, each func(*Row) error) error {
	return ErrUnavailable
}

// Exec, see Querier.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return 0, ErrUnavailable
}

// Has reports whether there is a column of the name, NULL or not.
func (r *Row) Has(column string) bool { return false }

// Null reports whether the column is absent or NULL.
func (r *Row) Null(column string) bool { return true }

// String gives a column of any type as text: integers with all digits, times in RFC 3339, uuid as usual.
func (r *Row) String(column string) string { return "" }

// Bytes gives a text or binary column.
func (r *Row) Bytes(column string) []byte { return nil }

// Int gives an integer column; text and decimals that are integers too. An error names the column.
func (r *Row) Int(column string) (int64, error) { return 0, nil }

// Bool gives a boolean: also 0 and 1, t and f, true and false, yes and no. An error names the column.
func (r *Row) Bool(column string) (bool, error) { return false, nil }

// Time gives a timestamp in UTC; a timestamp without time zone is taken as UTC. An error names the column.
func (r *Row) Time(column string) (time.Time, error) { return time.Time{}, nil }
