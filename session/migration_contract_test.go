package session_test

import (
	"context"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// TestMigrationContract: both stores side by side are a store like any other, in every state.
func TestMigrationContract(t *testing.T) {
	t.Parallel()
	d := onPostgres(t)
	const schema = "CREATE TABLE sessions (id text PRIMARY KEY, user_id text NOT NULL, expires_at timestamptz NOT NULL)"
	newStore := func(t *testing.T, state string) *session.MigratingStore {
		f := newDB(t, d, schema, withoutUsers)
		cfg := config.Default()
		cfg.Migration.State, cfg.Migration.Percent = state, 50
		store := session.NewMigratingStore(openRedis(t), f.DatabaseStore, cfg, session.Options{})
		t.Cleanup(func() { store.Close() })
		return store
	}
	for _, state := range states {
		t.Run(state+", born in Redis", func(t *testing.T) {
			t.Parallel()
			sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) { return newStore(t, state), time.Sleep })
		})
	}
	for _, state := range []string{config.StateLegacy, config.StateShadow} {
		t.Run(state+", born in the table", func(t *testing.T) {
			t.Parallel()
			sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) {
				return bornInTable{newStore(t, state)}, time.Sleep
			}, sessiontest.InTable(), sessiontest.Without("user ID with a NUL", "PostgreSQL's text cannot hold a NUL"))
		})
	}
}

// bornInTable makes every new session one of the table's, as the manager does by its token.
type bornInTable struct{ *session.MigratingStore }

func (s bornInTable) Create(ctx context.Context, rec *session.Record, opts session.CreateOptions) ([]session.ID, error) {
	born := rec.Clone()
	session.SetBorn(born)
	return s.MigratingStore.Create(ctx, born, opts)
}

func openRedis(t *testing.T) *session.RedisStore { return open(t, testredis.Start(t)) }
