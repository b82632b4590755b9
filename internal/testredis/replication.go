package testredis

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"gatehouse/internal/testserver"

	"github.com/redis/rueidis"
)

// follow tells what keeps the replicas from having all that the master has written.
func follow(master *Server, replicas []*Server) error {
	role, err := master.role()
	if err != nil {
		return err
	}
	if role[0] != "master" {
		return fmt.Errorf("%s is a %s", master.Addr, role[0])
	}
	written, err := strconv.ParseInt(role[1], 10, 64)
	if err != nil {
		return err
	}
	for _, replica := range replicas {
		role, err := replica.role()
		if err != nil {
			return err
		}
		if role[0] != "slave" || net.JoinHostPort(role[1], role[2]) != master.Addr || role[3] != "connected" {
			return fmt.Errorf("%s does not follow %s: %v", replica.Addr, master.Addr, role)
		}
		if offset, _ := strconv.ParseInt(role[4], 10, 64); offset < written {
			return fmt.Errorf("%s is at %d of %d", replica.Addr, offset, written)
		}
	}
	return nil
}

// role is the answer of ROLE without lists.
func (s *Server) role() ([]string, error) {
	m, err := s.quick("ROLE")
	if err != nil {
		return nil, err
	}
	parts, err := m.ToArray()
	if err != nil {
		return nil, err
	}
	var words []string
	for _, part := range parts {
		if n, err := part.AsInt64(); err == nil {
			words = append(words, strconv.FormatInt(n, 10))
		} else if text, err := part.ToString(); err == nil {
			words = append(words, text)
		}
	}
	return words, nil
}

// quick asks a server that may be gone or halted, while waiting for something.
func (s *Server) quick(args ...string) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return s.ask(ctx, args...)
}

func await(t testing.TB, what string, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(2 * testserver.Patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func addresses(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr)
	}
	return all
}

func living(servers []*Server) []*Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s *Server) bool { return s.process == nil })
}

func without(servers []*Server, one *Server) []*Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s *Server) bool { return s == one })
}
