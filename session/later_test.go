package session

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// steps notes what a queue does.
type steps struct {
	mu   sync.Mutex
	done []string
	log  bytes.Buffer
}

func (s *steps) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *steps) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *steps) note(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, name)
}

func (s *steps) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.done, " ")
}

// step succeeds with its nth try.
func (s *steps) step(name string, n int) func() error {
	tries := 0
	return func() error {
		s.note(name)
		if tries++; tries < n {
			return errors.New("not yet")
		}
		return nil
	}
}

func newTestQueue(t *testing.T) (*laterQueue, *steps) {
	t.Helper()
	s := &steps{}
	q := newLaterQueue(zerolog.New(s))
	t.Cleanup(func() { q.close() })
	return q, s
}

// hold keeps the queue busy until the returned function is called.
func hold(t *testing.T, q *laterQueue) (release func()) {
	t.Helper()
	running, wait := make(chan struct{}), make(chan struct{})
	q.once("hold", ID{0xff}, func() error { close(running); <-wait; return nil })
	<-running
	release = sync.OnceFunc(func() { close(wait) })
	t.Cleanup(release)
	return release
}

// idle waits until nothing is left to do.
func (q *laterQueue) idle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(time.Millisecond) {
		finished := make(chan struct{})
		q.mu.Lock()
		left := len(q.order)
		q.mu.Unlock()
		if left == 0 {
			q.once("idle", ID{0xfe}, func() error { close(finished); return nil })
			<-finished
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d steps wait in vain", left)
		}
	}
}

func TestLaterQueueOrderAndRetry(t *testing.T) {
	t.Parallel()
	q, s := newTestQueue(t)
	release := hold(t, q)
	q.once("a", ID{1}, s.step("first", 1))
	q.once("a", ID{2}, s.step("stubborn", 3))
	q.once("a", ID{3}, s.step("third", 1))
	q.once("b", ID{1}, s.step("other-kind", 1))
	release()
	q.idle(t)
	// The one that fails holds nobody up for longer than one pause, and comes last.
	if got, want := s.all(), "first stubborn third other-kind stubborn stubborn"; got != want {
		t.Errorf("the steps were %q, want %q", got, want)
	}
	if err := q.close(); err != nil {
		t.Errorf("nothing is left, and close says %v", err)
	}
}

func TestLaterQueueNewerStepsReplaceOlder(t *testing.T) {
	t.Parallel()
	q, s := newTestQueue(t)
	release := hold(t, q)
	q.once("a", ID{1}, s.step("old", 1))
	q.once("a", ID{2}, s.step("other", 1))
	q.once("a", ID{1}, s.step("new", 1))
	release()
	q.idle(t)
	if got := s.all(); got != "new other" {
		t.Errorf("the steps were %q: one that waits gives way to a newer one, and keeps its place", got)
	}
	// A newer one that comes while the older is being tried, and fails, is the one that is tried again.
	q.once("a", ID{3}, func() error {
		q.once("a", ID{3}, s.step("newer", 1))
		s.note("older")
		return errors.New("fails")
	})
	q.idle(t)
	if got := s.all(); got != "new other older newer" {
		t.Errorf("the steps were %q", got)
	}
}

// TestLaterQueueIsBounded: an outage of hours must not eat the memory.
func TestLaterQueueIsBounded(t *testing.T) {
	t.Parallel()
	q, s := newTestQueue(t)
	release := hold(t, q)
	var ids []ID
	for i := range maxLater + 1 {
		ids = append(ids, ID{1, byte(i >> 8), byte(i)})
	}
	for _, id := range ids[:maxLater] {
		q.once("tidy", id, func() error { s.note("x"); return nil })
	}
	if s.logged() != "" {
		t.Errorf("logged before the queue was full: %s", s.logged())
	}
	q.once("tidy", ids[maxLater], func() error { s.note("too-many"); return nil })
	q.once("tidy", ids[0], func() error { s.note("replaced"); return nil }) // takes no place of its own
	if log := s.logged(); strings.Count(log, "\n") != 1 || !strings.Contains(log, ids[maxLater].Short()) || strings.Contains(log, ids[maxLater].String()) {
		t.Errorf("what is dropped is logged once, with the short ID: %s", log)
	}
	release()
	q.idle(t)
	got := strings.Fields(s.all())
	if len(got) != maxLater || slices.Contains(got, "too-many") || got[0] != "replaced" {
		t.Errorf("%d steps were done, the first %q, the dropped one: %v; want %d", len(got), got[0], slices.Contains(got, "too-many"), maxLater)
	}
	q.once("tidy", ids[maxLater], func() error { s.note("room-again"); return nil })
	q.idle(t)
	if !strings.HasSuffix(s.all(), "room-again") {
		t.Error("the queue takes nothing any more after it was full once")
	}
}

// TestLaterQueueClose: each step that is left has one more try, whatever others do.
func TestLaterQueueClose(t *testing.T) {
	t.Parallel()
	s := &steps{}
	q := newLaterQueue(zerolog.New(s))
	release := hold(t, q)
	var want []string
	for i := range 12 {
		name := fmt.Sprint(i)
		want = append(want, name)
		tries := 1
		if i%3 == 0 {
			tries = 1000
		}
		q.once("tidy", ID{byte(i + 1)}, s.step(name, tries))
	}
	closed := make(chan error)
	q.closing.Do(func() { close(q.stop) }) // before the worker gets to any of them
	go func() { closed <- q.close() }()
	release()
	err := <-closed
	if err == nil || !strings.Contains(err.Error(), "4 steps") {
		t.Errorf("four steps are given up, and close says %v", err)
	}
	got := strings.Fields(s.all())
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("step %s was not tried: %v", name, got)
		}
	}
	for i, name := range got {
		if name != "0" && name != "3" && name != "6" && name != "9" && slices.Contains(got[:i], name) {
			t.Errorf("step %s was done twice: %v", name, got)
		}
	}
}
