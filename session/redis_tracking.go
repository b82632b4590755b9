package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// withoutTracking reports whether a connection failed for want of what only the cache needs.
func withoutTracking(err error) bool {
	text, _ := reply(err)
	return errors.Is(err, rueidis.ErrNoCache) || strings.HasPrefix(text, "NOPROTO")
}

// trackingEvery is how often Redis is asked whether it still tracks what is read. A right that is taken away takes
// effect on connections there are, too.
const trackingEvery = time.Second

// connectionKeys are in slots that fall on each of the up to four connections the client has to a node.
var connectionKeys = [...]string{"a", "b", "c", "d"}

// watchTracking asks again and again, and within probeEvery when unsure says that there is a new connection. With a Redis that
// tracks no more, a client without cache takes over.
func (s *RedisStore) watchTracking(unsure *atomic.Bool) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		if s.breaker.open.Load() || !unsure.Swap(false) && time.Since(last) < trackingEvery {
			continue
		}
		last = time.Now()
		if c := s.link.caching.Load(); c != nil && tracks(*c) != nil && s.link.caching.CompareAndSwap(c, nil) {
			s.link.demote()
		}
	}
}

// tracks asks every node, on each connection, whether it does what the cache lives by. The library finds out about
// CLIENT TRACKING, but overlooks a refused CLIENT CACHING, with which a read is marked: it would keep answers that
// Redis never calls back, and a logout on another replica would not be seen here for minutes. The answers go
// to the connections' stores (replyConn.trusted), in the order of the reads.
//
// ErrNoCache when one does not. A node that cannot be asked says nothing.
func tracks(c rueidis.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), connWriteTimeout)
	defer cancel()
	nodes := c.Nodes()
	answers := make(chan error, len(nodes))
	for address, node := range nodes {
		go func() { answers <- nodeTracks(ctx, address, node) }()
	}
	var refused error
	for range nodes {
		refused = cmp.Or(refused, <-answers)
	}
	return refused
}

// nodeTracks goes on after a no: each connection has to hear it for itself.
func nodeTracks(ctx context.Context, address string, node rueidis.Client) (refused error) {
	for _, key := range connectionKeys {
		// As a cached read, which is the only way to choose a connection and to reach its store.
		question := rueidis.Cacheable(node.B().ClientCaching().Yes().Build().SetSlot(key)).ToStaticTTL()
		// CLIENT CACHING means the next command: without one of ours that would be a script of somebody's, and each read
		// in it would have all of its keys tracked, the square of them.
		after := rueidis.Cacheable(node.B().Ping().Message(key).Build().SetSlot(key)).ToStaticTTL()
		err := node.DoMultiCache(ctx, rueidis.CT(question, clientTTL), rueidis.CT(after, clientTTL))[0].Error()
		if text, answered := reply(err); answered && !isOutage(err) {
			refused = fmt.Errorf("%s, by %s: %w", text, address, rueidis.ErrNoCache)
		} else if withoutTracking(err) {
			refused = err
		}
	}
	return refused
}

// plainClient is for a Redis without client tracking, which may have nothing else that is new either: RESP3, HELLO,
// names of connections. Slower, and right.
func plainClient(option rueidis.ClientOption) (rueidis.Client, error) {
	option.DisableCache, option.ClientName, option.Sentinel.ClientName = true, "", ""
	c, err := newClient(option)
	if withoutTracking(err) {
		option.AlwaysRESP2 = true
		c, err = newClient(option)
	}
	return c, err
}
