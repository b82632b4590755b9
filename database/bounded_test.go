package database

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func boundedPair(t *testing.T, limit time.Duration) (*boundedConn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return &boundedConn{Conn: near, limit: limit}, far
}

// TestBounded: nothing waits for ever on a connection, whoever forgot a deadline.
func TestBounded(t *testing.T) {
	t.Parallel()
	timedOut := func(t *testing.T, what string, err error) {
		t.Helper()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want a timeout", what, err)
		}
	}
	c, _ := boundedPair(t, 20*time.Millisecond)
	_, err := c.Read(make([]byte, 1))
	timedOut(t, "read", err)
	_, err = c.Write([]byte("x"))
	timedOut(t, "write", err)
	c.SetDeadline(time.Now().Add(time.Hour))
	_, err = c.Read(make([]byte, 1))
	timedOut(t, "read with a far deadline", err)

	c, far := boundedPair(t, time.Hour)
	for what, set := range map[string]func(time.Time) error{"SetDeadline": c.SetDeadline, "SetReadDeadline": c.SetReadDeadline} {
		set(time.Now().Add(-time.Second))
		_, err = c.Read(make([]byte, 1))
		timedOut(t, what, err)
		set(time.Time{})
	}
	c.SetWriteDeadline(time.Now().Add(-time.Second))
	_, err = c.Write([]byte("x"))
	timedOut(t, "SetWriteDeadline", err)

	// A deadline that is set while a Read waits, which is how a question is given up.
	ended := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	c.SetDeadline(time.Now().Add(-time.Second))
	timedOut(t, "a Read under way", <-ended)
	c.SetDeadline(time.Time{})
	go far.Write([]byte("y"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("after the deadline is taken back: %v", err)
	}
}
