package session

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/redis/rueidis"
)

// client is one of the library's, and the connections it has made. The library keeps a connection that comes to be
// while it is being closed, for ever.
type client struct {
	rueidis.Client
	conns *conns
}

func (c client) Close() {
	c.Client.Close()
	c.conns.close()
}

// conns are the open connections of one client.
type conns struct {
	mu     sync.Mutex
	open   map[*conn]struct{}
	closed bool
}

type conn struct {
	net.Conn
	of *conns
}

// dial connects as the library does by itself.
func (c *conns) dial(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	var made net.Conn
	var err error
	if config != nil {
		made, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
	} else {
		made, err = dialer.DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = made.Close()
		return nil, rueidis.ErrClosing
	}
	one := &conn{Conn: made, of: c}
	c.open[one] = struct{}{}
	return one, nil
}

func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

func (c *conns) close() {
	c.mu.Lock()
	left := c.open
	c.open, c.closed = nil, true
	c.mu.Unlock()
	for one := range left {
		_ = one.Conn.Close()
	}
}
