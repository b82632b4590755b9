package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/config"
	"gatehouse/database"
)

// DatabaseStore keeps sessions in the application's own table: those the application made, and those of
// logins at the gateway. Whose row it is:
//
//   - A row the gateway made has an id column made of the session's ID (rowOf), and the record in the
//     column gatehouse, which names that ID. Its token is nowhere in the table.
//   - Every other row is the application's. Its session's ID is a hash of the id column (rowID). The
//     column gatehouse is empty until the session has been renewed once; from then on it holds
//     when the session was first seen, and so its absolute limit.
//
// Clocks (S08): the database's decides when a row expires, wherever the statement gives it as column
// now, as those of the presets do; else this process's. What is written into expires_at, and what
// counts as expired in [DatabaseStore.Count] and the deletions, is the database's clock alone. The absolute
// limit is checked by both, against days a difference of seconds is nothing.
//
// What a table cannot: a user ID its column cannot hold (a NUL in PostgreSQL, more bytes than the
// column has) is ErrInvalidUser. And an answer from memory is never fresh: each Find asks the database.
type DatabaseStore struct {
	db      *database.DB
	cfg     config.SessionDatabase
	queries config.SessionQueries
	own     ownStatements
	form    expiryForm
	payload payloadReader // nil where rows name their user
	policy  policy
	clock   Clock

	known  *knownSessions
	ends   atomic.Uint64 // sessions this process has ended or is ending, for Find to notice one meanwhile
	closed atomic.Bool

	marking   sync.Mutex
	markAfter string // how far MarkAll has come
	marked    bool   // and whether it has marked anything since it began at the first row
}

var _ Store = (*DatabaseStore)(nil)

// OpenDatabase prepares the store over the application's database. That it is away is no error: calls
// give ErrUnavailable until it is there; whether the table is as it should be, Check tells. An error
// is one of the configuration: a preset the database does not have, a secret that is missing.
// Close leaves db open, others use it too.
func OpenDatabase(db *database.DB, cfg config.SessionDatabase, session config.Session, opts Options) (*DatabaseStore, error) {
	opts = opts.withDefaults()
	cfg, err := applyPreset(cfg, db.Dialect())
	if err != nil {
		return nil, err
	}
	payload, err := newPayloadReader(cfg)
	if err != nil {
		return nil, err
	}
	return &DatabaseStore{
		db: db, cfg: cfg, queries: cfg.Queries, own: statementsOf(db.Dialect()), payload: payload,
		form:   expiryForm{as: cfg.Expiry.As, lifetime: cfg.Expiry.Lifetime},
		policy: newPolicy(session), clock: opts.Clock, known: newKnownSessions(wholeCache(opts.CacheSize), usage{partRecords, opts.Metrics, opts.tellFull()}),
	}, nil
}

// CanInsert reports whether the gateway can add rows. It cannot where the user is inside a payload that
// only the application's framework writes (django, rails).
func (s *DatabaseStore) CanInsert() bool { return s.queries.Insert != "" }

// KnownOf gives the IDs of the user's sessions that this process has in memory. It asks nobody.
func (s *DatabaseStore) KnownOf(userID string) []ID { return s.known.of(userID) }

// Ping asks the database, also while it counts as away.
func (s *DatabaseStore) Ping(ctx context.Context) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.failed(s.db.Ping(ctx))
}

// Close ends the store, not the database's connections.
func (s *DatabaseStore) Close() error {
	s.closed.Store(true)
	return nil
}

var errStoreClosed = errors.New("the sessions table is closed")

func (s *DatabaseStore) ready() error {
	if s.closed.Load() {
		return unavailable(errStoreClosed)
	}
	return nil
}

// shared gives the context of a question: its values, but not its end. The answer serves others
// too (the known sessions), and a revocation goes on when the browser has gone. The database's own
// timeout bounds it.
func shared(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// answers are the errors that say something about a session. All others mean that it could not be asked.
var answers = []error{
	ErrNotFound, ErrUnavailable, ErrCorrupt, ErrConflict, ErrSuperseded, ErrLimit, ErrTooLarge, ErrInvalidUser,
}

// failed makes ErrUnavailable of what the database said or failed to say. Also of a refusal, such as
// of a column that is not there: a mistake in the configuration must log nobody out.
func (s *DatabaseStore) failed(err error) error {
	if err == nil {
		return nil
	}
	for _, answer := range answers {
		if errors.Is(err, answer) {
			return err
		}
	}
	return unavailable(err)
}

// databaseNow asks the database for the time.
func (s *DatabaseStore) databaseNow(ctx context.Context, q database.Querier) (now time.Time, err error) {
	err = q.Query(ctx, s.own.now, nil, func(r *database.Row) error {
		now, err = r.Time("now")
		return err
	})
	return now, s.failed(err)
}

// exec runs a statement.
func (s *DatabaseStore) exec(ctx context.Context, q database.Querier, statement string, args ...any) (int64, error) {
	n, err := q.Exec(ctx, statement, args...)
	return n, s.failed(err)
}

// ending forgets sessions, now and when done is called, which is for after the question that ends them: if its
// answer is lost they may be gone all the same and must not be served as known, and a Find that asked
// before must not bring them back into memory.
func (s *DatabaseStore) ending(ids ...ID) (done func()) {
	forget := func() {
		s.ends.Add(1)
		for _, id := range ids {
			s.known.remove(id)
		}
	}
	forget()
	return forget
}
