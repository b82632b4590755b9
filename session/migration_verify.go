package session

import (
	"context"
	"errors"
	"strings"
)

// Verification is what a comparison of both stores has found.
type Verification struct {
	// Rows that were read, of which Expired and Anonymous ones were left alone.
	Rows      int64 `json:"rows"`
	Expired   int64 `json:"expired"`
	Anonymous int64 `json:"anonymous"`
	// Compared are sessions that are in both stores.
	Compared int64 `json:"compared"`
	// OnlyDatabase are live sessions that are not in Redis, OnlyRedis those that have no row.
	OnlyDatabase int64 `json:"onlyDatabase"`
	OnlyRedis    int64 `json:"onlyRedis"`
	// Ended have moved and have ended in Redis since: their rows can go.
	Ended int64 `json:"ended"`
	// Mismatched is how many sessions differ; Mismatches are the first of them.
	Mismatched int64      `json:"mismatched"`
	Mismatches []Mismatch `json:"mismatches,omitempty"`
}

// maxMismatches bounds those that are told one by one.
const maxMismatches = 100

// Mismatch is one session the two stores do not agree on.
type Mismatch struct {
	Session string `json:"session"` // short ID
	UserID  string `json:"user"`
	What    string `json:"what"`
}

func (v *Verification) mismatch(rec *Record, what string) {
	v.Mismatched++
	if len(v.Mismatches) < maxMismatches {
		v.Mismatches = append(v.Mismatches, Mismatch{Session: rec.ID.Short(), UserID: rec.User.ID, What: what})
	}
}

// Verify compares the two stores, row by row and record by record. It changes nothing. step is called now and then.
func (m *MigratingStore) Verify(ctx context.Context, batch int, step func(Verification)) (Verification, error) {
	var v Verification
	for after := ""; ; {
		rows, err := m.table.Scan(ctx, after, batch)
		if err != nil {
			return v, err
		}
		for _, row := range rows {
			if err := m.verifyRow(ctx, row, &v); err != nil {
				return v, err
			}
			after = row.Row
		}
		step(v)
		if len(rows) == 0 {
			break
		}
	}
	err := m.redis.Each(ctx, func(rec *Record, err error) error {
		if err != nil {
			v.Mismatched++ // a record that cannot be read is no session, and should not be there
			return nil
		}
		return m.verifyRecord(ctx, rec, &v)
	})
	step(v)
	for range v.Compared - min(v.Compared, v.Mismatched) {
		m.stats.add(statCompared) // as a request would have: `migrate status` asks whether any was
	}
	return v, err
}

// verifyRow looks for what has become of a row.
func (m *MigratingStore) verifyRow(ctx context.Context, row Row, v *Verification) error {
	v.Rows++
	switch {
	case row.Err != nil:
		v.Mismatched++
		if len(v.Mismatches) < maxMismatches {
			v.Mismatches = append(v.Mismatches, Mismatch{Session: rowID(row.Row).Short(), What: "the row cannot be read: " + row.Err.Error()})
		}
		return nil
	case row.Expired && !row.Moved:
		v.Expired++
		return nil
	case row.Record == nil:
		v.Anonymous++
		return nil
	}
	inRedis, err := m.counterpart(ctx, row)
	switch {
	case errors.Is(err, ErrNotFound) && row.Moved:
		v.Ended++
		return nil
	case errors.Is(err, ErrNotFound):
		v.OnlyDatabase++
		return nil
	case errors.Is(err, ErrCorrupt):
		v.mismatch(row.Record, "its record in Redis cannot be read")
		return nil
	case err != nil:
		return err
	}
	v.Compared++
	if fields := differences(row.Record, inRedis); len(fields) > 0 {
		v.mismatch(row.Record, "differs in "+strings.Join(fields, ", "))
	}
	if !row.Moved && inRedis.Database == DatabaseMoved {
		v.mismatch(row.Record, "has moved to Redis, and its row is not marked")
	}
	return nil
}

// counterpart reads what Redis has of a row.
func (m *MigratingStore) counterpart(ctx context.Context, row Row) (*Record, error) {
	key := row.Record.Key()
	if !key.Database {
		a, err := m.redis.alias(ctx, rowID(row.Row), true)
		if err != nil {
			return nil, err
		}
		key, _ = a.key()
		if found, err := m.redis.findFresh(ctx, key); err == nil || a.From == "" || !errors.Is(err, ErrNotFound) {
			return found.Record, err
		}
		key, _ = a.from()
	}
	found, err := m.redis.findFresh(ctx, Key{Tag: key.Tag, ID: key.ID})
	return found.Record, err
}

// verifyRecord looks for copies whose rows are gone. What has moved, or was born in Redis, needs none.
func (m *MigratingStore) verifyRecord(ctx context.Context, rec *Record, v *Verification) error {
	if rec.Database != DatabaseCopy {
		if rec.Database == "" {
			v.OnlyRedis++
		}
		return nil
	}
	if !rec.born {
		return nil // on its way over; its row names it by the alias
	}
	_, err := m.table.Find(ctx, rec.Key())
	switch {
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, ErrNotFound) && !errors.Is(err, errMigrated):
		v.mismatch(rec, "is a copy whose row is gone; it counts for nothing and expires by itself")
	}
	return nil
}
