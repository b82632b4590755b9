package testredis

import (
	"fmt"
	"net"
	"strconv"
)

// create joins the nodes and hands out slots and replicas. redis-cli --cluster create takes seconds for it: there one
// node meets the others, and word has to get around. Here every node meets every other.
func (c *Cluster) create(masters int) {
	c.t.Helper()
	ids := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		id := node.Do(c.t, "CLUSTER", "MYID")
		ids[i], _ = id.ToString()
		// Different epochs from the start, or the nodes sort out who counts more, for seconds.
		node.Do(c.t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		for _, other := range c.Nodes[:i] {
			host, port, _ := net.SplitHostPort(other.Addr)
			node.Do(c.t, "CLUSTER", "MEET", host, port, strconv.Itoa(other.bus))
		}
	}
	for i, node := range c.Nodes[:masters] {
		node.Do(c.t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
	}
	for i, node := range c.Nodes[masters:] {
		// A node refuses to follow one it has not met yet.
		await(c.t, "the nodes to meet", func() error {
			_, err := node.quick("CLUSTER", "REPLICATE", ids[i%masters])
			if err != nil {
				return fmt.Errorf("%s: %w", node.Addr, err)
			}
			return nil
		})
	}
}
