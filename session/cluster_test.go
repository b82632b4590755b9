package session_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// prefixed gives stores that share a Redis and do not meet: each has its own key prefix.
func prefixed(cfg config.Redis) func(*testing.T) *session.RedisStore {
	var n atomic.Int64
	cfg.Timeout = 5 * time.Second
	return func(t *testing.T) *session.RedisStore {
		t.Helper()
		own := cfg
		own.KeyPrefix = fmt.Sprintf("%sc%d:", cfg.KeyPrefix, n.Add(1))
		store := openConfig(t, own, session.Options{})
		connected(t, store)
		return store
	}
}

// One layout serves a Cluster as well: the contract holds over three masters with a replica each, and users fall on all of
// them.
func TestContractOverCluster(t *testing.T) {
	t.Parallel()
	cluster := testredis.StartCluster(t, 3, 1)
	connect := prefixed(config.Redis{Addresses: cluster.Addresses()})
	for _, c := range []struct {
		name    string
		scripts func(string) string
	}{
		{"contract", func(source string) string { return source }},
		{"contract with scripts that must declare their keys", declared},
	} {
		t.Run(c.name, func(t *testing.T) {
			sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) {
				store := connect(t)
				store.UseScripts(c.scripts)
				return store, time.Sleep
			})
		})
	}
	store := connect(t)
	for i := range 30 {
		rec, _ := sessiontest.Record(fmt.Sprintf("user-%d", i))
		if _, err := store.Create(t.Context(), rec, session.CreateOptions{TTL: time.Minute, MaxPerUser: 3, Began: session.EpochAt(0)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, master := range cluster.Masters() {
		if n, _ := ptr(master.Do(t, "DBSIZE")).AsInt64(); n < 4 {
			t.Errorf("%s has %d keys of 30 users", master.Addr, n)
		}
	}
}

// The contract holds over a master found by its sentinels.
func TestContractOverSentinel(t *testing.T) {
	t.Parallel()
	sentinels := testredis.StartSentinel(t)
	connect := prefixed(config.Redis{Sentinel: config.RedisSentinel{Master: testredis.MasterSet, Addresses: sentinels.Addresses()}})
	sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) { return connect(t), time.Sleep })
}
