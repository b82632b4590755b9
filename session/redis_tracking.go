package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// withoutTracking reports whether a connection failed for want of what only the cache needs.
func withoutTracking(err error) bool {
	text, _ := reply(err)
	return errors.Is(err, rueidis.ErrNoCache) || strings.HasPrefix(text, "NOPROTO")
}

// tracks asks every node whether it does what the cache lives by. The library finds out about CLIENT TRACKING, but
// overlooks a refused CLIENT CACHING, with which a read is marked: it would keep answers that Redis never calls
// back, and a logout on another replica would not be seen here for minutes.
//
// ErrNoCache when one does not. A node that cannot be asked says nothing.
func tracks(c rueidis.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), connWriteTimeout)
	defer cancel()
	for address, node := range c.Nodes() {
		if text, refused := reply(node.Do(ctx, node.B().ClientCaching().Yes().Build()).Error()); refused {
			return fmt.Errorf("%s, by %s: %w", text, address, rueidis.ErrNoCache)
		}
	}
	return nil
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
