package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// With the README's rights a gateway works on a Cluster, and nothing of what comes with it can be left out.
func TestSmallestRightsOnCluster(t *testing.T) {
	t.Parallel()
	r := readme(t)
	cluster := testredis.StartCluster(t, 2, 0)
	smallest(t, r.cluster, cluster.Nodes, func(user string, rights []string) *gateway {
		for _, node := range cluster.Nodes {
			allow(t, node, user, slices.Concat(r.gateway, r.operator, rights))
		}
		return newGateway(t, "", func(s *settings) {
			as(user)(&s.redis)
			s.redis.Addresses, s.down = cluster.Addresses(), true
		})
	}, func(g *gateway) error {
		return errors.Join(asksOfGateway(t.Context(), g), asksOfOperator(t.Context(), g), asksOfMovingSlot(t, cluster, g))
	})
}

// The same by sentinels: for Redis's user, and for that of the sentinels.
func TestSmallestRightsBySentinel(t *testing.T) {
	t.Parallel()
	r := readme(t)
	sentinels := testredis.StartSentinel(t)
	start := func(user string, ofRedis, ofSentinels []string) *gateway {
		for _, node := range sentinels.Nodes {
			allow(t, node, user, slices.Concat(r.gateway, ofRedis))
		}
		for _, watcher := range sentinels.Watchers {
			allow(t, watcher, user, ofSentinels)
		}
		return newGateway(t, "", bySentinel(sentinels.Addresses(), as(user), func(c *config.Redis) {
			c.Sentinel.Username, c.Sentinel.Password = user, "secret"
		}), func(s *settings) { s.down = true })
	}
	asks := func(g *gateway) error { return asksOfGateway(t.Context(), g) }
	smallest(t, r.sentinel, sentinels.Nodes, func(user string, rights []string) *gateway {
		return start("redis-"+user, rights, r.ofSentinels)
	}, asks)
	smallest(t, r.ofSentinels, sentinels.Watchers, func(user string, rights []string) *gateway {
		return start("sentinel-"+user, r.sentinel, rights)
	}, asks)
}

// smallest sees that a gateway works with all rights without being refused anything, and that each of them is asked for. start
// makes the users it needs with user in their names.
func smallest(t *testing.T, rights []string, nodes []*testredis.Server, start func(user string, rights []string) *gateway, asks func(*gateway) error) {
	t.Helper()
	refused := func(user string) (all []string) {
		for _, node := range nodes {
			for _, prefix := range []string{"", "redis-", "sentinel-"} {
				all = append(all, denied(t, node, prefix+user)...)
			}
		}
		return all
	}
	g := start("all", rights)
	connected(t, g.store)
	if err := asks(g); err != nil {
		t.Error(err)
	}
	if all := harmful(refused("all")); len(all) > 0 {
		t.Errorf("denied: %v", all)
	}
	for i, right := range rights {
		if right == "resetchannels" || right == "-@all" {
			continue
		}
		user := fmt.Sprint("without-", i)
		g := start(user, slices.Delete(slices.Clone(rights), i, i+1))
		await(t, "Redis to refuse what is asked without "+right, func() bool {
			asks(g)
			return misses(refused(user), right)
		})
	}
}

// asksOfMovingSlot looks for a session whose slot is on its way to another node: half of its keys are asked for there.
func asksOfMovingSlot(t *testing.T, cluster *testredis.Cluster, g *gateway) error {
	t.Helper()
	key, _ := session.ParseToken(session.NewToken("moving"))
	redisKey := "p:session:{" + string(key.Tag) + "}:" + key.ID.String()
	from := cluster.MasterOf(redisKey)
	to := cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	n, _ := ptr(from.Do(t, "CLUSTER", "KEYSLOT", redisKey)).AsInt64()
	slot := fmt.Sprint(n)
	id := func(s *testredis.Server) string { text, _ := ptr(s.Do(t, "CLUSTER", "MYID")).ToString(); return text }
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
	defer to.Do(t, "CLUSTER", "SETSLOT", slot, "STABLE")
	defer from.Do(t, "CLUSTER", "SETSLOT", slot, "STABLE")
	if _, err := g.store.Find(context.Background(), key); !errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrUnavailable) {
		return fmt.Errorf("found: %w", err)
	}
	return nil
}
