package database

import (
	"context"
	"net"
	"sync"
	"time"
)

// keepAlive is how soon the network notices that the other side is gone for good.
const keepAlive = 15 * time.Second

// dialBounded makes connections on which nothing is awaited for longer than the limit. Questions have
// the bound of their context; but when one is given up, pgx tells the server so on the side and drains the
// connection, for 15 seconds when the server hangs. These goroutines must not pile up.
func dialBounded(limit time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: keepAlive}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &boundedConn{Conn: conn, limit: limit}, nil
	}
}

// boundedConn has a deadline for each Read and Write of its own, beside the one it is given.
type boundedConn struct {
	net.Conn
	limit time.Duration

	mu          sync.Mutex // an own deadline must not undo one that is set meanwhile
	read, write time.Time
}

// Read waits for the limit at most.
func (c *boundedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	err := c.Conn.SetReadDeadline(earlier(c.read, time.Now().Add(c.limit)))
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write waits for the limit at most.
func (c *boundedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	err := c.Conn.SetWriteDeadline(earlier(c.write, time.Now().Add(c.limit)))
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline bounds what is under way and what comes.
func (c *boundedConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = t, t
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline is SetDeadline for Read.
func (c *boundedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is SetDeadline for Write.
func (c *boundedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return c.Conn.SetWriteDeadline(t)
}

func earlier(given, own time.Time) time.Time {
	if given.IsZero() || own.Before(given) {
		return own
	}
	return given
}
