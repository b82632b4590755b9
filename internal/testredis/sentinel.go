package testredis

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// MasterSet is the name the sentinels watch the master under.
const MasterSet = "sessions"

// Sentinels is one master with two replicas, watched by three sentinels that replace it after a second of silence.
type Sentinels struct {
	// Nodes are the three that hold data. The first begins as the master.
	Nodes []*Server
	// Watchers are the three sentinels.
	Watchers []*Server

	t testing.TB
}

// watched is what a sentinel's file says of the master.
type watched struct{ master *Server }

// SentinelPassword makes the sentinels ask for a password of their own. Without it they ask for none.
func SentinelPassword(password string) Option {
	return func(s *Server) { s.sentinelPassword = password }
}

// StartSentinel starts all six on free ports, waits until the topology is complete (Await), and ends them with the
// test. Flags, Password and Persistent go to the nodes that hold data, SentinelPassword to the sentinels, TLS to all.
func StartSentinel(t testing.TB, opts ...Option) *Sentinels {
	t.Helper()
	s := &Sentinels{t: t, Nodes: []*Server{Start(t, opts...)}}
	for range 2 {
		s.Nodes = append(s.Nodes, Start(t, append(slices.Clone(opts), replicaOf(s.Nodes[0]))...))
	}
	await(t, "the replicas to follow their master", func() error { return follow(s.Nodes[0], s.Nodes[1:]) })
	for range 3 {
		watcher := Start(t, append(slices.Clone(opts), func(w *Server) {
			w.password, w.flags, w.watched = w.sentinelPassword, nil, &watched{master: s.Nodes[0]}
		})...)
		// They tell each other every two seconds; a test need not wait for that.
		watcher.Do(t, "SENTINEL", "DEBUG", "PUBLISH-PERIOD", "200")
		s.Watchers = append(s.Watchers, watcher)
	}
	s.Await()
	return s
}

func replicaOf(master *Server) Option {
	return Flags("--replicaof", "127.0.0.1 "+strconv.Itoa(master.port))
}

// Addresses are the sentinels'.
func (s *Sentinels) Addresses() []string { return addresses(s.Watchers) }

// Master is the node that most of the sentinels which answer name, and that says so of itself. It waits for one.
func (s *Sentinels) Master() *Server {
	s.t.Helper()
	var master *Server
	await(s.t, "a master", func() (err error) {
		master, err = s.master()
		return err
	})
	return master
}

// AwaitOther waits until the master is another node than this one, and gives it.
func (s *Sentinels) AwaitOther(than *Server) *Server {
	s.t.Helper()
	var master *Server
	await(s.t, "a new master", func() (err error) {
		if master, err = s.master(); err == nil && master == than {
			return errors.New("it is still the old one")
		}
		return err
	})
	return master
}

// Replicas are the nodes that run, without the master.
func (s *Sentinels) Replicas() []*Server {
	s.t.Helper()
	return without(living(s.Nodes), s.Master())
}

// Await waits until every node that runs is the master or follows it, with all the master has written, and every
// sentinel that runs knows the same master, its replicas and the other sentinels.
func (s *Sentinels) Await() {
	s.t.Helper()
	await(s.t, "the topology to be complete", func() error {
		master, err := s.master()
		if err != nil {
			return err
		}
		replicas := without(living(s.Nodes), master)
		if err := follow(master, replicas); err != nil {
			return err
		}
		for _, watcher := range living(s.Watchers) {
			if err := s.sees(watcher, master, replicas); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Sentinels) master() (*Server, error) {
	named, answers := map[string]int{}, 0
	for _, watcher := range living(s.Watchers) {
		m, err := watcher.quick("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterSet)
		if err != nil {
			continue
		}
		if at, err := m.AsStrSlice(); err == nil && len(at) == 2 {
			named[net.JoinHostPort(at[0], at[1])]++
			answers++
		}
	}
	for _, node := range living(s.Nodes) {
		if named[node.Addr]*2 <= answers {
			continue
		}
		role, err := node.role()
		if err != nil {
			return nil, err
		}
		if role[0] != "master" {
			return nil, fmt.Errorf("%s is named, and is still a %s", node.Addr, role[0])
		}
		return node, nil
	}
	return nil, fmt.Errorf("the sentinels name %v", named)
}

// sees tells what a sentinel does not know yet.
func (s *Sentinels) sees(watcher, master *Server, replicas []*Server) error {
	m, err := watcher.quick("SENTINEL", "MASTER", MasterSet)
	if err != nil {
		return err
	}
	view, err := m.AsStrMap()
	if err != nil {
		return err
	}
	if at := net.JoinHostPort(view["ip"], view["port"]); at != master.Addr || view["flags"] != "master" {
		return fmt.Errorf("%s sees %s as %s", watcher.Addr, at, view["flags"])
	}
	if others, _ := strconv.Atoi(view["num-other-sentinels"]); others < len(s.Watchers)-1 {
		return fmt.Errorf("%s sees %d other sentinels", watcher.Addr, others)
	}
	if m, err = watcher.quick("SENTINEL", "REPLICAS", MasterSet); err != nil {
		return err
	}
	list, err := m.ToArray()
	if err != nil {
		return err
	}
	up := map[string]bool{}
	for _, item := range list {
		if r, err := item.AsStrMap(); err == nil && r["flags"] == "slave" && r["master-link-status"] == "ok" {
			up[net.JoinHostPort(r["ip"], r["port"])] = true
		}
	}
	for _, replica := range replicas {
		if !up[replica.Addr] {
			return fmt.Errorf("%s does not see the replica %s", watcher.Addr, replica.Addr)
		}
	}
	return nil
}

func (s *Server) sentinelFile() string { return filepath.Join(s.dir, "sentinel.conf") }

// writeSentinelFile writes what a sentinel begins with; it writes into the file itself from then on.
func (s *Server) writeSentinelFile() error {
	var b strings.Builder
	set := func(words ...string) { fmt.Fprintln(&b, strings.Join(words, " ")) }
	set("bind 127.0.0.1")
	set("dir", s.dir)
	for _, setting := range s.ports(strconv.Itoa(s.port)) {
		set(setting...)
	}
	if s.password != "" {
		set("requirepass", s.password)
		set("sentinel sentinel-pass", s.password)
	}
	master := s.watched.master
	set("sentinel monitor", MasterSet, "127.0.0.1", strconv.Itoa(master.port), "2")
	set("sentinel down-after-milliseconds", MasterSet, "1000")
	set("sentinel failover-timeout", MasterSet, "3000")
	set("sentinel parallel-syncs", MasterSet, "2")
	if master.password != "" {
		set("sentinel auth-pass", MasterSet, master.password)
	}
	return os.WriteFile(s.sentinelFile(), []byte(b.String()), 0o600)
}
