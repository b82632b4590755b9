package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"gatehouse/database"
)

// Find gives the session under key, by one question (two where the user is inside a payload). Also
// errMigrated, which is an ErrNotFound: the row is marked as moved to Redis.
func (s *DatabaseStore) Find(ctx context.Context, key Key) (Found, error) {
	if err := s.ready(); err != nil {
		return Found{}, err
	}
	row, born := s.locate(key)
	if row == "" {
		return Found{}, ErrNotFound
	}
	found, err := s.find(ctx, idOf(key), row, born)
	if found.Record != nil && TagOf(found.Record.User.ID) != key.Tag {
		if err != nil {
			return Found{}, err
		}
		return Found{}, ErrNotFound
	}
	return found, err
}

// FindRow gives the session of a row the application made, by its id column. Rows the gateway made are
// not among them: their id column is made of the session's ID, which is no secret, and whoever knew
// it could come with it in the application's cookie. Also errMigrated, which is an ErrNotFound.
func (s *DatabaseStore) FindRow(ctx context.Context, row string) (Found, error) {
	if err := s.ready(); err != nil {
		return Found{}, err
	}
	if !askable(row) {
		return Found{}, ErrNotFound
	}
	return s.find(ctx, rowID(row), row, false)
}

func (s *DatabaseStore) find(ctx context.Context, id ID, row string, born bool) (Found, error) {
	ends := s.ends.Load()
	rec, err := s.session(shared(ctx), s.db, row, born)
	switch {
	case errors.Is(err, ErrUnavailable):
		return lastKnown(s.known.get(Key{ID: id})), err
	case err != nil:
		s.known.remove(id)
		return Found{}, err
	}
	now := s.clock()
	if s.ends.Load() == ends {
		s.remember(rec, now)
	}
	return Found{Record: rec, Source: FromDatabase, VerifiedAt: now}, nil
}

// session reads a live session.
func (s *DatabaseStore) session(ctx context.Context, q database.Querier, id string, born bool) (*Record, error) {
	row, rec, err := s.unexpired(ctx, q, id, born)
	if err == nil && row.moved {
		return nil, errMigrated
	}
	return rec, err
}

// unexpired reads a session that is live, or moved.
func (s *DatabaseStore) unexpired(ctx context.Context, q database.Querier, id string, born bool) (*tableRow, *Record, error) {
	row, err := s.row(ctx, q, id)
	if err != nil {
		return nil, nil, err
	}
	if row.expired() && !row.moved { // nobody prolongs a row that is marked
		return nil, nil, ErrNotFound
	}
	rec, err := s.record(ctx, q, row, people{})
	if err != nil {
		return nil, nil, s.failed(err)
	}
	if rec.born != born || !row.moved && !row.now.Before(rec.ExpiresAt) {
		return nil, nil, ErrNotFound
	}
	return row, rec, nil
}

// remember keeps what the database has just vouched for, for when it is away. The entries have no tag: a
// row's is not known before it is read, so Find compares it.
func (s *DatabaseStore) remember(rec *Record, now time.Time) {
	e := &entry{raw: rec.raw, record: rec}
	e.verified.Store(now.UnixNano())
	s.known.put(rec.ID, e)
}

// wrote remembers what this process has just written, unless it has ended a session since ends was read: then
// it may have been this one. A Find that has read what was there before must not remember that.
func (s *DatabaseStore) wrote(rec *Record, ends uint64) {
	if s.ends.Add(1) == ends+1 {
		s.remember(rec, s.clock())
	} else {
		s.known.remove(rec.ID)
	}
}

// List gives the user's live sessions, oldest first. Where rows do not name their user it reads the
// whole table, in pages.
func (s *DatabaseStore) List(ctx context.Context, userID string) ([]*Record, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	mine, err := s.ofUser(shared(ctx), s.db, userID)
	if errors.Is(err, ErrInvalidUser) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var live []*Record
	for _, m := range mine {
		if m.live() {
			live = append(live, m.rec)
		}
	}
	slices.SortStableFunc(live, func(a, b *Record) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return live, nil
}

// ownRow is a row of a user, with its session if there is one in it.
type ownRow struct {
	*tableRow
	rec *Record // nil: it cannot be read, or its user is gone
}

func (o ownRow) live() bool {
	return o.rec != nil && o.tableRow.live() && o.now.Before(o.rec.ExpiresAt)
}

// ofUser gives all rows of a user, dead and moved ones too. ErrInvalidUser: the column cannot hold such
// an ID, so there is none.
func (s *DatabaseStore) ofUser(ctx context.Context, q database.Querier, userID string) (mine []ownRow, err error) {
	if !askable(userID) {
		return nil, ErrInvalidUser
	}
	if s.queries.List == "" {
		known := people{}
		err = s.eachPage(ctx, q, func(rows []*tableRow) error {
			found, err := s.owned(ctx, q, rows, userID, known)
			mine = append(mine, found...)
			return err
		})
		return mine, err
	}
	rows, err := s.rows(ctx, q, "list", s.queries.List, userID)
	if database.IsRefusedValue(err) {
		return nil, ErrInvalidUser
	}
	if err != nil {
		return nil, s.failed(err)
	}
	return s.owned(ctx, q, rows, userID, people{})
}

// owned picks the rows of exactly this user: a collation may give others too. A row that cannot be
// read is no session, but it is the user's.
func (s *DatabaseStore) owned(ctx context.Context, q database.Querier, rows []*tableRow, userID string, known people) ([]ownRow, error) {
	var mine []ownRow
	for _, row := range rows {
		if s.userIn(row) != userID {
			continue
		}
		rec, err := s.record(ctx, q, row, known)
		if errors.Is(err, ErrUnavailable) {
			return nil, err
		}
		if err != nil {
			rec = nil
		}
		mine = append(mine, ownRow{tableRow: row, rec: rec})
	}
	return mine, nil
}

// pageSize is how many rows are read at once when all are.
const pageSize = 500

// eachPage reads the whole table in the order of the ids.
func (s *DatabaseStore) eachPage(ctx context.Context, q database.Querier, f func([]*tableRow) error) error {
	for after := ""; ; {
		rows, err := s.page(ctx, q, after, pageSize)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := f(rows); err != nil {
			return err
		}
		after = rows[len(rows)-1].id
	}
}

func (s *DatabaseStore) page(ctx context.Context, q database.Querier, after string, limit int) ([]*tableRow, error) {
	if after == "" {
		after = firstRow(s.cfg.NewID)
	}
	rows, err := s.rows(ctx, q, "scan", s.queries.Scan, after, int64(limit))
	return rows, s.failed(err)
}
