package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/config"
)

// table is the application's sessions table; *DatabaseStore is it.
type table interface {
	Store
	// FindRow is Find for a row the application made, by its id column. Also errMigrated.
	FindRow(ctx context.Context, row string) (Found, error)
	// Move locks a row, calls f with its session and whether it is marked already, marks it and commits.
	// ErrNotFound: there is no such row, or it has expired. An error of f leaves all as it was.
	Move(ctx context.Context, key Key, f func(rec *Record, moved bool) error) error
	// Hold is Move without the mark.
	Hold(ctx context.Context, key Key, f func(rec *Record, moved bool) error) error
	// Scan gives up to limit rows in the order of their id columns, from the one behind after on.
	Scan(ctx context.Context, after string, limit int) ([]Row, error)
	// Count counts the rows.
	Count(ctx context.Context) (Counts, error)
	// DeleteExpired deletes up to limit rows that have expired, and says how many.
	DeleteExpired(ctx context.Context, limit int) (int64, error)
	// markPage marks the live rows of the next page, and says when the whole table has none.
	markPage(ctx context.Context, limit int) (marked int64, through bool, err error)
	markFromTheBeginning()
	// CanInsert is false for tables the gateway cannot write sessions into.
	CanInsert() bool
	// create is Create with a step of the caller's inside the transaction, right before it commits.
	create(ctx context.Context, rec *Record, opts CreateOptions, inTx func() error) ([]ID, error)
}

// MigratingStore holds sessions in the application's table and in Redis side by side, and moves them
// from the one to the other (design: Migration). What it holds true, whatever happens:
//
//   - The cookie says where a session is read; the state only says where new ones go, and whether
//     old ones come over when they are used. So a step back logs nobody out.
//   - A session comes over under the lock of its row: its record is made in Redis, then the row
//     is marked, then both are committed. A revocation deletes the row first and the record second. So either
//     the import waits and finds no row, or the revocation waits and finds the record (S06).
//   - A marked row is no session any more, whatever becomes of Redis. An unmarked row is one,
//     and a record in Redis that says "copy" counts only together with its row.
//   - A crash at any point leaves a state from which the next use of the session goes on.
type MigratingStore struct {
	redis  *RedisStore
	table  table
	policy policy
	clock  Clock
	opts   Options
	// outageLogin: while Redis is away people log in into the database.
	outageLogin bool
	// forward: the application goes on using its sessions, and may write their rows at any time.
	forward bool

	current atomic.Pointer[Setting]
	file    atomic.Pointer[Setting]
	closed  atomic.Bool // state done has marked every row
	closing atomic.Bool // the table is being closed after state done: its rows are not read
	stats   *migrationStats
	later   *laterQueue
	imports *imports
	halves  halves
	// unended is told of sessions that should have ended and could not be; the manager refuses them and tries on.
	unended     func(key Key, userID string)
	comparisons chan *Record
	stop        chan struct{}
	running     sync.WaitGroup
	once        sync.Once

	// What follow alone uses.
	lastShared           *Shared
	lastFile             Setting
	over                 time.Time // a shared state of that time counts no more
	told                 bool      // that a step is refused
	heard                bool      // what is shared, at least once
	drainSince           time.Time
	damaged, closeFailed bool
	marking              bool // rows are being marked
}

// maxComparisons bounds the sessions that wait to be compared.
const maxComparisons = 256

var _ Store = (*MigratingStore)(nil)

// Setting is the state of the migration.
type Setting struct {
	// State is one of config.StateLegacy to config.StateDone.
	State string `json:"state"`
	// Percent of the users whose sessions are in Redis, in state canary.
	Percent int `json:"percent"`
}

// String is the state, in canary with its share.
func (s Setting) String() string {
	if s.State == config.StateCanary {
		return fmt.Sprintf("%s %d %%", s.State, s.Percent)
	}
	return s.State
}

// moves reports whether the sessions of a tag's user belong into Redis. The tag is a hash of the user ID, so
// the same users are in at every replica, and more percent only adds users.
func (s Setting) moves(tag Tag) bool {
	switch s.State {
	case config.StateLegacy, config.StateShadow:
		return false
	case config.StateCanary:
		return bucket(tag) < s.Percent
	default:
		return true
	}
}

// bucket is the user's place among a hundred.
func bucket(tag Tag) int {
	b, err := encoding.DecodeString(string(tag))
	if err != nil {
		return 0
	}
	var n uint64
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return int(n % 100)
}

// NewMigratingStore joins the two stores; both belong to it from now on. It begins with the config's
// state and follows the file's and the shared one (see Shared).
func NewMigratingStore(redis *RedisStore, db *DatabaseStore, cfg *config.Config, opts Options) *MigratingStore {
	opts = opts.withDefaults()
	begin := Setting{State: cfg.Migration.State, Percent: cfg.Migration.Percent}
	m := &MigratingStore{
		redis: redis, table: db, policy: newPolicy(cfg.Session), clock: opts.Clock, opts: opts,
		outageLogin: cfg.Outage.Login == config.OutageLoginDatabase, forward: cfg.Session.Database.Cookie.Forward,
		stop: make(chan struct{}),
	}
	m.stats = newMigrationStats(redis, opts)
	m.later = newLaterQueue(opts.Log)
	m.unended = func(Key, string) {}
	m.imports = newImports(cfg.Database.MaxConnections)
	m.comparisons = make(chan *Record, maxComparisons)
	m.file.Store(&begin)
	m.lastFile = begin
	m.set(begin)
	m.begin()
	m.running.Go(m.follow)
	m.running.Go(m.compareAll)
	return m
}

// Setting is what this replica goes by now.
func (m *MigratingStore) Setting() Setting { return *m.current.Load() }

func (m *MigratingStore) set(s Setting) {
	m.current.Store(&s)
	m.opts.Metrics.MigrationState(s.State, s.Percent)
}

// always is an epoch that no revocation supersedes. An import needs none: it holds the row's lock, which
// the revocation needs first.
var always = Epoch{redis: 1 << 52, hasRedis: true, database: 1 << 52, hasDatabase: true}

// Epoch takes a point in both orders, as far as they can be had: where the session goes is
// known when the user is. It fails when nobody could log in.
func (m *MigratingStore) Epoch(ctx context.Context) (Epoch, error) {
	set := m.Setting()
	if set.State == config.StateDone {
		return m.redis.Epoch(ctx)
	}
	inRedis, redisErr := m.redis.Epoch(ctx)
	inTable, tableErr := m.table.Epoch(ctx)
	both := Epoch{redis: inRedis.redis, hasRedis: redisErr == nil, database: inTable.database, hasDatabase: tableErr == nil}
	switch {
	case both.hasRedis && both.hasDatabase:
		return both, nil
	case both.hasDatabase && (m.outageLogin && m.table.CanInsert() || !set.moves(topTag)):
		return both, nil // at least some users' sessions go into the table
	case both.hasRedis && set.moves(bottomTag):
		return both, nil // at least some users' go into Redis
	}
	return Epoch{}, errors.Join(redisErr, tableErr)
}

// The tags of the first and the last to come over in canary.
var (
	bottomTag = Tag(encoding.EncodeToString(make([]byte, tagBytes)))
	topTag    = Tag(encoding.EncodeToString([]byte{0, 0, 0, 0, 0, 0, 0, 99}))
)

// place says whether a new session of the user goes into the table.
func (m *MigratingStore) place(userID string, began Epoch) (database bool) {
	set := m.Setting()
	if set.State == config.StateDone || !m.table.CanInsert() {
		return false
	}
	if !set.moves(TagOf(userID)) {
		return true
	}
	return m.outageLogin && !began.hasRedis && began.hasDatabase
}

// Ping asks the stores that are needed in the present state.
func (m *MigratingStore) Ping(ctx context.Context) error {
	var errs []error
	for _, err := range m.stores(ctx) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// stores asks each of them. In legacy and shadow sessions are served and made without Redis, in primary, drain and
// done without the database.
func (m *MigratingStore) stores(ctx context.Context) map[string]error {
	all, set := map[string]error{}, m.Setting()
	if set.moves(bottomTag) {
		all["redis"] = m.redis.Ping(ctx)
	}
	if !set.moves(topTag) {
		all["database"] = m.table.Ping(ctx)
	}
	return all
}

// KnownOf gives the user's sessions in this process's memory.
func (m *MigratingStore) KnownOf(userID string) []ID {
	ids := m.redis.KnownOf(userID)
	if t, ok := m.table.(interface{ KnownOf(userID string) []ID }); ok {
		ids = append(ids, t.KnownOf(userID)...)
	}
	return ids
}

// Close ends what runs and closes both stores.
func (m *MigratingStore) Close() (err error) {
	m.once.Do(func() {
		close(m.stop)
		m.running.Wait()
		err = errors.Join(m.later.close(), m.stats.close(), m.table.Close(), m.redis.Close())
	})
	return err
}

// ttl is how long Redis keeps a session that is used now.
func (m *MigratingStore) ttl(rec *Record) time.Duration { return m.policy.ttl(rec, m.clock()) }
