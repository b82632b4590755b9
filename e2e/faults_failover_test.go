package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"gatehouse/internal/testredis"
)

// failover is one way in which a master is lost and replaced.
type failover struct {
	name    string
	options []testredis.Option
	cluster bool
	// lag is how long its replicas have been cut off by then: what the master acknowledges meanwhile only it has.
	lag time.Duration
	// hung: the master is not dead and comes back when another has its place.
	hung bool
	// mayLose: confirmed logouts may be undone.
	mayLose bool
}

var failovers = []failover{
	{name: "Sentinel: master killed"},
	{name: "Sentinel: master hung, back as a second master", hung: true},
	{name: "Sentinel: master killed, replicas cut off for 2 s before", lag: 2 * time.Second, mayLose: true},
	{name: "Sentinel: the same with min-replicas-to-write 1, min-replicas-max-lag 1", lag: 2 * time.Second,
		options: []testredis.Option{testredis.Flags("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")}},
	{name: "Cluster: a master killed", cluster: true},
	{name: "Cluster: a master hung, back later", cluster: true, hung: true},
}

// TestFailover loses a master under load, with logouts all the time.
func TestFailover(t *testing.T) {
	t.Parallel()
	table := new(faultTable)
	t.Run("each", func(t *testing.T) {
		for _, kind := range failovers {
			t.Run(kind.name, func(t *testing.T) {
				t.Parallel()
				row := loseMaster(t, kind)
				table.add(kind.name, row, fmt.Sprintf(" %d of %d |", row.lost, row.confirmed))
			})
		}
	})
	table.print(t, faultHead+" confirmed logouts undone |")
}

// nodes is a Redis of several.
type nodes struct {
	addresses []string
	password  string
	section   string
	master    *testredis.Server
	replicas  []*testredis.Server
	// replaced waits until another has the master's place.
	replaced func()
}

const failoverPassword = "failover-password"

func sentinelNodes(t *testing.T, opts []testredis.Option) nodes {
	s := testredis.StartSentinel(t, append(opts, testredis.Password(failoverPassword))...)
	master := s.Master()
	return nodes{
		section: fmt.Sprintf("redis: {password: %s, sentinel: {master: %s, addresses: [%s]}}\n", failoverPassword, testredis.MasterSet, strings.Join(s.Addresses(), ", ")),
		master:  master, replicas: s.Replicas(), addresses: []string{master.Addr}, password: failoverPassword,
		replaced: func() { s.AwaitOther(master) },
	}
}

func clusterNodes(t *testing.T, opts []testredis.Option) nodes {
	c := testredis.StartCluster(t, 3, 1, opts...)
	const key = "login_seq" // the master without which nobody can log in
	master := c.MasterOf(key)
	return nodes{
		section: fmt.Sprintf("redis: {addresses: [%s]}\n", strings.Join(c.Addresses(), ", ")),
		master:  master, replicas: c.ReplicasOf(key), addresses: c.Addresses(),
		replaced: func() { c.AwaitOther(key, master) },
	}
}

func loseMaster(t *testing.T, kind failover) faultFigures {
	var n nodes
	if kind.cluster {
		n = clusterNodes(t, kind.options)
	} else {
		n = sentinelNodes(t, kind.options)
	}
	cfg := baseConfig(whoApp(t), n.section) + crowdFromOneAddress
	files, err := withUsers(), error(nil)
	if files.program, err = faulty(); err != nil {
		t.Fatal(err)
	}
	here, there := startReady(t, cfg, files), startReady(t, cfg, files)
	write, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: n.addresses, Password: n.password, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	r := newLoadRun(t, here, there, write, 60)
	write.Close()
	end := r.load()
	time.Sleep(500 * time.Millisecond)
	r.clean()
	quit := make(chan struct{})
	left := make(chan struct{})
	go func() {
		defer close(left)
		for _, p := range r.leaving {
			select {
			case <-quit:
				return
			case <-time.After(100 * time.Millisecond):
				r.leave(p)
			}
		}
	}()
	if kind.lag > 0 {
		for _, replica := range n.replicas {
			replica.Do(t, "CONFIG", "SET", "masterauth", "another")
			replica.Do(t, "CLIENT", "KILL", "TYPE", "master")
		}
		time.Sleep(kind.lag)
	} else {
		time.Sleep(300 * time.Millisecond)
	}
	lost := time.Now()
	if kind.hung {
		n.master.Stop()
	} else {
		n.master.Kill()
	}
	if kind.lag > 0 {
		for _, replica := range n.replicas {
			replica.Do(t, "CONFIG", "SET", "masterauth", n.password)
		}
	}
	n.replaced()
	elected := time.Since(lost)
	if kind.hung {
		n.master.Cont()
	}
	r.recover(lost)
	t.Logf("another master after %v, all is well after %v", elected.Round(time.Millisecond), r.tally.normal.Round(time.Millisecond))
	time.Sleep(time.Second)
	close(quit)
	<-left
	end()
	r.settle()
	mayLose := 0
	if kind.mayLose {
		mayLose = r.tally.confirmed
	}
	r.judge(mayLose, elected)
	return r.tally
}
