package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"gatehouse/config"
	"gatehouse/database"
)

// beginning gives the sessions in Redis whose IDs begin with id. Only their records are read.
func (s *RedisStore) beginning(ctx context.Context, id string) ([]*Record, error) {
	var found []*Record
	pattern := s.keys.beginning("", id)
	err := s.walk(ctx, pattern, nil, func(step context.Context, at place, names []string) error {
		return s.readEach(step, at.c, names, func(rec *Record, err error) error {
			if err == nil && strings.HasPrefix(rec.ID.String(), id) {
				found = append(found, rec)
			}
			return nil // a record that cannot be read is no session
		})
	})
	return found, err
}

// beginning adds the sessions of the application's table to those found in Redis. The table knows rows, not the
// IDs of their sessions, so it is read as a whole, page by page.
func (m *MigratingStore) beginning(ctx context.Context, id string, inRedis []*Record) ([]*Record, error) {
	if m.isClosed() {
		return inRedis, nil
	}
	var all []*Record
	for _, rec := range inRedis {
		counts, err := m.counting(ctx, rec)
		if err != nil {
			return nil, err
		}
		all = append(all, counts...)
	}
	for after := ""; ; {
		rows, err := m.table.Scan(ctx, after, pageSize)
		if database.IsMissingTable(err) && m.Setting().State == config.StateDone {
			return all, nil
		}
		if err != nil || len(rows) == 0 {
			return all, err
		}
		for _, row := range rows {
			after = row.Row
			rec := row.Record
			if rec == nil || row.Moved || row.Expired || !strings.HasPrefix(rec.ID.String(), id) {
				continue
			}
			if !slices.ContainsFunc(all, func(r *Record) bool { return r.ID == rec.ID }) {
				all = append(all, rec)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// counting gives the session behind a record in Redis: none when it is the copy of a row that is gone, and
// the row's when it is the copy of one that is there.
func (m *MigratingStore) counting(ctx context.Context, rec *Record) ([]*Record, error) {
	if rec.Database != DatabaseCopy || !rec.born || m.isClosed() {
		return []*Record{rec}, nil
	}
	row, err := m.table.Find(ctx, rec.Key())
	switch {
	case err == nil:
		return []*Record{row.Record}, nil
	case errors.Is(err, errMigrated):
		return []*Record{rec}, nil
	case errors.Is(err, ErrUnavailable) && !(database.IsMissingTable(err) && m.Setting().State == config.StateDone):
		return nil, err
	}
	return nil, nil
}
