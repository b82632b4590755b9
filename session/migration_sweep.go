package session

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"gatehouse/database"
)

// Swept is a row that is taken out of the table: all its columns as text, nil for NULL.
type Swept map[string]*string

// deleteFrom is how the statement that deletes a row begins. The one that reads it is the same with another beginning.
var deleteFrom = regexp.MustCompile(`(?is)^\s*DELETE\s+FROM\s`)

// Dump reads all columns of a row. ErrNotFound, ErrUnavailable.
func (s *DatabaseStore) Dump(ctx context.Context, row string) (swept Swept, err error) {
	if !deleteFrom.MatchString(s.queries.Delete) {
		return nil, fmt.Errorf("session.database.queries.delete does not begin with DELETE FROM, so rows cannot be read to be written to a file")
	}
	query := deleteFrom.ReplaceAllLiteralString(s.queries.Delete, "SELECT * FROM ")
	err = s.db.Query(shared(ctx), query, []any{row}, func(r *database.Row) error {
		swept = Swept{}
		for _, name := range r.Columns() {
			swept[name] = nil
			if !r.Null(name) {
				text := r.String(name)
				swept[name] = &text
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.failed(err)
	}
	if swept == nil {
		return nil, ErrNotFound
	}
	return swept, nil
}

// Sweep takes the rows out of the table whose sessions have moved to Redis, batch rows at a time. keep, if not nil, is given
// each; an error of it or of before ends it, and the row stays. step hears how many rows were looked at and taken out.
func (s *DatabaseStore) Sweep(ctx context.Context, batch int, before func(Row) error, keep func(Swept) error, step func(read, taken int64)) (taken int64, err error) {
	var read int64
	for after := ""; ; {
		rows, err := s.Scan(ctx, after, batch)
		if err != nil {
			return taken, err
		}
		for _, row := range rows {
			if err := ctx.Err(); err != nil {
				return taken, err
			}
			after = row.Row
			read++
			if !row.Moved {
				continue
			}
			if err := before(row); err != nil {
				return taken, err
			}
			n, err := s.sweepRow(ctx, row.Row, keep)
			if err != nil {
				return taken, err
			}
			taken += n
		}
		step(read, taken)
		if len(rows) == 0 {
			return taken, nil
		}
	}
}

func (s *DatabaseStore) sweepRow(ctx context.Context, row string, keep func(Swept) error) (int64, error) {
	if keep != nil {
		swept, err := s.Dump(ctx, row)
		if errors.Is(err, ErrNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		if err := keep(swept); err != nil {
			return 0, err
		}
	}
	return s.DeleteMoved(ctx, []string{row})
}
