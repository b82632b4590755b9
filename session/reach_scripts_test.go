package session_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// declared is a script as one that Redis holds to its keys: without the first line it lets scripts touch what they like.
func declared(source string) string { return "#!lua\n" + source }

// Every script there is runs with its keys declared, on one Redis and on a Cluster, where a key that is not, or that lies on
// another node, is an error. A script that is new must be run by everyScript.
func TestEveryScriptDeclaresItsKeys(t *testing.T) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := testredis.Start(t)
		scriptsOver(t, []string{server.Addr}, func(string) *testredis.Server { return server }, server)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := testredis.StartCluster(t, 3, 0)
		scriptsOver(t, cluster.Addresses(), cluster.MasterOf, cluster.Nodes...)
	})
}

func scriptsOver(t *testing.T, addresses []string, nodeOf func(key string) *testredis.Server, nodes ...*testredis.Server) {
	store := openConfig(t, config.Redis{Addresses: addresses, Timeout: 5 * time.Second}, session.Options{})
	connected(t, store)
	store.UseScripts(declared)
	everyScript(t, store, nodeOf)
	for _, name := range slices.Sorted(maps.Keys(session.Sources())) {
		sum := sha1.Sum([]byte(declared(session.Sources()[name])))
		ran := slices.ContainsFunc(nodes, func(node *testredis.Server) bool {
			there, err := ptr(node.Do(t, "SCRIPT", "EXISTS", hex.EncodeToString(sum[:]))).AsIntSlice()
			return err == nil && len(there) == 1 && there[0] == 1
		})
		if !ran {
			t.Errorf("the script %s was not run: add it to everyScript", name)
		}
	}
}

// everyScript runs every script: those of requests, those of an import, and those that heal what an audit finds.
func everyScript(t *testing.T, store *session.RedisStore, nodeOf func(key string) *testredis.Server) {
	t.Helper()
	everything(t, store)
	m := session.NewManager(store, config.Session{Idle: hour, Absolute: hour, MaxPerUser: 20}, config.Outage{}, session.Options{})
	t.Cleanup(func() { m.Close(context.Background()) })
	g := &gateway{Manager: m}
	_, rec := g.login(t, "imported")
	if _, err := store.ImportSteps(t.Context(), rec, "row 1"); err != nil {
		t.Fatal(err)
	}
	redis := func(key string, args ...string) { t.Helper(); nodeOf(key).Do(t, args...) }
	_, gone := g.login(t, "ada")
	_, unindexed := g.login(t, "bob")
	_, misplaced := g.login(t, "eve")
	redis(name(gone), "DEL", name(gone))
	redis(session.IndexKey("bob"), "DEL", session.IndexKey("bob"))
	elsewhere := strings.Replace(name(misplaced), misplaced.ID.String(), gone.ID.String(), 1)
	redis(elsewhere, "COPY", name(misplaced), elsewhere)
	report, err := session.NewOperator(m).Audit(t.Context(), true, nil)
	if err != nil || report.Repaired != 3 || report.Problems != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	if all, err := m.List(t.Context(), "bob"); err != nil || len(all) != 1 || all[0].ID != unindexed.ID {
		t.Errorf("%v, %v", all, err)
	}
}
