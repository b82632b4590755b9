package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// message is an answer as the client gives it to its store. kind is the protocol's letter.
func message(kind byte, text string, expires time.Time) rueidis.RedisMessage {
	var at [8]byte
	if !expires.IsZero() {
		binary.LittleEndian.PutUint64(at[:], uint64(expires.UnixMilli()))
	}
	buf := append(at[:7:7], kind)
	buf = binary.BigEndian.AppendUint64(buf, uint64(len(text)))
	var m rueidis.RedisMessage
	if err := m.CacheUnmarshalView(append(buf, text...)); err != nil {
		panic(err)
	}
	return m
}

func text(s string) rueidis.RedisMessage { return message('$', s, time.Time{}) }

var absence = message('_', "", time.Time{})

func key(i int) string { return fmt.Sprintf("session:{tag}:%06d", i) }

// shelf is one connection's store under test.
type shelf struct {
	*replyConn
	t   *testing.T
	now time.Time
}

func newShelf(t *testing.T, all *replies) *shelf {
	return &shelf{trusted(all), t, time.Now()}
}

// trusted is a connection on which Redis has taken CLIENT CACHING.
func trusted(all *replies) *replyConn {
	c := all.connection(rueidis.CacheStoreOption{}).(*replyConn)
	takesCaching(c)
	return c
}

func takesCaching(c *replyConn) { c.Update("CACHING", trackingCommand, text("OK")) }

// asks says what a caller is told: "ask", "wait", or the answer kept.
func (s *shelf) asks(name string) string {
	s.t.Helper()
	switch m, f := s.Flight(name, "GET", time.Minute, s.now); {
	case f != nil:
		return "wait"
	case m == (rueidis.RedisMessage{}):
		return "ask"
	case m.IsNil():
		return "absent"
	default:
		answer, _ := m.ToString()
		return answer
	}
}

func (s *shelf) expect(name, want string) {
	s.t.Helper()
	if got := s.asks(name); got != want {
		s.t.Errorf("%s: %s, want %s", name, got, want)
	}
}

// fill asks and is answered.
func (s *shelf) fill(name string, m rueidis.RedisMessage) {
	s.t.Helper()
	s.expect(name, "ask")
	s.Update(name, "GET", m)
}

// holds checks the sums against what is there.
func (a *replies) holds(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	all := 0
	for c := range a.conns {
		bytes, n := 0, 0
		for r := c.first; r != nil; r = r.next {
			if c.held[r.name] != r || r.next == nil && c.last != r {
				t.Errorf("%s: list and map differ", r.name)
			}
			bytes += r.size()
			n++
		}
		if bytes != c.bytes || n != len(c.held) {
			t.Errorf("a connection's %d bytes in %d answers are counted as %d in %d", bytes, n, c.bytes, len(c.held))
		}
		all += bytes
	}
	if all != a.bytes || all > a.limit {
		t.Errorf("%d bytes are counted as %d, limit %d", all, a.bytes, a.limit)
	}
}

func roomy() *replies { return newReplies(1<<20, usage{}) }

// What the client's own store promises, of which its tests are the contract.
func TestRepliesKeepTheContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(s *shelf)
	}{
		{"one asks, others wait, all get the answer", func(s *shelf) {
			s.expect("k", "ask")
			s.expect("k", "wait")
			_, f := s.Flight("k", "GET", time.Minute, s.now)
			s.Delete([]rueidis.RedisMessage{text("k")}) // before the answer: the answer is newer
			s.expect("k", "wait")
			s.Update("k", "GET", text("v"))
			m, err := f.Wait(context.Background())
			if got, _ := m.ToString(); got != "v" || err != nil {
				s.t.Errorf("waited for %q, %v", got, err)
			}
			s.expect("k", "v")
		}},
		{"a change drops one", func(s *shelf) {
			s.fill("a", text("1"))
			s.fill("b", text("2"))
			s.Delete([]rueidis.RedisMessage{text("a"), text("unknown")})
			s.expect("a", "ask")
			s.expect("b", "2")
		}},
		{"no keys drop all", func(s *shelf) {
			s.fill("a", text("1"))
			s.fill("b", text("2"))
			s.expect("c", "ask")
			s.Delete(nil)
			s.expect("a", "ask")
			s.expect("b", "ask")
			s.expect("c", "wait")
		}},
		{"a failure is everybody's who waits", func(s *shelf) {
			s.expect("k", "ask")
			_, f := s.Flight("k", "GET", time.Minute, s.now)
			failure := errors.New("failed")
			s.Cancel("k", "GET", failure)
			if _, err := f.Wait(context.Background()); err != failure {
				s.t.Error(err)
			}
			s.expect("k", "ask")
		}},
		{"waiting ends with its context", func(s *shelf) {
			s.expect("k", "ask")
			_, f := s.Flight("k", "GET", time.Minute, s.now)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := f.Wait(ctx); err != context.Canceled {
				s.t.Error(err)
			}
		}},
		{"a broken connection keeps nothing", func(s *shelf) {
			s.fill("a", text("1"))
			s.expect("b", "ask")
			_, f := s.Flight("b", "GET", time.Minute, s.now)
			broken := errors.New("broken")
			s.Close(broken)
			if _, err := f.Wait(context.Background()); err != broken {
				s.t.Error(err)
			}
			s.expect("a", "ask")
			s.expect("a", "ask") // nobody is left to answer who waits
			s.Update("a", "GET", text("1"))
			s.Cancel("a", "GET", broken)
			s.expect("a", "ask")
			if s.all.bytes != 0 || len(s.all.conns) != 0 {
				s.t.Errorf("%d bytes of %d connections", s.all.bytes, len(s.all.conns))
			}
		}},
		{"an error is nobody's answer", func(s *shelf) {
			s.fill("k", message('-', "ERR no", time.Time{}))
			s.expect("k", "ask")
		}},
		{"absence is an answer", func(s *shelf) {
			s.fill("k", absence)
			s.expect("k", "absent")
		}},
		{"other commands are asked each time", func(s *shelf) {
			for range 2 {
				if m, f := s.Flight("k", "STRLEN", time.Minute, s.now); f != nil || m != (rueidis.RedisMessage{}) {
					s.t.Error("kept")
				}
			}
			if got := s.Update("k", "STRLEN", text("1")); got != 0 {
				s.t.Errorf("kept until %d", got)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, roomy())
			c.do(s)
			s.all.holds(t)
		})
	}
}

func TestAnswersEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server, want time.Duration
	}{
		"ours":                {0, time.Minute},
		"the server's":        {time.Second, time.Second},
		"the server's longer": {time.Hour, time.Minute},
	} {
		s := newShelf(t, roomy())
		at := time.Time{}
		if c.server > 0 {
			at = s.now.Add(c.server)
		}
		s.expect("k", "ask")
		end := s.now.Add(c.want)
		if got := s.Update("k", "GET", message('$', "v", at)); got != end.UnixMilli() {
			t.Errorf("%s: kept until %d, want %d", name, got, end.UnixMilli())
		}
		s.now = end.Add(-2 * time.Millisecond)
		s.expect("k", "v")
		s.now = end
		s.expect("k", "ask")
		s.Update("k", "GET", text("next"))
		s.expect("k", "next")
		s.all.holds(t)
	}
}

func TestRepliesAreBounded(t *testing.T) {
	t.Parallel()
	gone := 0
	all := newReplies(100_000, usage{full: func() { gone++ }})
	a, b := newShelf(t, all), newShelf(t, all)
	for i := range 2000 {
		s := a
		if i%3 == 0 {
			s = b
		}
		s.fill(key(i), text(string(make([]byte, i%500))))
	}
	all.holds(t)
	if all.bytes < 95_000 || gone == 0 {
		t.Errorf("%d bytes of 100000 are used, evicted %d times", all.bytes, gone)
	}
	if len(a.held) == 0 || len(b.held) == 0 {
		t.Errorf("%d and %d answers: one connection has taken everything", len(a.held), len(b.held))
	}
	a.fill("large", text(string(make([]byte, 200_000))))
	a.expect("large", "ask")
	all.holds(t)
	b.Close(errors.New("gone"))
	all.holds(t)
	for i := range 2000 {
		a.Delete([]rueidis.RedisMessage{text(key(i))})
	}
	if all.bytes != 0 {
		t.Errorf("%d bytes of nothing", all.bytes)
	}
}

// What is in use stays when much passes through once.
func TestUsedAnswersAreSpared(t *testing.T) {
	t.Parallel()
	all := newReplies(100_000, usage{})
	s := newShelf(t, all)
	for i := range 10 {
		s.fill(key(i), text("in use"))
	}
	for i := 10; i < 5000; i++ {
		s.fill(key(i), text("once"))
		if i%50 == 0 {
			for j := range 10 {
				s.expect(key(j), "in use")
			}
		}
	}
	all.holds(t)
}

// Everything is in use: something has to go all the same, and soon.
func TestEvictionEnds(t *testing.T) {
	t.Parallel()
	all := newReplies(100_000, usage{})
	s := newShelf(t, all)
	for i := range 3000 {
		s.fill(key(i), text("v"))
		s.expect(key(i), "v")
	}
	all.holds(t)
}

// Anybody can send cookies nobody ever issued: that they name no session must not push out sessions.
func TestAbsencesPushOutNoSessions(t *testing.T) {
	t.Parallel()
	evictions := 0
	all := newReplies(100_000, usage{full: func() { evictions++ }})
	s := newShelf(t, all)
	n := 0
	for ; all.bytes < 80_000; n++ {
		s.fill(key(n), text("a session"))
	}
	for i := range 5000 {
		s.fill(fmt.Sprintf("made up %d", i), absence)
	}
	for i := range n {
		s.expect(key(i), "a session")
	}
	if evictions != 0 {
		t.Error("the operator is told of evictions that touch no session")
	}
	all.holds(t)
}

// Nor those that were read over other connections, of which each has its own list.
func TestAbsencesPushOutNoSessionsOfOthers(t *testing.T) {
	t.Parallel()
	evictions := 0
	all := newReplies(100_000, usage{full: func() { evictions++ }})
	sessions, cookies := newShelf(t, all), newShelf(t, all)
	n := 0
	for ; all.bytes < 80_000; n++ {
		sessions.fill(key(n), text("a session"))
	}
	for i := range 5000 {
		cookies.fill(fmt.Sprintf("made up %d", i), absence)
	}
	if len(sessions.held) != n || evictions != 0 {
		t.Errorf("%d of %d sessions are left, %d evictions: they went for cookies nobody issued", len(sessions.held), n, evictions)
	}
	all.holds(t)
}

// An entry that knew better than the answer kept takes it along, and the one under way.
func TestDroppedAnswersAreAskedAgain(t *testing.T) {
	t.Parallel()
	all := roomy()
	s, other := newShelf(t, all), newShelf(t, all)
	s.fill("kept", text("old"))
	other.fill("other", text("v"))
	s.expect("under way", "ask")
	_, f := s.Flight("under way", "GET", time.Minute, s.now)
	all.drop("kept")
	all.drop("under way")
	s.Update("under way", "GET", text("old"))
	if m, err := f.Wait(context.Background()); err != nil || m.Error() != nil {
		t.Error("who waited got nothing")
	}
	s.expect("kept", "ask")
	s.expect("under way", "ask")
	other.expect("other", "v")
	all.holds(t)
}

// Who asks after the drop must not be given the answer to a question from before it.
func TestDroppedQuestionsAreNotJoined(t *testing.T) {
	t.Parallel()
	all := roomy()
	s := newShelf(t, all)
	s.expect("k", "ask")
	all.drop("k")
	s.expect("k", "ask")
	s.expect("k", "ask")
	s.Update("k", "GET", text("old"))
	s.expect("k", "ask")
	s.expect("k", "wait")
	s.Update("k", "GET", text("new"))
	s.expect("k", "new")
	all.holds(t)
}

// Before Redis has taken CLIENT CACHING, and after it has refused it, what is read over a connection is not tracked.
func TestOnlyTrackedAnswersAreKept(t *testing.T) {
	t.Parallel()
	all := roomy()
	s := &shelf{all.connection(rueidis.CacheStoreOption{}).(*replyConn), t, time.Now()}
	s.fill("k", text("untracked"))
	s.expect("k", "ask")
	if !all.unsure.Swap(false) {
		t.Error("nobody learns that a connection has to be asked")
	}
	takesCaching(s.replyConn)
	s.fill("k", text("tracked"))
	s.expect("k", "tracked")
	s.expect("under way", "ask")
	_, f := s.Flight("under way", "GET", time.Minute, s.now)
	for _, unclear := range []error{context.DeadlineExceeded, errors.New("broken")} {
		s.Cancel("CACHING", trackingCommand, unclear)
	}
	s.expect("k", "tracked")
	if all.unsure.Load() {
		t.Error("a connection that was asked is asked again")
	}
	no := message('-', "NOPERM", time.Time{})
	s.Cancel("CACHING", trackingCommand, no.Error())
	s.expect("k", "ask")
	s.expect("under way", "ask")
	if !all.unsure.Load() || all.bytes != 0 {
		t.Errorf("not asked again, or %d bytes are kept", all.bytes)
	}
	takesCaching(s.replyConn)
	s.expect("under way", "ask") // the old question's answer is still to come
	s.Update("under way", "GET", text("untracked"))
	if m, err := f.Wait(context.Background()); err != nil || m.Error() != nil {
		t.Error("who waited got nothing")
	}
	s.fill("under way", text("tracked"))
	s.expect("under way", "tracked")
	all.holds(t)
}

// The client chooses among its connections to a node by the last two bits of the key's slot.
func TestEachConnectionIsAsked(t *testing.T) {
	t.Parallel()
	connections := map[uint16]bool{}
	for _, key := range connectionKeys {
		question := rueidis.Completed{}.SetSlot(key)
		connections[question.Slot()%4] = true
	}
	if len(connections) != 4 {
		t.Errorf("of four connections, %v are asked", connections)
	}
}

func TestRepliesAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	all := newReplies(20_000, usage{})
	var wg sync.WaitGroup
	for range 4 {
		c := trusted(all)
		for worker := range 3 {
			wg.Go(func() {
				for i := range 3000 {
					name := key(i % 200)
					switch m, f := c.Flight(name, "GET", time.Minute, time.Now()); {
					case f != nil:
						ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
						f.Wait(ctx)
						cancel()
					case m != (rueidis.RedisMessage{}):
						if got, _ := m.ToString(); got != name {
							t.Errorf("%s: the answer of %s", name, got)
						}
					case i%11 == 0:
						c.Cancel(name, "GET", errors.New("failed"))
					default:
						c.Update(name, "GET", text(name))
					}
					switch {
					case i%7 == 0:
						c.Delete([]rueidis.RedisMessage{text(name)})
					case i%501 == 0:
						c.Delete(nil)
					case i%13 == 0:
						all.drop(name)
					case i == 2900 && worker == 0:
						c.Close(errors.New("broken"))
					}
				}
			})
		}
	}
	wg.Wait()
	all.holds(t)
}
