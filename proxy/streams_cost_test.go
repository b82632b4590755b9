package proxy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// checks counts what Check gives by where it came from.
type checks struct {
	*session.Manager
	cache, known, store atomic.Int64
}

func (c *checks) Check(ctx context.Context, key session.Key) (session.Session, error) {
	s, err := c.Manager.Check(ctx, key)
	switch s.Source {
	case session.FromCache:
		c.cache.Add(1)
	case session.FromKnown:
		c.known.Add(1)
	case session.FromStore:
		c.store.Add(1)
	}
	return s, err
}

// replica is a manager on a server, and streams of n sessions it has made.
func replica(t testing.TB, server *testredis.Server, n int) (*Streams, *checks) {
	t.Helper()
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{server.Addr}, Timeout: 5 * time.Second}, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	manager := session.NewManager(store, cfg.Session, cfg.Outage, session.Options{})
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_ = manager.Close(ctx)
	})
	sessions := &checks{Manager: manager}
	st := NewStreams(sessions, telemetry.NewMetrics())
	began, err := manager.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var makers sync.WaitGroup
	for part := range 8 {
		makers.Go(func() {
			for i := part; i < n; i += 8 {
				user := session.User{ID: fmt.Sprint("user ", i)}
				_, rec, err := manager.Create(context.Background(), session.Login{User: user, Backend: "file", Began: began})
				if err != nil {
					t.Error(err)
					return
				}
				watchOne(st, rec)
			}
		})
	}
	makers.Wait()
	return st, sessions
}

// TestRoundsOverRedis measures rounds over thousands of sessions with a stream each: with the sessions in memory, right after
// the connection was lost, and on a Redis without client tracking.
func TestRoundsOverRedis(t *testing.T) {
	t.Parallel()
	const n = 3_000
	round := func(st *Streams, c *checks, name string, cached bool) {
		t.Helper()
		c.cache.Store(0)
		c.store.Store(0)
		began := time.Now()
		st.Recheck(t.Context())
		took := time.Since(began)
		t.Logf("%s: %d from memory, %d asked of Redis, in %v, %.0f/s", name, c.cache.Load(), c.store.Load(), took.Round(time.Millisecond), float64(c.store.Load())/took.Seconds())
		// What a limiter lets through: never faster than the bound, whatever the machine.
		if asked := float64(c.store.Load()); asked > recheckRate*took.Seconds()+2*recheckers {
			t.Errorf("%s: %.0f questions to Redis in %v", name, asked, took)
		}
		if cached && c.store.Load() != 0 || !cached && c.store.Load() < n/2 {
			t.Errorf("%s: %d questions to Redis", name, c.store.Load())
		}
		if open := len(st.list(func(session.Key, *stream) bool { return true })); open != n {
			t.Fatalf("%s: %d streams are left of %d", name, open, n)
		}
	}
	server := testredis.Start(t)
	st, sessions := replica(t, server, n)
	round(st, sessions, "first round", false)
	// Sessions read in the first round while others were being written are read once more.
	eventually(t, "all sessions to be in memory", func() bool {
		sessions.store.Store(0)
		st.Recheck(t.Context())
		return sessions.store.Load() == 0
	})
	round(st, sessions, "in memory", true)
	server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	eventually(t, "the connection to be back", func() bool {
		return sessions.Ready(t.Context()) == nil
	})
	round(st, sessions, "after a lost connection", false)
	// Over a new connection nothing is kept before Redis has been asked whether it tracks there.
	eventually(t, "all sessions to be in memory again", func() bool {
		sessions.store.Store(0)
		st.Recheck(t.Context())
		return sessions.store.Load() == 0
	})
	round(st, sessions, "in memory again", true)

	plain := testredis.Start(t, testredis.Flags("--rename-command", "CLIENT", ""))
	st, sessions = replica(t, plain, n)
	round(st, sessions, "without client tracking", false)
}

// BenchmarkRecheck is a round over 10,000 sessions in memory. The processor's time tells more than the clock's on a
// machine that is shared.
func BenchmarkRecheck(b *testing.B) {
	st, _ := replica(b, testredis.Start(b), 10_000)
	st.Recheck(b.Context())
	before := processorTime(b)
	b.ReportAllocs()
	for b.Loop() {
		st.Recheck(b.Context())
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
