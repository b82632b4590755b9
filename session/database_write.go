package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/database"
)

// txAttempts bounds how often a transaction is begun again that the database ended because it and
// another stood in each other's way.
const txAttempts = 5

// tx runs f in one transaction, which may be several times.
func (s *DatabaseStore) tx(ctx context.Context, f func(*database.Tx) error) error {
	var err error
	for range txAttempts {
		if err = s.db.Tx(ctx, f); !database.IsRetryable(err) {
			break
		}
	}
	return s.failed(err)
}

// Create adds rec by one transaction, in which the user's row in gatehouse_epochs is locked: logins of
// one user come one after the other, and before or after a revocation of all sessions. ErrInvalidUser also when
// the application's tables do not take the user's ID, or do not give the session back under it.
func (s *DatabaseStore) Create(ctx context.Context, rec *Record, opts CreateOptions) ([]ID, error) {
	return s.create(ctx, rec, opts, func() error { return nil })
}

// create is Create with a step of the caller's inside the transaction, right before it commits. The step may
// be taken several times; its error rolls back and is returned.
func (s *DatabaseStore) create(ctx context.Context, rec *Record, opts CreateOptions, inTx func() error) ([]ID, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	next, raw, err := s.toStore(rec, true)
	if err != nil {
		return nil, err
	}
	if !askable(rec.User.ID) {
		return nil, ErrInvalidUser
	}
	if !s.CanInsert() {
		return nil, unavailable(errReadOnly)
	}
	ctx = shared(ctx)
	var ended []ID
	var generation int64
	var stored *Record
	var own error
	ends := s.ends.Load()
	err = s.tx(ctx, func(tx *database.Tx) (err error) {
		own = nil
		if generation, err = s.enter(ctx, tx, rec.User.ID, opts.Began); err != nil {
			return err
		}
		if stored, ended, err = s.add(ctx, tx, next, raw, opts); err != nil {
			return err
		}
		own = inTx()
		return own
	})
	switch {
	case own != nil:
		return nil, own
	case err != nil:
		return nil, s.heal(ctx, generation, err)
	}
	s.wrote(stored, ends)
	s.ending(ended...)
	return ended, nil
}

var errReadOnly = errors.New("session.database.queries.insert is empty: the gateway cannot add sessions to this table")

// toStore gives a record as it goes into the column gatehouse, and its text.
func (s *DatabaseStore) toStore(rec *Record, born bool) (*Record, string, error) {
	next := rec.Clone()
	next.born, next.Database = born, ""
	raw, err := encodeRecord(next)
	return next, raw, err
}

// add is the step inside the transaction.
func (s *DatabaseStore) add(ctx context.Context, tx *database.Tx, next *Record, raw string, opts CreateOptions) (*Record, []ID, error) {
	id := rowOf(next.ID, s.cfg.NewID)
	there, err := s.lock(ctx, tx, id)
	if err != nil {
		return nil, nil, err
	}
	if there {
		stored, err := s.session(ctx, tx, id, true)
		if err == nil && stored.raw == raw {
			return stored, nil, nil
		}
		if errors.Is(err, ErrUnavailable) {
			return nil, nil, err
		}
		return nil, nil, ErrConflict
	}
	ended, err := s.makeRoom(ctx, tx, next.User.ID, opts)
	if err != nil {
		return nil, nil, err
	}
	now, err := s.databaseNow(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	expires := s.form.value(now.Add(max(opts.TTL, time.Millisecond)))
	if _, err := tx.Exec(ctx, s.queries.Insert, id, next.User.ID, expires, raw); err != nil {
		if database.IsRefusedValue(err) {
			return nil, nil, fmt.Errorf("%w: the sessions table does not take it: %w", ErrInvalidUser, err)
		}
		return nil, nil, s.failed(err)
	}
	// Read back: a session that Find would not give, such as of a user who is not in the application's
	// users table, would send its user back to the login page for ever.
	row, err := s.row(ctx, tx, id)
	if err != nil {
		return nil, nil, notGivenBack(err)
	}
	stored, err := s.record(ctx, tx, row, people{})
	if err != nil {
		return nil, nil, notGivenBack(err)
	}
	return stored, ended, nil
}

func notGivenBack(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: session.database.queries.find does not give back the session just added: is the user in the application's users table?", ErrInvalidUser)
}

// lock locks the row of an id until the transaction ends, and says whether there is one.
func (s *DatabaseStore) lock(ctx context.Context, tx *database.Tx, id string) (there bool, err error) {
	err = tx.Query(ctx, s.queries.Lock, []any{id}, func(r *database.Row) error {
		// MySQL's collations, and PostgreSQL's uuid, take other spellings for the same id.
		there = !r.Has("id") || r.String("id") == id
		return nil
	})
	if database.IsRefusedValue(err) {
		return false, ErrNotFound
	}
	return there, s.failed(err)
}

// makeRoom ends what the new session replaces, and as many others as it takes to keep the limit: first those
// that have gone unused for longest.
func (s *DatabaseStore) makeRoom(ctx context.Context, tx *database.Tx, userID string, opts CreateOptions) ([]ID, error) {
	mine, err := s.ofUser(ctx, tx, userID)
	if err != nil {
		return nil, err
	}
	var others, doomed []ownRow
	for _, m := range mine {
		switch {
		case !m.live():
		case m.rec.ID == opts.Replaces:
			doomed = append(doomed, m)
		default:
			others = append(others, m)
		}
	}
	if over := len(others) + 1 - opts.MaxPerUser; opts.MaxPerUser > 0 && over > 0 {
		if opts.RejectAtLimit {
			return nil, ErrLimit
		}
		slices.SortStableFunc(others, func(a, b ownRow) int {
			return cmp.Or(a.expires.Compare(b.expires), a.rec.CreatedAt.Compare(b.rec.CreatedAt))
		})
		doomed = append(doomed, others[:over]...)
	}
	var ended []ID
	for _, m := range doomed {
		n, err := s.exec(ctx, tx, s.queries.Delete, m.id)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			ended = append(ended, m.rec.ID)
		}
	}
	return ended, nil
}
