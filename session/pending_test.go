package session

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// queue is a pending whose store confirms when it is told to.
type queue struct {
	*pending
	steps
	confirms atomic.Bool
	tried    atomic.Int64
}

// newPendingQueue has a log that writes no level below error, as somebody who wants quiet has set it.
func newPendingQueue(t *testing.T, now time.Time) *queue {
	q := &queue{}
	q.pending = newPending(func(context.Context, revocation) bool {
		q.tried.Add(1)
		return q.confirms.Load()
	}, Options{Clock: func() time.Time { return now }, Log: zerolog.New(&q.steps).Level(zerolog.ErrorLevel)})
	t.Cleanup(func() { _ = q.close(t.Context()) })
	return q
}

// lines are those of the log with this state.
func (q *queue) lines(t *testing.T, state string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(q.logged()) {
		if !strings.Contains(line, `"state":"`+state+`"`) {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["type"] != "revocation" {
			t.Fatalf("%q: %v", line, err)
		}
		found = append(found, fields)
	}
	return found
}

// count is how many lines have this state, for when they are very many.
func (q *queue) count(state string) int { return strings.Count(q.logged(), `"state":"`+state+`"`) }

func (q *queue) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s; the log:\n%s", what, q.logged())
		}
	}
}

var askedAt = time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)

// logoutOf is the unconfirmed logout of the nth session.
func logoutOf(n byte) revocation {
	return revocation{key: Key{Tag: TagOf("u"), ID: ID{n, 1, 2}}, userID: "u", reason: endLogout, at: askedAt, until: askedAt.Add(time.Hour)}
}

// The log has a revocation from the moment it waits until it is confirmed, once each, at every level.
func TestPendingIsLogged(t *testing.T) {
	t.Parallel()
	q := newPendingQueue(t, askedAt)
	one := logoutOf(1)
	q.add(one)
	waiting := q.lines(t, "waiting") // already: the process may be killed now
	id := one.key.ID.String()
	if len(waiting) != 1 {
		t.Fatalf("%d lines, want one\n%s", len(waiting), q.logged())
	}
	for field, want := range map[string]any{
		"level": "warn", "user": "u", "session": id[:8], "session_id": id, "all": false, "reason": "logout",
		"asked_at": "2026-03-01T12:00:00.005Z", "command": "gatehouse sessions revoke --user=u " + id,
	} {
		if waiting[0][field] != want {
			t.Errorf("%s is %v, want %v", field, waiting[0][field], want)
		}
	}
	q.await(t, "a second try", func() bool { return q.tried.Load() > 1 })
	q.confirms.Store(true)
	q.await(t, "the confirmation", func() bool { return len(q.lines(t, "confirmed")) == 1 })
	line := q.lines(t, "confirmed")[0]
	if line["level"] != "info" || line["session_id"] != id || line["user"] != "u" || line["command"] != nil {
		t.Errorf("confirmed: %v", line)
	}
	if n := len(q.lines(t, "waiting")); n != 1 || q.len() != 0 {
		t.Errorf("%d lines for one revocation, %d still wait", n, q.len())
	}
	if err := q.close(t.Context()); err != nil || len(q.lines(t, "given_up")) != 0 {
		t.Errorf("there was nothing left to give up: %v\n%s", err, q.logged())
	}
}

// One whose time is over is not said to be confirmed: nobody has confirmed it.
func TestPendingIsOver(t *testing.T) {
	t.Parallel()
	q := newPendingQueue(t, askedAt.Add(2*time.Hour))
	q.confirms.Store(true)
	q.add(logoutOf(1))
	q.await(t, "its end", func() bool { return len(q.lines(t, "over")) == 1 })
	if n := len(q.lines(t, "confirmed")); n != 0 {
		t.Errorf("%d lines say that it was confirmed", n)
	}
}

// What another revocation has done is confirmed with it, also while it is being tried.
func TestPendingIsDropped(t *testing.T) {
	t.Parallel()
	q := newPendingQueue(t, askedAt)
	all, other := logoutOf(0), logoutOf(1)
	all.key, all.all, all.except, all.reason = Key{}, true, []ID{{7}}, endRevoked
	q.add(other)
	q.add(all)
	kept := fmt.Sprintf("[%s]", ID{7})
	if line := q.lines(t, "waiting")[1]; line["all"] != true || line["session_id"] != nil || fmt.Sprint(line["except"]) != kept {
		t.Errorf("a revocation of all sessions: %v", line)
	}
	q.await(t, "both to be tried", func() bool { return q.tried.Load() > 2 })
	if dropped := q.dropUser("u"); len(dropped) != 1 || !dropped[0].all {
		t.Errorf("dropped %v", dropped)
	}
	if again := q.dropUser("u"); len(again) != 0 {
		t.Errorf("dropped again: %v", again)
	}
	if lines := q.lines(t, "confirmed"); len(lines) != 1 || lines[0]["all"] != true || q.len() != 1 {
		t.Errorf("%v, %d left", lines, q.len())
	}
	// It is out of the list while its attempt is still on its way: the outcome changes nothing more.
	e, _ := q.first()
	q.pending.mu.Lock()
	q.list.Remove(e)
	q.pending.mu.Unlock()
	q.pending.tried(e, true, false)
	q.pending.tried(e, false, false)
	if n := len(q.lines(t, "confirmed")); n != 1 || q.len() != 0 {
		t.Errorf("%d lines, %d left", n, q.len())
	}
}

// A process that ends leaves what an operator needs.
func TestPendingIsGivenUp(t *testing.T) {
	t.Parallel()
	q := newPendingQueue(t, askedAt)
	all, orphan := logoutOf(1), logoutOf(2)
	all.key, all.all, all.userID = Key{}, true, "ada@example.com"
	orphan.reason, orphan.userID = endOrphan, ""
	q.add(all)
	q.add(orphan)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.close(ended); err == nil || !strings.Contains(err.Error(), ": 2") {
		t.Errorf("%v, want that two are given up", err)
	}
	lines := q.lines(t, "given_up")
	if len(lines) != 2 {
		t.Fatalf("%d lines\n%s", len(lines), q.logged())
	}
	commands := map[any]any{}
	for _, line := range lines {
		if line["level"] != "error" {
			t.Errorf("level %v", line["level"])
		}
		commands[line["reason"]] = line["command"]
	}
	if commands["logout"] != "gatehouse sessions revoke-user ada@example.com" || commands["orphan"] != "gatehouse sessions revoke "+orphan.key.ID.String() {
		t.Errorf("the commands are %v", commands)
	}
}

// As many as may wait, and one more. All of them are in the log, and when Redis is back each costs the same.
func TestPendingIsBounded(t *testing.T) {
	t.Parallel()
	q := newPendingQueue(t, askedAt)
	for i := range maxPending + 1 {
		r := logoutOf(0)
		r.key.ID = ID{byte(i), byte(i >> 8), byte(i >> 16), 1}
		q.add(r)
	}
	if n := q.count("waiting"); q.len() != maxPending || n != maxPending {
		t.Errorf("%d wait, %d have a line", q.len(), n)
	}
	lines := q.lines(t, "not_retried")
	last := ID{byte(maxPending & 0xff), byte(maxPending >> 8 & 0xff), byte(maxPending >> 16), 1}
	if len(lines) != 1 || lines[0]["session_id"] != last.String() || lines[0]["level"] != "error" || lines[0]["command"] == nil {
		t.Errorf("the one too many: %v", lines)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.close(ended); err == nil {
		t.Error("all of them were given up, and that is no error")
	}
	lines = q.lines(t, "given_up")
	if len(lines) != maxTold+1 || lines[maxTold]["more"] != float64(maxPending-maxTold) {
		t.Errorf("%d lines, the last is %v", len(lines), lines[len(lines)-1])
	}
	q.confirms.Store(true)
	if err := q.close(t.Context()); err != nil || q.count("confirmed") != maxPending {
		t.Errorf("%v, %d confirmed", err, q.count("confirmed"))
	}
}
