package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/session"
)

// stores are what sessions are kept in.
type stores struct {
	redis *session.RedisStore
	// database is nil unless database.url is set.
	database *database.DB
	// migrating is nil unless migration.state is set: then it is what the gateway works with.
	migrating *session.MigratingStore
	// table is the application's sessions table, beside migrating.
	table     *session.DatabaseStore
	appCookie *session.AppCookie
}

// openStores connects to Redis and to the database. That one of them is away is no error.
func openStores(ctx context.Context, cfg *config.Config, opts session.Options) (s *stores, err error) {
	s = &stores{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if cfg.Migration.Enabled() {
		opts = opts.Shared()
	}
	if s.redis, err = session.Open(ctx, cfg.Redis, opts); err != nil {
		return s, err
	}
	if !cfg.Database.Enabled() {
		return s, nil
	}
	if !cfg.Migration.Enabled() {
		s.database, err = database.Open(ctx, cfg.Database, database.Options{Log: opts.Log, Metrics: opts.Metrics})
		return s, err
	}
	var table *session.DatabaseStore
	if s.database, table, err = openTable(ctx, cfg, opts); err != nil {
		return s, err
	}
	if s.appCookie, err = session.NewAppCookie(table, cfg.Session, opts); err != nil {
		return s, err
	}
	s.migrating, s.table = session.NewMigratingStore(s.redis, table, cfg, opts), table
	return s, nil
}

// check finds out what is missing in the application's table before the first request does. In state done
// the table may be gone. What the state is nobody knows for certain while Redis is away: then it is only told.
func (s *stores) check(ctx context.Context, log zerolog.Logger) error {
	if s.migrating == nil || s.migrating.Setting().State == config.StateDone {
		return nil
	}
	err := checkTable(ctx, s.table)
	if err != nil && s.redis.Ping(ctx) != nil {
		log.Error().Err(err).Msg("the sessions table is not as the migration needs it")
		return nil
	}
	return err
}

// openTable opens the application's database and its sessions table.
func openTable(ctx context.Context, cfg *config.Config, opts session.Options) (*database.DB, *session.DatabaseStore, error) {
	db, err := database.Open(ctx, cfg.Database, database.Options{Log: opts.Log, Metrics: opts.Metrics})
	if err != nil {
		return nil, nil, err
	}
	table, err := session.OpenDatabase(db, cfg.Session.Database, cfg.Session, opts)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, table, nil
}

// checkTable says what is missing in the application's table. A database that is away has nothing
// wrong with it.
func checkTable(ctx context.Context, table *session.DatabaseStore) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := table.Check(ctx)
	if errors.Is(err, session.ErrUnavailable) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("session.database: %w\nor have it done: gatehouse migrate prepare --apply", err)
	}
	return nil
}

// store is what the session manager works with; closing it closes both stores.
func (s *stores) store() session.Store {
	if s.migrating != nil {
		return s.migrating
	}
	return s.redis
}

// close closes what the manager does not.
func (s *stores) close() error {
	var errs []error
	switch {
	case s.migrating != nil:
		errs = append(errs, s.migrating.Close())
	case s.redis != nil:
		errs = append(errs, s.redis.Close())
	}
	if s.database != nil {
		errs = append(errs, s.database.Close())
	}
	return errors.Join(errs...)
}

// closeTimeout bounds the last chance of renewals and revocations that are not confirmed yet.
const closeTimeout = 5 * time.Second

// login is the database as the login backend asks it; nil when there is none.
func (s *stores) login() database.Querier {
	if s.database == nil {
		return nil // not a nil *DB in an interface
	}
	return s.database
}
