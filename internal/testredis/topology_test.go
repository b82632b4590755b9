package testredis_test

import (
	"slices"
	"testing"

	"gatehouse/internal/testcert"
	"gatehouse/internal/testredis"
)

func files(t *testing.T) testredis.Files {
	authority := testcert.NewAuthority(t)
	cert, key := authority.Issue(t, testcert.Leaf{})
	return testredis.Files{CA: authority.File, Cert: cert, Key: key}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t, testredis.MutualTLS(files(t)), testredis.Password("secret"))
	set(t, s)
	s.Restart()
	if got := get(t, s); got != "" {
		t.Errorf("%q after a restart", got)
	}
	c := s.Client(t)
	if err := c.Do(t.Context(), c.B().Ping().Build()).Error(); err != nil {
		t.Error(err)
	}
}

func TestStartSentinel(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]testredis.Option{
		"plain":                  nil,
		"TLS and both passwords": {testredis.MutualTLS(files(t)), testredis.Password("secret"), testredis.SentinelPassword("other")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testredis.StartSentinel(t, opts...)
			old := s.Master()
			if len(s.Addresses()) != 3 || len(s.Replicas()) != 2 || slices.Contains(s.Replicas(), old) {
				t.Fatalf("%d sentinels, %d replicas", len(s.Addresses()), len(s.Replicas()))
			}
			set(t, old)
			s.Await()
			old.Kill()
			s.Watchers[2].Kill()
			next := s.AwaitOther(old)
			if got := get(t, next); got != "v" {
				t.Errorf("the new master has %q", got)
			}
			next.Do(t, "SET", "k", "w")
			old.Restart()
			s.Watchers[2].Restart()
			s.Await()
			// On a busy machine the sentinels may have changed the master once more, to whichever.
			if s.Master() != old && !slices.Contains(s.Replicas(), old) || get(t, old) != "w" {
				t.Errorf("the old master has %q, want it to follow", get(t, old))
			}
		})
	}
}

func TestStartCluster(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]testredis.Option{
		"plain": nil,
		"TLS":   {testredis.TLS(files(t)), testredis.Password("secret")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := testredis.StartCluster(t, 3, 1, opts...)
			if len(c.Addresses()) != 6 || len(c.Masters()) != 3 || len(c.ReplicasOf("k")) != 1 {
				t.Fatalf("%d nodes, %d masters, %d replicas of k", len(c.Addresses()), len(c.Masters()), len(c.ReplicasOf("k")))
			}
			old, replica := c.MasterOf("k"), c.ReplicasOf("k")[0]
			set(t, old)
			c.Await()
			old.Kill()
			if next := c.AwaitOther("k", old); next != replica || get(t, next) != "v" {
				t.Errorf("%s is the master and has %q, want %s", next.Addr, get(t, next), replica.Addr)
			}
			old.Restart()
			c.Await()
			if c.MasterOf("k") != replica || c.ReplicasOf("k")[0] != old {
				t.Error("the old master does not follow the new one")
			}
		})
	}
}
