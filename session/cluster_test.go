package session_test

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// newCluster starts three masters and gives their addresses.
func newCluster(t *testing.T) []string {
	t.Helper()
	var addresses []string
	for range 3 {
		// The bus's default port is the server's plus 10,000, which may be past the last there is.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		bus := l.Addr().(*net.TCPAddr).Port
		l.Close()
		node := testredis.Start(t, testredis.Flags("--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "2000"))
		addresses = append(addresses, node.Addr)
	}
	args := append(append([]string{"--cluster", "create"}, addresses...), "--cluster-yes")
	out, err := exec.CommandContext(t.Context(), "redis-cli", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %v: %v\n%s", args, err, out)
	}
	return addresses
}

// One layout serves a Cluster as well: the contract holds over three masters, and users fall on all of them.
func TestContractOverCluster(t *testing.T) {
	t.Parallel()
	addresses := newCluster(t)
	var n atomic.Int64
	connect := func(t *testing.T) *session.RedisStore {
		store := openConfig(t, config.Redis{Addresses: addresses, KeyPrefix: fmt.Sprintf("c%d:", n.Add(1)), Timeout: 5 * time.Second}, session.Options{})
		awaitWithin(t, "the Cluster to serve", 30*time.Second, func() bool {
			_, err := store.Epoch(t.Context())
			return err == nil
		})
		return store
	}
	// Every slot has its master only when all nodes know it.
	probe := connect(t)
	for i := range 30 {
		rec, _ := sessiontest.Record(fmt.Sprintf("user-%d", i))
		awaitWithin(t, "a session on every master", 30*time.Second, func() bool {
			_, err := probe.Create(t.Context(), rec, session.CreateOptions{TTL: time.Minute, MaxPerUser: 3})
			return err == nil
		})
	}
	t.Run("contract", func(t *testing.T) {
		sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) { return connect(t), time.Sleep })
	})
}
