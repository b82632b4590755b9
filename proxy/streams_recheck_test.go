package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/session"
	"gatehouse/telemetry"
)

// counted are sessions that answer what a test says, and note what they were asked.
type counted struct {
	fakeSessions
	source session.Source

	mu    sync.Mutex
	asked []session.Key
	// slow is how long an answer takes.
	slow time.Duration
	err  error
}

func (c *counted) Check(_ context.Context, key session.Key) (session.Session, error) {
	c.mu.Lock()
	c.asked = append(c.asked, key)
	slow, err := c.slow, c.err
	c.mu.Unlock()
	time.Sleep(slow)
	return session.Session{Record: &session.Record{}, Source: c.source}, err
}

func (c *counted) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *counted) answerIn(slow time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow = slow
}

func (c *counted) taken() []session.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

// quietBody is an application's answer that never goes on.
type quietBody struct{ closed chan struct{} }

func (b quietBody) Read([]byte) (int, error) { <-b.closed; return 0, io.ErrClosedPipe }
func (b quietBody) Close() error             { close(b.closed); return nil }

// watchOne opens an event stream of a session, without a network in between.
func watchOne(st *Streams, rec *session.Record) *state {
	r, _ := http.NewRequest(http.MethodGet, "http://app/events", nil)
	s := &state{session: session.Session{Record: rec}}
	st.watch(&http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Request: r, Body: quietBody{make(chan struct{})}}, s)
	return s
}

func record(n int) *session.Record {
	user := fmt.Sprint("user ", n)
	key, _ := session.ParseToken(session.NewToken(user))
	return &session.Record{ID: key.ID, User: session.User{ID: user}}
}

// TestRoundsAreBounded: what a round over many sessions costs the store, in the time of a clock that stands still.
func TestRoundsAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source   session.Source
		sessions int
		slow     time.Duration
		least    time.Duration
		most     time.Duration
	}{
		{session.FromCache, 10_000, 0, 0, 0},
		{session.FromKnown, 10_000, 0, 0, 0},
		{session.FromStore, 1, 0, 0, 0},
		{session.FromStore, 1_000, 0, 450 * time.Millisecond, 500 * time.Millisecond},
		{session.FromStore, 10_000, 0, 4900 * time.Millisecond, 5 * time.Second},
		{session.FromStore, 10_000, time.Millisecond, 4900 * time.Millisecond, 5100 * time.Millisecond},
		{session.FromDatabase, 10_000, 0, 4900 * time.Millisecond, 5 * time.Second},
		{session.FromStore, 40_000, 0, 9900 * time.Millisecond, 10 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d by %s in %v", c.sessions, c.source, c.slow), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sessions := &counted{source: c.source, slow: c.slow}
				st := NewStreams(sessions, telemetry.NewMetrics())
				for n := range c.sessions {
					rec := record(n)
					watchOne(st, rec)
					if n%100 == 0 {
						watchOne(st, rec) // a second stream of a session is no second question
					}
				}
				began := time.Now()
				st.Recheck(t.Context())
				took, asked := time.Since(began), len(sessions.taken())
				t.Logf("a round over %d sessions: %d look-ups in %v", c.sessions, asked, took)
				if asked != c.sessions || took < c.least || took > c.most {
					t.Errorf("want %d look-ups in %v to %v", c.sessions, c.least, c.most)
				}
			})
		})
	}
}

// TestChangedLooksAtOneSession: at that one, once however often it changes before anybody looks, and again if it
// changes later.
func TestChangedLooksAtOneSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions := &counted{source: session.FromCache}
		st := NewStreams(sessions, telemetry.NewMetrics())
		recs := make([]*session.Record, 100)
		for n := range recs {
			recs[n] = record(n)
			watchOne(st, recs[n])
			watchOne(st, recs[n])
		}
		watchOne(st, nil) // nobody's
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { st.Run(ctx); close(ended) }()
		synctest.Wait()
		if asked := sessions.taken(); len(asked) != len(recs) {
			t.Errorf("%d questions when streams of %d sessions were opened, want one of each: it may have ended meanwhile", len(asked), len(recs))
		}
		// Every follower is busy with another session while these change: one that waits would take the first change.
		sessions.answerIn(recheckEvery / 4)
		for n := range recheckers {
			st.Changed(recs[50+n].ID)
		}
		synctest.Wait()
		if asked := sessions.taken(); len(asked) != recheckers {
			t.Fatalf("%d followers are busy, want %d", len(asked), recheckers)
		}
		sessions.answerIn(0)
		for range 3 {
			st.Changed(recs[7].ID)
		}
		st.Changed(recs[9].ID)
		st.Changed(record(-1).ID) // a session without streams
		st.Changed(session.ID{})
		time.Sleep(recheckEvery / 2) // before the first round
		asked := sessions.taken()
		if len(asked) != 2 || !slices.Contains(asked, recs[7].Key()) || !slices.Contains(asked, recs[9].Key()) {
			t.Errorf("%d questions after the change of two sessions: %.300v", len(asked), fmt.Sprint(asked))
		}
		st.Changed(recs[7].ID)
		synctest.Wait()
		if asked := sessions.taken(); !slices.Equal(asked, []session.Key{recs[7].Key()}) {
			t.Errorf("after the next change: %.300v", fmt.Sprint(asked))
		}
		sessions.fail(session.ErrNotFound)
		for _, rec := range recs {
			st.Changed(rec.ID)
		}
		synctest.Wait()
		if n := len(st.list(func(session.Key, *stream) bool { return true })); n != 1 || len(st.waits)+len(st.due) != 0 {
			t.Errorf("%d streams are left of sessions that are gone, %d sessions wait", n-1, len(st.due))
		}
		stop()
		<-ended
	})
}

// TestASlowLookUpHoldsUpNobody: changes are looked at side by side.
func TestASlowLookUpHoldsUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions := &counted{source: session.FromStore, slow: 250 * time.Millisecond}
		st := NewStreams(sessions, telemetry.NewMetrics())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { st.Run(ctx); close(ended) }()
		for n := range recheckers {
			watchOne(st, record(n))
		}
		synctest.Wait()
		if n := len(sessions.taken()); n != recheckers {
			t.Errorf("%d look-ups are under way, want %d", n, recheckers)
		}
		stop()
		<-ended
	})
}

// TestUnavailableAtAChange: that a store cannot be asked about a change cuts nothing at that moment; the round
// comes to it.
func TestUnavailableAtAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions := &counted{source: session.FromCache}
		st := NewStreams(sessions, telemetry.NewMetrics())
		rec := record(1)
		slow := watchOne(st, rec)
		sessions.fail(fmt.Errorf("%w: slow for once", session.ErrUnavailable))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { st.Run(ctx); close(ended) }()
		st.Changed(rec.ID)
		synctest.Wait()
		if why := slow.cut.Load(); why != nil || len(sessions.taken()) != 1 {
			t.Fatalf("cut at once: %v", why)
		}
		sessions.fail(nil)
		time.Sleep(recheckEvery + time.Millisecond)
		if slow.cut.Load() != nil {
			t.Fatal("cut though its session was found again")
		}
		sessions.fail(session.ErrUnavailable)
		time.Sleep(recheckEvery)
		if why := slow.cut.Load(); why == nil || !strings.Contains(*why, "cannot be checked") {
			t.Error("not cut although nobody can vouch for its session")
		}
		stop()
		<-ended
	})
}

// TestAnEndTouchesItsSessionOnly: neither other streams nor those of nobody.
func TestAnEndTouchesItsSessionOnly(t *testing.T) {
	t.Parallel()
	st := NewStreams(&counted{}, telemetry.NewMetrics())
	ended, other, nobody := record(1), record(1), watchOne(st, nil)
	mine, sibling := watchOne(st, ended), watchOne(st, other)
	st.End([]session.ID{ended.ID, record(2).ID, {}})
	if mine.cut.Load() == nil || sibling.cut.Load() != nil || nobody.cut.Load() != nil {
		t.Error("want the stream of the ended session cut, and no other")
	}
}
