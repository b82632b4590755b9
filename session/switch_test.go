package session_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// aSwitch is an address that leads to one server and then to another, as a name does after a
// failover. Connections that exist stay where they are.
type aSwitch struct {
	addr string

	mu     sync.Mutex
	target string
}

func newSwitch(t *testing.T, target string) *aSwitch {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &aSwitch{addr: l.Addr().String(), target: target}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.pass(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return s
}

func (s *aSwitch) lead(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = target
}

func (s *aSwitch) pass(client net.Conn) {
	defer client.Close()
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(server, client)
		server.Close()
	})
	io.Copy(client, server)
	client.Close()
	both.Wait()
}
