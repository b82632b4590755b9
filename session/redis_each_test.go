package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
)

// aWalk is a store, and what a step of a walk does there once its time is over.
type aWalk struct {
	s    *RedisStore
	a    *audit
	at   place
	rec  *Record
	name string
}

var stepsOfWalks = map[string]func(context.Context, *aWalk) error{
	"records": func(ctx context.Context, w *aWalk) error {
		return w.s.readEach(ctx, w.at.c, []string{w.name}, func(*Record, error) error { return nil })
	},
	"audit: records": func(ctx context.Context, w *aWalk) error { return w.a.sessions(ctx, w.at, []string{w.name}) },
	"audit: records against indexes": func(ctx context.Context, w *aWalk) error {
		return w.a.compare(ctx, w.at, []heldRecord{{name: w.name, rec: w.rec, left: 1}})
	},
	"audit: indexes": func(ctx context.Context, w *aWalk) error {
		return w.a.indexes(ctx, w.at, []string{w.s.keys.index("u")})
	},
	"audit: entries": func(ctx context.Context, w *aWalk) error {
		return w.a.readEntries(ctx, w.at.c, []*userIndex{{userID: "u", entries: []string{w.rec.ID.String()}}})
	},
	"audit: a misplaced index": func(ctx context.Context, w *aWalk) error {
		return w.a.indexes(ctx, w.at, []string{indexKeyword + string(TagOf("v")) + "}:u"})
	},
}

func newWalk(t *testing.T, addr string, stepTime time.Duration) *aWalk {
	t.Helper()
	s, err := Open(t.Context(), config.Redis{Addresses: []string{addr}, Timeout: 5 * time.Second}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.stepTime = stepTime
	c, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := s.masters(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	rec := &Record{ID: ID{1}, User: User{ID: "u"}}
	a := &audit{s: s, clock: time.Now, report: &AuditReport{Kinds: map[Kind]int64{}}}
	return &aWalk{s: s, a: a, at: place{c: c, node: nodes[0]}, rec: rec, name: s.keys.session(rec.Key())}
}

// run walks, and does the step when its time is over, or when gone has been called.
func (w *aWalk) run(ctx context.Context, t *testing.T, gone func(), do func(context.Context, *aWalk) error) error {
	t.Helper()
	reached := false
	err := w.s.walkNode(ctx, w.at.node, "*", func() {}, func(step context.Context, _ []string) error {
		reached = true
		gone()
		<-step.Done()
		return do(step, w)
	})
	if !reached {
		t.Fatalf("the walk ended before its first step: %v", err)
	}
	return err
}

// A step that takes Redis too long is an outage, for whoever asked and for the breaker. That whoever asked has gone,
// or has no more time, says nothing about Redis.
func TestStepsThatTakeTooLong(t *testing.T) {
	t.Parallel()
	addr := testredis.Start(t).Addr
	for name, do := range stepsOfWalks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow := newWalk(t, addr, 300*time.Millisecond)
			if err := slow.run(t.Context(), t, func() {}, do); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a slow Redis: %v", err)
			}
			if slow.s.breaker.cause.Load() == nil {
				t.Error("a slow Redis: the breaker has not heard of it")
			}
			w := newWalk(t, addr, time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			if err := w.run(ctx, t, cancel, do); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
				t.Errorf("whoever asked has gone: %v", err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := w.run(ctx, t, func() {}, do); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
				t.Errorf("whoever asked has no more time: %v", err)
			}
			if cause := w.s.breaker.cause.Load(); cause != nil {
				t.Errorf("the breaker has heard of those who asked: %v", *cause)
			}
		})
	}
}
