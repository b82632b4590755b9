package session

import (
	"context"
	"errors"
)

// DeleteExpired deletes up to limit rows that have expired by the database's clock, and says how many.
// Marked ones too: what they were is in Redis, or has expired there as well.
func (s *DatabaseStore) DeleteExpired(ctx context.Context, limit int) (int64, error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	now, err := s.databaseNow(ctx, s.db)
	if err != nil {
		return 0, err
	}
	return s.exec(ctx, s.db, s.queries.DeleteExpired, s.form.value(now), int64(limit))
}

// DeleteMoved deletes those of the rows, by id column, that are marked, and says how many. Each is looked at
// again: a row that was not marked after all is a session. A mark never goes away, so no lock is needed.
// A marked row whose user is gone is left, it goes when it expires.
func (s *DatabaseStore) DeleteMoved(ctx context.Context, rows []string) (deleted int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	for _, id := range rows {
		row, err := s.row(ctx, s.db, id)
		if errors.Is(err, ErrNotFound) || err == nil && !row.moved {
			continue
		}
		if err != nil {
			return deleted, err
		}
		n, err := s.exec(ctx, s.db, s.queries.Delete, id)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// MarkAll marks up to limit live rows, and says how many: what is called until it says 0 closes the
// table, nothing in it is a session any more. It goes on where the last call ended, and begins again until
// it has gone through the whole table without finding any: rows may have come in behind it. Rows of
// nobody are left as they are; rows that cannot be read are marked, a later version might read them.
func (s *DatabaseStore) MarkAll(ctx context.Context, limit int) (marked int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	for marked < int64(limit) {
		n, through, err := s.markPage(ctx, limit-int(marked))
		marked += n
		if err != nil || through {
			return marked, err
		}
	}
	return marked, nil
}

// markPage looks at one page of the table for MarkAll, and marks up to limit rows of it. through: the whole table has been
// gone through, from its beginning, without finding any.
func (s *DatabaseStore) markPage(ctx context.Context, limit int) (marked int64, through bool, err error) {
	s.marking.Lock()
	defer s.marking.Unlock()
	rows, err := s.Scan(ctx, s.markAfter, pageSize)
	if err != nil {
		return 0, false, err
	}
	if len(rows) == 0 {
		again := s.marked
		s.markAfter, s.marked = "", false
		return 0, !again, nil
	}
	for _, row := range rows {
		if marked == int64(limit) {
			break
		}
		s.markAfter = row.Row
		if row.Moved || row.Expired || row.Record == nil && row.Err == nil {
			continue
		}
		n, err := s.exec(ctx, s.db, s.queries.Mark, row.Row)
		if err != nil {
			s.markAfter = "" // or the next call would pass over this row
			return marked, false, err
		}
		marked += n
		s.marked = s.marked || n > 0
		if row.Record != nil {
			s.ending(row.Record.ID)
		}
	}
	return marked, false, nil
}

// markFromTheBeginning has the next markPage begin with the first row.
func (s *DatabaseStore) markFromTheBeginning() {
	s.marking.Lock()
	defer s.marking.Unlock()
	s.markAfter, s.marked = "", false
}
