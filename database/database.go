// Package database is the connection to the application's own database, PostgreSQL or MySQL/MariaDB:
// a bounded pool, a bound on the time of every question, a breaker for when the database is away,
// and errors that say whether it was away or said no.
package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/config"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// ErrUnavailable: the database could not be asked, or did not answer in time. It says nothing about
// what was asked. Wrapped around the cause; never holds a password.
var ErrUnavailable = errors.New("database unavailable")

// Dialect is the kind of database.
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
)

// Bounds of the pool beside the configuration. A connection does not live for ever, so that after a
// failover all of them end up at the server the name stands for now.
const (
	defaultTimeout        = time.Second
	defaultMaxConnections = 10
	maxIdleTime           = 5 * time.Minute
	maxLifetime           = 30 * time.Minute
)

// Options are what Open takes beside the configuration. The zero value works.
type Options struct {
	Log     zerolog.Logger
	Metrics *telemetry.Metrics
}

// Querier asks questions: a DB, each time over whatever connection is free, or a Tx over its own.
// Statements are written with $1, $2, ... in either dialect, each as often and in any order; arguments that
// a statement does not use are left out. Arguments are string, []byte, int64, bool, time.Time or nil; a
// string fits a column of any type, in the server's own way of writing it.
// Once a question is asked, the end of ctx's caller does not end it, only its deadline does.
type Querier interface {
	// Query calls each for every row. An error of each ends it and is returned as it is. The whole answer
	// is there before each is first called: each may take its time, and ask questions itself.
	Query(ctx context.Context, query string, args []any, each func(*Row) error) error
	// Exec runs a statement and gives how many rows it changed, those included that were already as wished.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
}

var (
	_ Querier = (*DB)(nil)
	_ Querier = (*Tx)(nil)
)

// DB is a database that may be away. Safe for concurrent use.
type DB struct {
	target   *target
	pool     *sql.DB
	rewriter rewriter
	breaker  *breaker
	log      zerolog.Logger
	metrics  *telemetry.Metrics
	free     chan struct{} // a place for each connection

	stop    chan struct{}
	running sync.WaitGroup
	once    sync.Once
	began   time.Time // of the outage; the breaker's callbacks come one after the other
}

// Open reads the URL and prepares the pool. That the database is away is no error: questions give
// ErrUnavailable until it is there. An error is one of the configuration. ctx bounds nothing but the first
// sign of life, which is waited for so that an outage at the start is in the log before all else.
func Open(ctx context.Context, cfg config.Database, opts Options) (*DB, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultMaxConnections
	}
	t, connector, err := newConnector(cfg)
	if err != nil {
		key := "database.url"
		if cfg.URLFile != "" {
			key = "database.url_file"
		}
		return nil, fmt.Errorf("%s %w", key, err)
	}
	d := &DB{
		target: t, pool: sql.OpenDB(connector), rewriter: rewriter{dialect: t.dialect}, log: opts.Log, metrics: opts.Metrics,
		free: make(chan struct{}, cfg.MaxConnections), stop: make(chan struct{}),
	}
	d.pool.SetMaxOpenConns(cfg.MaxConnections)
	d.pool.SetMaxIdleConns(cfg.MaxConnections)
	d.pool.SetConnMaxIdleTime(maxIdleTime)
	d.pool.SetConnMaxLifetime(maxLifetime)
	d.breaker = newBreaker(d.noteOutage)
	if err := d.Ping(ctx); errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		d.breaker.trip(err)
	}
	d.running.Go(d.run)
	return d, nil
}

func newConnector(cfg config.Database) (*target, driver.Connector, error) {
	t, err := parseURL(cfg.URL.Reveal())
	if err != nil {
		return nil, nil, err
	}
	t.timeout, t.login.file = cfg.Timeout, cfg.URLFile
	make := newPostgres
	if t.dialect == MySQL {
		make = newMySQL
	}
	connector, err := make(t)
	return t, connector, err
}

// noteOutage logs the begin and the end of an outage, each once.
func (d *DB) noteOutage(away bool, cause error) {
	d.metrics.DatabaseOutage(away)
	if !away {
		d.log.Info().Str("database", d.target.where()).Dur("away_ms", time.Since(d.began)).Msg("database available again")
		return
	}
	d.began = time.Now()
	text := ""
	if e := (*Error)(nil); errors.As(cause, &e) {
		text = e.text
	}
	d.log.Warn().Str("database", d.target.where()).Str("cause", text).Msg("database unavailable")
}

// run asks, while the database is away, whether it is back.
func (d *DB) run() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	known := false // that it is away
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		away := d.breaker.away()
		if away && !known {
			d.dropIdle()
		}
		if known = away; away {
			d.breaker.note(d.Ping(context.Background()))
		}
	}
}

// dropIdle ends the connections nobody uses: after an outage of the network each could cost a question its
// timeout before it turns out to be dead.
func (d *DB) dropIdle() {
	d.pool.SetMaxIdleConns(-1)
	d.pool.SetMaxIdleConns(cap(d.free))
}

// Dialect of the URL.
func (d *DB) Dialect() Dialect { return d.target.dialect }

// Away reports whether the breaker holds the database to be away.
func (d *DB) Away() bool { return d.breaker.away() }

// Close ends the connections, after the questions that are asked already. Questions after it give
// ErrUnavailable. There is no error as yet.
func (d *DB) Close() error {
	d.once.Do(func() { close(d.stop) })
	d.running.Wait()
	_ = d.pool.Close() // its errors tell only that a farewell did not reach the server
	return nil
}
