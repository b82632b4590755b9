package session

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/redis/rueidis"
)

// A connection that is made after its client was closed is nobody's.
func TestNoConnectionAfterTheClose(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &conns{open: make(map[*conn]struct{})}
	c.close()
	if _, err := c.dial(t.Context(), l.Addr().String(), &net.Dialer{}, nil); !errors.Is(err, rueidis.ErrClosing) {
		t.Errorf("dial: %v", err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if n, err := there.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it stays open: %d bytes, %v", n, err)
	}
}
