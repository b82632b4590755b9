package session_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// aSwitch is an address that leads to one server and then to another, as a name does after a
// failover. Connections that exist stay where they are.
type aSwitch struct {
	addr string

	mu     sync.Mutex
	target string
	frozen *atomic.Bool // of the connections made from now on
	conns  []net.Conn

	accepted, open atomic.Int32
}

func newSwitch(t *testing.T, target string) *aSwitch {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &aSwitch{addr: l.Addr().String(), target: target, frozen: new(atomic.Bool)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			s.open.Add(1)
			s.accepted.Add(1)
			running.Go(func() {
				defer s.open.Add(-1)
				s.pass(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.cut()
		running.Wait()
	})
	return s
}

func (s *aSwitch) lead(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = target
}

// freeze makes the connections there are half open: they stay, and nothing comes through any more,
// in neither direction, as when a router between has forgotten them.
func (s *aSwitch) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen.Store(true)
	s.frozen = new(atomic.Bool)
}

// cut ends the connections there are.
func (s *aSwitch) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
}

// swallowing is a writer that loses what is written while frozen is set.
type swallowing struct {
	io.Writer
	frozen *atomic.Bool
}

func (w swallowing) Write(p []byte) (int, error) {
	if w.frozen.Load() {
		return len(p), nil
	}
	return w.Writer.Write(p)
}

func (s *aSwitch) pass(client net.Conn) {
	defer client.Close()
	s.mu.Lock()
	target, frozen := s.target, s.frozen
	s.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(swallowing{server, frozen}, client)
		server.Close()
	})
	io.Copy(swallowing{client, frozen}, server)
	client.Close()
	both.Wait()
}
