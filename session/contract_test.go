package session_test

import (
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/internal/testserver"
	"gatehouse/session"
	"gatehouse/session/sessiontest"

	"go.uber.org/goleak"
)

// rueidis closes the connections of a changed Cluster five seconds later, in a goroutine that ends by itself.
func TestMain(m *testing.M) {
	testserver.MoreParallel()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
		// It asks for the Cluster's nodes again within a second of the last time, and ends by itself.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// open opens a store on a server and closes it with the test.
func open(t testing.TB, server *testredis.Server, change ...func(*config.Redis)) *session.RedisStore {
	t.Helper()
	cfg := config.Redis{Addresses: []string{server.Addr}, Timeout: 5 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	store := openConfig(t, cfg, session.Options{})
	connected(t, store)
	return store
}

func openConfig(t testing.TB, cfg config.Redis, opts session.Options) *session.RedisStore {
	t.Helper()
	store, err := session.Open(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func embedded(t testing.TB) *session.RedisStore {
	t.Helper()
	store := openConfig(t, config.Redis{Addresses: []string{"embedded"}, Timeout: 5 * time.Second}, session.Options{})
	connected(t, store)
	return store
}

// newEmbedded passes time in the embedded Redis at once.
func newEmbedded(t *testing.T) (session.Store, func(time.Duration)) {
	store := embedded(t)
	var mu sync.Mutex
	var ahead time.Duration
	return store, func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		ahead += d
		store.EmbeddedServer().SetTime(time.Now().Add(ahead))
		store.EmbeddedServer().FastForward(d)
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		sessiontest.Run(t, newEmbedded)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) {
			return open(t, testredis.Start(t)), time.Sleep
		})
	})
	t.Run("redis with a key prefix, a database and a password", func(t *testing.T) {
		t.Parallel()
		sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) {
			server := testredis.Start(t, testredis.Password("secret"))
			return open(t, server, func(c *config.Redis) {
				c.KeyPrefix, c.DB, c.Password = "app1:", 3, "secret"
			}), time.Sleep
		})
	})
	t.Run("redis with scripts that must declare their keys", func(t *testing.T) {
		t.Parallel()
		sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) {
			store := open(t, testredis.Start(t))
			store.UseScripts(func(source string) string { return "#!lua\n" + source })
			return store, time.Sleep
		})
	})
}
