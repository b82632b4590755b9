package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/database"
)

// Move brings a session out of the table: it locks the row, calls f with its session and whether the row is
// marked as moved already, marks it, and commits. ErrNotFound: there is no such row, it has
// expired, or its user is gone. An error of f leaves all as it was and is returned as it is. With
// ErrUnavailable the mark may be there or not.
//
// Whoever deletes the row waits for the end of it, or has come before and f is not called.
func (s *DatabaseStore) Move(ctx context.Context, key Key, f func(rec *Record, moved bool) error) error {
	defer s.ending(idOf(key))()
	return s.underLock(ctx, key, true, f)
}

// Hold is Move without the mark: f may rely on the row staying as it is until f returns.
func (s *DatabaseStore) Hold(ctx context.Context, key Key, f func(rec *Record, moved bool) error) error {
	return s.underLock(ctx, key, false, f)
}

func (s *DatabaseStore) underLock(ctx context.Context, key Key, mark bool, f func(rec *Record, moved bool) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	id, born := s.locate(key)
	if id == "" {
		return ErrNotFound
	}
	ctx = shared(ctx)
	var own error
	// Not again after a deadlock, as tx does: f may have done half of something.
	err := s.db.Tx(ctx, func(tx *database.Tx) error {
		there, err := s.lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if !there {
			return ErrNotFound
		}
		row, rec, err := s.unexpired(ctx, tx, id, born)
		if err != nil {
			return err
		}
		if own = f(rec, row.moved); own != nil || row.moved || !mark {
			return own
		}
		return s.mark(ctx, tx, id)
	})
	if own != nil {
		return own
	}
	return s.failed(err)
}

func (s *DatabaseStore) mark(ctx context.Context, q database.Querier, id string) error {
	n, err := s.exec(ctx, q, s.queries.Mark, id)
	if err == nil && n == 0 {
		err = unavailable(errMarksNothing)
	}
	return err
}

var errMarksNothing = errors.New("session.database.queries.mark changed no row, although there is one")

// Row is one row of the table, as Scan gives it.
type Row struct {
	// Row is the id column. It may be the application's token in plain text: never log it.
	Row string
	// Record of the row's session, live or not; nil when it has no user, such as an anonymous visitor's, or
	// cannot be read.
	Record *Record
	// Moved: the row is marked as moved to Redis. Expired: its time, or the session's absolute limit, is over.
	Moved, Expired bool
	// Ends is when the row expires, unless it is used again.
	Ends time.Time
	// Err says why the row cannot be read. It wraps ErrCorrupt.
	Err error
}

// Scan gives up to limit rows behind the id column after, in the order of the ids; "" begins. No rows: that
// was all.
func (s *DatabaseStore) Scan(ctx context.Context, after string, limit int) ([]Row, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	page, err := s.page(ctx, s.db, after, limit)
	if err != nil {
		return nil, err
	}
	rows, known := make([]Row, 0, len(page)), people{}
	for _, r := range page {
		rec, err := s.record(ctx, s.db, r, known)
		switch {
		case errors.Is(err, ErrUnavailable):
			return nil, err
		case errors.Is(err, ErrNotFound):
			err = nil
		}
		expired := r.expired() || rec != nil && !r.now.Before(rec.ExpiresAt)
		rows = append(rows, Row{Row: r.id, Record: rec, Moved: r.moved, Expired: expired, Ends: r.expires, Err: err})
	}
	return rows, nil
}

// Counts is how many rows there are.
type Counts struct {
	// Live rows are neither marked nor expired, and somebody's as far as the statement can tell.
	Live int64 `json:"live"`
	// Moved rows are marked, expired or not.
	Moved int64 `json:"moved"`
	// Expired rows are not marked.
	Expired int64 `json:"expired"`
}

// Count counts the rows, by the database's clock.
func (s *DatabaseStore) Count(ctx context.Context) (Counts, error) {
	if err := s.ready(); err != nil {
		return Counts{}, err
	}
	return s.count(ctx, s.db)
}

func (s *DatabaseStore) count(ctx context.Context, q database.Querier) (c Counts, err error) {
	now, err := s.databaseNow(ctx, q)
	if err != nil {
		return Counts{}, err
	}
	err = q.Query(ctx, s.queries.Count, []any{s.form.value(now)}, func(r *database.Row) error {
		for column, to := range map[string]*int64{"live": &c.Live, "moved": &c.Moved, "expired": &c.Expired} {
			var err error
			if *to, err = r.Int(column); err != nil {
				return fmt.Errorf("session.database.queries.count: %w", err)
			}
		}
		return nil
	})
	return c, s.failed(err)
}
