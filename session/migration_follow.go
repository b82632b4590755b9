package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/telemetry"

	"github.com/redis/rueidis"
)

const (
	// followEvery is how often a replica looks for a change of the shared state.
	followEvery = 250 * time.Millisecond
	// settle is how long a replica stays in drain on its way from done to an earlier state: until no replica is
	// in done any more, where sessions born in the table are not known.
	settle = 4 * followEvery
	// closeBatch is how many rows are marked at once when the table is closed.
	closeBatch = 1000
)

// Shared is the state of the migration that `gatehouse migrate set` writes into Redis for all replicas.
type Shared struct {
	Setting
	// Over is what stood in the config file when it was written. A replica whose file says
	// something else has been told so later, and goes by its file.
	Over Setting   `json:"over"`
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"`
	// Superseded: some replica's file was changed after it. Replicas whose file was not go on by it until
	// they are told otherwise or start again; should a file be changed back, it does not come to life again.
	Superseded bool `json:"superseded,omitempty"`
}

// Shared reads the shared state; nil when there is none. ErrUnavailable.
func (s *RedisStore) Shared(_ context.Context) (*Shared, error) {
	shared, _, err := s.readShared()
	return shared, err
}

func (s *RedisStore) readShared() (*Shared, string, error) {
	c, err := s.client()
	if err != nil {
		return nil, "", err
	}
	replies := c.DoMulti(s.deadlines.context(), c.B().Get().Key(s.keys.migration()).Build(), c.B().Get().Key(s.keys.migrationTable()).Build())
	var texts [2]string
	for i, reply := range replies {
		if texts[i], err = reply.ToString(); err != nil && !rueidis.IsRedisNil(err) {
			return nil, "", s.failed(err)
		}
	}
	s.breaker.report(nil)
	if texts[0] == "" {
		return nil, texts[1], nil
	}
	var shared Shared
	if err := json.Unmarshal([]byte(texts[0]), &shared); err != nil || !known(shared.State) {
		return nil, texts[1], fmt.Errorf("%w: the shared state of the migration is damaged; write it again with gatehouse migrate set", ErrCorrupt)
	}
	return &shared, texts[1], nil
}

// SetShared writes the shared state; nil deletes it, and each replica goes by its file. ErrUnavailable.
func (s *RedisStore) SetShared(_ context.Context, shared *Shared) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	cmd := c.B().Del().Key(s.keys.migration()).Build()
	if shared != nil {
		text, err := json.Marshal(shared)
		if err != nil {
			return err
		}
		cmd = c.B().Set().Key(s.keys.migration()).Value(string(text)).Build()
	}
	if err := c.Do(s.deadlines.context(), cmd).Error(); err != nil {
		return s.failed(err)
	}
	return nil
}

// The states of the table, once the migration was done: sessions whose rows were left behind ended
// then, and must not come back when the migration goes back.
const (
	tableClosing = "closing" // not all rows are marked yet
	tableClosed  = "closed"
)

func (k keyspace) migrationTable() string { return k.prefix + "migration_table" }

func (s *RedisStore) setTable(value string) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	cmd := c.B().Set().Key(s.keys.migrationTable()).Value(value).Build()
	if value == "" {
		cmd = c.B().Del().Key(s.keys.migrationTable()).Build()
	}
	if err := c.Do(s.deadlines.context(), cmd).Error(); err != nil {
		return s.failed(err)
	}
	return nil
}

func known(state string) bool {
	switch state {
	case config.StateLegacy, config.StateShadow, config.StateCanary, config.StatePrimary, config.StateDrain, config.StateDone:
		return true
	}
	return false
}

// Effective is the state a replica goes by whose file says this.
func (file Setting) Effective(shared *Shared) Setting {
	if shared != nil && shared.Over == file {
		return shared.Setting
	}
	return file
}

// SetFile takes the state out of a config file that has changed.
func (m *MigratingStore) SetFile(s Setting) { m.file.Store(&s) }

// begin takes over the shared state before the first request. A replica that starts has no other to go from.
func (m *MigratingStore) begin() {
	if shared, tableState, err := m.redis.readShared(); err == nil {
		m.lastShared, m.heard = shared, true
		if shared != nil && shared.Superseded {
			m.over = shared.At
		}
		m.set(m.effective(*m.file.Load()))
		m.closing.Store(tableState == tableClosing && m.Setting().State != config.StateDone)
	}
}

// follow looks for changes until the store is closed.
func (m *MigratingStore) follow() {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		m.look()
		select {
		case <-m.stop:
			return
		case <-tick.C:
		}
	}
}

// look takes over what the file and Redis say now. While Redis is away the state stays as it is, unless the
// file changes.
func (m *MigratingStore) look() {
	file := *m.file.Load()
	shared, tableState, err := m.redis.readShared()
	switch {
	case err == nil:
		m.lastShared, m.damaged = shared, false
		if !m.heard && shared != nil && shared.Superseded {
			m.over = shared.At // as at the start, when Redis was away
		}
		m.heard = true
	case !m.damaged && (errors.Is(err, ErrCorrupt) || !m.redis.breaker.open.Load() && !errors.Is(err, context.DeadlineExceeded)):
		// Redis answers, and does not tell: rights that are missing, or something else under the key.
		m.damaged = true
		m.opts.Log.Error().Err(err).Msg("the shared state of the migration cannot be read; this gateway stays in state " + m.Setting().String())
	}
	if m.opts.Apart {
		m.set(m.effective(file))
		return
	}
	m.supersede(file)
	m.apply(m.effective(file))
	if err == nil {
		m.keepTable(tableState)
	}
}

// effective is the state by this file, and by what was shared after it.
func (m *MigratingStore) effective(file Setting) Setting {
	if m.lastShared != nil && m.lastShared.At.Equal(m.over) {
		return file
	}
	return file.Effective(m.lastShared)
}

// supersede notes that the file was changed after the shared state was set: what was said last holds.
func (m *MigratingStore) supersede(file Setting) {
	if file != m.lastFile {
		m.lastFile, m.told = file, false
		if m.lastShared != nil {
			m.over = m.lastShared.At
		}
	}
	if s := m.lastShared; s != nil && !s.Superseded && s.At.Equal(m.over) {
		next := *s
		next.Superseded = true
		_ = m.redis.SetShared(context.Background(), &next) // tried again with the next look
	}
}

// apply goes over to a state.
func (m *MigratingStore) apply(next Setting) {
	now := m.Setting()
	if now == next || time.Since(m.drainSince) < settle {
		return
	}
	// What is shared was checked by who set it, and a replica that was cut off has missed the steps between.
	checked := m.lastShared != nil && next == m.lastShared.Setting
	if next.State == config.StateDone && now.State != config.StateDrain && !checked {
		if !m.told {
			m.told = true
			m.opts.Log.Error().Err(CheckStep(now.State, next.State)).Msg("the state of the migration stays " + now.String() + ": sessions that have not come over would end")
		}
		return
	}
	if now.State == config.StateDone && next.State != config.StateDrain {
		m.drainSince = time.Now()
		m.leaveDone()
		m.change(Setting{State: config.StateDrain})
		return
	}
	if next.State == config.StateDone {
		// Before the first request in it: from now on rows that were left behind are no sessions.
		if err := m.redis.setTable(tableClosing); err != nil {
			return // tried again
		}
	}
	if now.State == config.StateDone {
		m.leaveDone()
	}
	m.change(next)
}

// leaveDone: until it is known that no row is left that ended with done, none is read.
func (m *MigratingStore) leaveDone() {
	m.closing.Store(true)
	m.closed.Store(false)
}

func (m *MigratingStore) change(next Setting) {
	before := m.Setting()
	m.set(next)
	telemetry.LogAudit(&m.opts.Log, telemetry.Audit{Event: telemetry.EventMigration, Reason: before.String() + " to " + next.String()})
}

// keepTable marks the rows that state done has left behind, at the latest before the table is read again.
func (m *MigratingStore) keepTable(state string) {
	done := m.Setting().State == config.StateDone
	m.closed.Store(done && state == tableClosed)
	if state != tableClosing && !(done && state != tableClosed) {
		m.closing.Store(false)
		m.marking = false
		if state == tableClosed && !done {
			_ = m.redis.setTable("") // rows come in again: the next time in done closes anew. Tried again if it fails
		}
		return
	}
	m.closing.Store(!done)
	if !m.marking {
		m.marking = true
		m.table.markFromTheBeginning()
	}
	through, err := m.markSome()
	switch {
	case err != nil && !m.closeFailed:
		m.closeFailed = true
		m.opts.Log.Warn().Err(err).Msg("the rows left in the sessions table cannot be marked as ended; it is tried again until they are, and the table is not read before")
	case through && m.settleCopies() == nil && m.redis.setTable(tableClosed) == nil:
		m.marking = false
		m.closing.Store(false)
		m.closed.Store(done)
	}
}

// markSome marks rows for as long as it may take before the state is looked at again: a large table takes many rounds.
// through: there is none left to mark.
func (m *MigratingStore) markSome() (through bool, err error) {
	for begun := time.Now(); time.Since(begun) < followEvery; {
		select {
		case <-m.stop:
			return false, nil
		default:
		}
		_, through, err = m.table.markPage(context.Background(), closeBatch)
		if database.IsMissingTable(err) {
			return true, nil
		}
		if err != nil || through {
			return through, err
		}
	}
	return false, nil
}

// errMore: there is more to do than may be done before the state is looked at again.
var errMore = errors.New("not finished yet")

// settleCopies makes sessions of the copies whose rows are marked, and takes the others away: from now on nobody asks
// the table about them.
func (m *MigratingStore) settleCopies() error {
	ctx, begun := context.Background(), time.Now()
	return m.redis.Each(ctx, func(rec *Record, err error) error {
		if err != nil || rec.Database != DatabaseCopy || !rec.born {
			return nil
		}
		select {
		case <-m.stop:
			return errMore
		default:
		}
		if time.Since(begun) > followEvery {
			return errMore
		}
		key := Key{Tag: TagOf(rec.User.ID), ID: rec.ID, Database: true}
		row, err := m.mark(ctx, key)
		switch {
		case m.isRowless(err):
			_, err = m.redis.Revoke(ctx, Key{Tag: key.Tag, ID: key.ID}, rec.User.ID)
			return err
		case err != nil:
			return err
		}
		return ifUnavailable(m.settle(ctx, Key{Tag: key.Tag, ID: key.ID}, row))
	})
}
