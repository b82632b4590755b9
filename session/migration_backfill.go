package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/config"

	"github.com/redis/rueidis"
)

// Rows is what a run over the table has met, row by row.
type Rows struct {
	// Read is how many rows were looked at.
	Read int64 `json:"read"`
	// Imported have come over to Redis. Copied have a copy there now (state shadow).
	Imported int64 `json:"imported"`
	Copied   int64 `json:"copied"`
	// Already had: moved before, or copied.
	Already int64 `json:"already"`
	// Waiting belong into the table in the present state: users who are not in the canary's share, and in
	// state shadow sessions the application made, which have no copy until they come over.
	Waiting int64 `json:"waiting"`
	// Expired, Anonymous (nobody is logged in in them) and Unreadable are left alone.
	Expired    int64 `json:"expired"`
	Anonymous  int64 `json:"anonymous"`
	Unreadable int64 `json:"unreadable"`
	// Ended while it was their turn: logged out, or revoked.
	Ended int64 `json:"ended"`
}

// Progress is how far a backfill has come. It is kept in Redis for `migrate status`. Where it stopped is not
// among it, since the rows it has done are marked; and the id of a row may be a token, which Redis must not hold (S04).
type Progress struct {
	Rows
	State    string    `json:"state"`
	Began    time.Time `json:"began"`
	At       time.Time `json:"at"`
	Finished bool      `json:"finished"`
}

// ErrState: the state of the migration does not have what was asked for.
var ErrState = errors.New("not in this state")

// Backfill brings sessions over that nobody has used since the state began, batch rows at a time.
// Before each row that is written it calls wait, after each batch step. It ends with the table, with wait's error, and
// with the first row that cannot be written: what is done stays done, and the next run goes on from there.
func (m *MigratingStore) Backfill(ctx context.Context, p *Progress, batch int, wait func(context.Context) error, step func(Progress)) error {
	after := ""
	p.Began = m.clock().UTC()
	switch set := m.Setting(); set.State {
	case config.StateLegacy, config.StateDone:
		return fmt.Errorf("%w: in state %s sessions do not come over to Redis; set shadow, canary, primary or drain first", ErrState, set.State)
	}
	for {
		rows, err := m.table.Scan(ctx, after, batch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := m.backfillRow(ctx, row, &p.Rows, wait); err != nil {
				return err
			}
			after = row.Row
		}
		p.Finished, p.At, p.State = len(rows) == 0, m.clock().UTC(), m.Setting().State
		if err := m.redis.setProgress(p); err != nil {
			return err
		}
		step(*p)
		if p.Finished {
			return nil
		}
	}
}

func (m *MigratingStore) backfillRow(ctx context.Context, row Row, n *Rows, wait func(context.Context) error) error {
	n.Read++
	switch {
	case row.Moved:
		n.Already++
		return m.Settle(ctx, row)
	case row.Err != nil:
		n.Unreadable++
		return nil
	case row.Expired:
		n.Expired++
		return nil
	case row.Record == nil:
		n.Anonymous++
		return nil
	}
	key, set := row.Record.Key(), m.Setting()
	moves := set.moves(key.Tag)
	if !moves && !(key.Database && set.State == config.StateShadow) {
		n.Waiting++
		return nil
	}
	if err := wait(ctx); err != nil {
		return err
	}
	switch {
	case moves && key.Database:
		return n.came(&n.Imported, m.backfillBorn(ctx, row))
	case moves:
		return n.came(&n.Imported, m.backfillApp(ctx, row))
	default:
		return n.came(&n.Copied, m.backfillCopy(ctx, key))
	}
}

func (n *Rows) came(count *int64, err error) error {
	switch {
	case errors.Is(err, errMigrated) || errors.Is(err, ErrConflict):
		n.Already++
	case errors.Is(err, ErrNotFound):
		n.Ended++
	case err != nil:
		return err
	default:
		*count++
	}
	return nil
}

// unused is what a record of the table becomes in Redis when nobody has used it: it lives no longer
// than its row would have.
func (m *MigratingStore) unused(rec *Record, rowEnds time.Time) (*Record, CreateOptions) {
	next := m.come(rec)
	now := m.clock()
	if used := rowEnds.Add(-m.policy.idle); used.Before(now) {
		next.LastAccessed = used.UTC().Truncate(time.Millisecond)
	}
	ttl := min(rowEnds.Sub(now), m.policy.ttl(next, now))
	return next, CreateOptions{Began: always, TTL: max(ttl, time.Second)}
}

func (m *MigratingStore) bringUnused(ctx context.Context, next *Record, opts CreateOptions) error {
	if _, err := m.redis.Create(ctx, next, opts); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// backfillBorn is importBorn without a request.
func (m *MigratingStore) backfillBorn(ctx context.Context, row Row) error {
	key := row.Record.Key()
	err := m.table.Move(ctx, key, func(rec *Record, moved bool) error {
		if moved {
			return errMigrated
		}
		next, opts := m.unused(rec, row.Ends)
		return m.bringUnused(ctx, next, opts)
	})
	if err != nil {
		return err
	}
	return m.settle(ctx, key, row.Record)
}

// backfillApp is importApp without a request: the session gets its token when its browser comes.
func (m *MigratingStore) backfillApp(ctx context.Context, row Row) error {
	var at alias
	err := m.table.Move(ctx, row.Record.Key(), func(rec *Record, moved bool) error {
		if moved {
			return errMigrated
		}
		var err error
		if at, err = m.ensureAlias(ctx, AppToken{row: row.Row}, rec); err != nil {
			return err
		}
		key, _ := at.key()
		next, opts := m.unused(rec, row.Ends)
		next.ID, next.born = key.ID, false
		return m.bringUnused(ctx, next, opts)
	})
	if err != nil {
		return err
	}
	key, _ := at.key()
	if err := m.settle(ctx, key, row.Record); err != nil {
		return err
	}
	m.moved(rowID(row.Row), row.Record)
	return nil
}

// Settle finishes what was cut short after a row was marked: its session in Redis must not look like a copy, which would
// end with its row.
func (m *MigratingStore) Settle(ctx context.Context, row Row) error {
	if row.Record == nil {
		return nil
	}
	inRedis, err := m.counterpart(ctx, row)
	if err != nil || inRedis.Database != DatabaseCopy {
		return ifUnavailable(err)
	}
	err = m.settle(ctx, Key{Tag: TagOf(inRedis.User.ID), ID: inRedis.ID}, row.Record)
	return ifUnavailable(err)
}

// settle notes in Redis that the row is marked.
func (m *MigratingStore) settle(ctx context.Context, key Key, row *Record) error {
	found, err := m.redis.findFresh(ctx, key)
	if err != nil || found.Record.Database != DatabaseCopy {
		return err
	}
	next := joined(found.Record, row)
	next.Database = DatabaseMoved
	left := min(m.policy.idle-m.clock().Sub(next.LastAccessed), next.ExpiresAt.Sub(m.clock()))
	err = m.redis.Replace(ctx, found.Record, next, max(left, time.Second))
	if errors.Is(err, ErrConflict) {
		err = nil // a request was first
	}
	if err == nil {
		m.stats.add(statImports)
	}
	return err
}

// backfillCopy makes a copy of a session that was born in the table before state shadow.
func (m *MigratingStore) backfillCopy(ctx context.Context, key Key) error {
	switch found, err := m.redis.findFresh(ctx, Key{Tag: key.Tag, ID: key.ID}); {
	case err == nil && found.Record.Database == DatabaseCopy:
		return ErrConflict
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return m.table.Hold(ctx, key, func(rec *Record, moved bool) error {
		if moved {
			return errMigrated
		}
		next := m.come(rec)
		next.LastAccessed = rec.LastAccessed
		_, err := m.redis.Create(ctx, next, CreateOptions{Began: always, TTL: max(m.ttl(next), time.Second)})
		return err
	})
}

func (k keyspace) backfill() string { return k.prefix + "migration_backfill" }

// Progress gives how far the last backfill came; nil when there was none.
func (s *RedisStore) Progress(_ context.Context) (*Progress, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	text, err := c.Do(s.deadlines.context(), c.B().Get().Key(s.keys.backfill()).Build()).ToString()
	switch {
	case rueidis.IsRedisNil(err):
		return nil, nil
	case err != nil:
		return nil, s.failed(err)
	}
	p := new(Progress)
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return nil, fmt.Errorf("%w: the backfill's progress", ErrCorrupt)
	}
	return p, nil
}

func (s *RedisStore) setProgress(p *Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.Do(s.deadlines.context(), c.B().Set().Key(s.keys.backfill()).Value(string(text)).Build()).Error(); err != nil {
		return s.failed(err)
	}
	return nil
}
