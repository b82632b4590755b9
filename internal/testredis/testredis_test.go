package testredis_test

import (
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/internal/testserver"
)

func set(t *testing.T, s *testredis.Server) { s.Do(t, "SET", "k", "v") }

func get(t *testing.T, s *testredis.Server) string {
	m := s.Do(t, "GET", "k")
	v, _ := m.ToString()
	return v
}

func TestServer(t *testing.T) {
	t.Parallel()
	t.Run("two servers do not meet", func(t *testing.T) {
		t.Parallel()
		a, b := testredis.Start(t), testredis.Start(t)
		set(t, a)
		if get(t, a) != "v" || get(t, b) != "" {
			t.Error("a key set on one server must be there and only there")
		}
	})
	t.Run("killed and restarted it is empty", func(t *testing.T) {
		t.Parallel()
		s := testredis.Start(t)
		set(t, s)
		addr := s.Addr
		s.Kill()
		s.Kill() // twice is fine
		s.Restart()
		if s.Addr != addr || get(t, s) != "" {
			t.Errorf("address %s, want %s; value %q, want none", s.Addr, addr, get(t, s))
		}
	})
	t.Run("persistent it keeps its data", func(t *testing.T) {
		t.Parallel()
		s := testredis.Start(t, testredis.Persistent())
		set(t, s)
		s.Kill()
		s.Restart()
		if get(t, s) != "v" {
			t.Error("lost a value that was acknowledged")
		}
	})
	t.Run("password and flags", func(t *testing.T) {
		t.Parallel()
		s := testredis.Start(t, testredis.Password("secret"), testredis.Flags("--databases", "3"))
		c := s.Client(t)
		got, err := c.Do(t.Context(), c.B().ConfigGet().Parameter("databases").Build()).AsStrMap()
		if err != nil || got["databases"] != "3" {
			t.Errorf("databases %v, %v", got, err)
		}
	})
	t.Run("stopped it hangs, then goes on", func(t *testing.T) {
		t.Parallel()
		s := testredis.Start(t)
		testserver.MustHang(t, s, func() { set(t, s) })
		if get(t, s) != "v" {
			t.Error("it did not go on")
		}
	})
}
