package testredis

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"
)

// slots is how many a Cluster has.
const slots = 16384

// Cluster is a Redis Cluster. A master that is silent for a second is replaced by a replica.
type Cluster struct {
	// Nodes are all of them. The first are the masters it began with.
	Nodes []*Server

	t testing.TB
}

// shard is some slots and who has them.
type shard struct {
	first, last int64
	nodes       []string // the master's address, then the replicas'
}

// StartCluster starts a Cluster on free ports, waits until it is complete (Await), and ends it with the test.
// Options go to all nodes.
func StartCluster(t testing.TB, masters, replicasEach int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	node := append([]Option{
		func(s *Server) { s.bus = anyPort },
		// Whatever a replica has missed, it takes over: tests wait for no operator.
		Flags("--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"),
		// The Cluster shows a replica once it has heard anything of its master's stream, by default after ten seconds.
		Flags("--repl-ping-replica-period", "1"),
	}, opts...)
	for range masters * (1 + replicasEach) {
		c.Nodes = append(c.Nodes, Start(t, node...))
	}
	c.create(masters)
	c.Await()
	return c
}

// CLI runs redis-cli with these arguments, and with those that get it into the Cluster (password, TLS). It gives the
// output; a failure fails the test.
func (c *Cluster) CLI(args ...string) string {
	c.t.Helper()
	args = append(c.Nodes[0].cliTLS(), args...)
	cmd := exec.CommandContext(c.t.Context(), "redis-cli", args...)
	if password := c.Nodes[0].password; password != "" {
		cmd.Env = append(cmd.Environ(), "REDISCLI_AUTH="+password)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("redis-cli %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// Addresses are those of all nodes.
func (c *Cluster) Addresses() []string { return addresses(c.Nodes) }

// Masters are the nodes that have slots now, as one that answers sees it. It waits until all slots are served.
func (c *Cluster) Masters() []*Server {
	c.t.Helper()
	var masters []*Server
	for _, s := range c.shards() {
		if m := c.node(s.nodes[0]); !slices.Contains(masters, m) {
			masters = append(masters, m)
		}
	}
	return masters
}

// MasterOf is the node that has the key now.
func (c *Cluster) MasterOf(key string) *Server {
	c.t.Helper()
	return c.node(c.shardOf(key).nodes[0])
}

// ReplicasOf are the replicas that the Cluster knows of the node that has the key now.
func (c *Cluster) ReplicasOf(key string) []*Server {
	c.t.Helper()
	var replicas []*Server
	for _, addr := range c.shardOf(key).nodes[1:] {
		replicas = append(replicas, c.node(addr))
	}
	return replicas
}

// AwaitOther waits until the key's master is another node than this one, and gives it.
func (c *Cluster) AwaitOther(key string, than *Server) *Server {
	c.t.Helper()
	var master *Server
	await(c.t, "a new master of "+key, func() error {
		if master = c.MasterOf(key); master == than {
			return fmt.Errorf("it is still %s", than.Addr)
		}
		return nil
	})
	return master
}

// Await waits until all nodes that run agree on who has which slots, every slot has a master, and every other node that runs
// follows a master, with all that one has written.
func (c *Cluster) Await() {
	c.t.Helper()
	await(c.t, "the Cluster to be complete", func() error {
		var agreed []shard
		for _, node := range living(c.Nodes) {
			seen, err := c.seen(node)
			if err != nil {
				return err
			}
			if agreed == nil {
				agreed = seen
			}
			if a, b := fmt.Sprint(agreed), fmt.Sprint(seen); a != b {
				return fmt.Errorf("%s sees %s, another %s", node.Addr, b, a)
			}
		}
		placed := map[string]bool{}
		for _, s := range agreed {
			var replicas []*Server
			for _, addr := range s.nodes[1:] {
				replicas = append(replicas, c.node(addr))
			}
			if err := follow(c.node(s.nodes[0]), replicas); err != nil {
				return err
			}
			for _, addr := range s.nodes {
				placed[addr] = true
			}
		}
		for _, node := range living(c.Nodes) {
			if !placed[node.Addr] {
				return fmt.Errorf("%s has no place", node.Addr)
			}
		}
		return nil
	})
}

func (c *Cluster) shardOf(key string) shard {
	c.t.Helper()
	var slot int64
	shards := c.shards()
	await(c.t, "the slot of "+key, func() (err error) {
		for _, node := range living(c.Nodes) {
			var m rueidis.RedisMessage
			if m, err = node.quick("CLUSTER", "KEYSLOT", key); err == nil {
				slot, err = m.AsInt64()
				return err
			}
		}
		return err
	})
	for _, s := range shards {
		if s.first <= slot && slot <= s.last {
			return s
		}
	}
	c.t.Fatalf("nobody has slot %d", slot)
	return shard{}
}

// shards waits for a node that sees all slots served.
func (c *Cluster) shards() []shard {
	c.t.Helper()
	var shards []shard
	await(c.t, "all slots to be served", func() (err error) {
		for _, node := range living(c.Nodes) {
			if shards, err = c.seen(node); err == nil {
				return nil
			}
		}
		return err
	})
	return shards
}

// seen is the Cluster as one node sees it, in the order of slots; an error while slots have no master.
func (c *Cluster) seen(node *Server) ([]shard, error) {
	state, err := node.quick("CLUSTER", "INFO")
	if err != nil {
		return nil, err
	}
	if text, _ := state.ToString(); !strings.Contains(text, "cluster_state:ok") {
		return nil, fmt.Errorf("%s says %s", node.Addr, text)
	}
	m, err := node.quick("CLUSTER", "SLOTS")
	if err != nil {
		return nil, err
	}
	list, err := m.ToArray()
	if err != nil {
		return nil, err
	}
	var shards []shard
	var count int64
	for _, item := range list {
		s, err := parseShard(item)
		if err != nil {
			return nil, err
		}
		shards = append(shards, s)
		count += s.last - s.first + 1
	}
	if count != slots {
		return nil, fmt.Errorf("%s sees %d slots", node.Addr, count)
	}
	slices.SortFunc(shards, func(a, b shard) int { return int(a.first - b.first) })
	return shards, nil
}

// parseShard reads one item of CLUSTER SLOTS: first slot, last slot, then [host, port, ...] of the nodes.
func parseShard(item rueidis.RedisMessage) (s shard, err error) {
	parts, err := item.ToArray()
	if err != nil || len(parts) < 3 {
		return s, fmt.Errorf("CLUSTER SLOTS: %d parts, %v", len(parts), err)
	}
	if s.first, err = parts[0].AsInt64(); err != nil {
		return s, err
	}
	if s.last, err = parts[1].AsInt64(); err != nil {
		return s, err
	}
	for _, part := range parts[2:] {
		at, err := part.ToArray()
		if err != nil {
			return s, err
		}
		host, err := at[0].ToString()
		if err != nil {
			return s, err
		}
		port, err := at[1].AsInt64()
		if err != nil {
			return s, err
		}
		s.nodes = append(s.nodes, net.JoinHostPort(host, strconv.FormatInt(port, 10)))
	}
	slices.Sort(s.nodes[1:])
	return s, nil
}

func (c *Cluster) node(addr string) *Server {
	c.t.Helper()
	i := slices.IndexFunc(c.Nodes, func(s *Server) bool { return s.Addr == addr })
	if i < 0 {
		c.t.Fatalf("%s is no node of this Cluster", addr)
	}
	return c.Nodes[i]
}
