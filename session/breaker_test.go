package session

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"

	"github.com/redis/rueidis"
)

// errorReply makes a real server answer with an error, as the client gives it.
func errorReply(t *testing.T, c rueidis.Client, text string) error {
	t.Helper()
	err := c.Do(t.Context(), c.B().Eval().Script("return redis.error_reply(ARGV[1])").Numkeys(0).Arg(text).Build()).Error()
	if err == nil {
		t.Fatal("no error")
	}
	return err
}

func TestClassification(t *testing.T) {
	t.Parallel()
	c := testredis.Start(t).Client(t)
	null := c.Do(t.Context(), c.B().Get().Key("absent").Build()).Error()
	for _, test := range []struct {
		err    error
		outage bool
	}{
		{nil, false},
		{null, false},
		{errorReply(t, c, "LOADING Redis is loading the dataset in memory"), true},
		{errorReply(t, c, "MASTERDOWN Link with MASTER is down"), true},
		{errorReply(t, c, "CLUSTERDOWN The cluster is down"), true},
		{errorReply(t, c, "NOAUTH Authentication required."), true},
		{errorReply(t, c, "WRONGPASS invalid username-password pair"), true},
		{errorReply(t, c, "READONLY You can't write against a read only replica."), false},
		{errorReply(t, c, "OOM command not allowed"), false},
		{errorReply(t, c, "NOPERM this user has no permissions"), false},
		{errorReply(t, c, "WRONGTYPE Operation against a key"), false},
		{unavailable(errorReply(t, c, "LOADING x")), true},
		{&connectError{cause: errorReply(t, c, "NOPERM x")}, true},
		{context.DeadlineExceeded, true},
		{io.EOF, true},
		{rueidis.ErrClosing, true},
		{rueidis.ErrDoCacheAborted, true},
		{errors.New("connection refused"), true},
	} {
		if got := isOutage(test.err); got != test.outage {
			t.Errorf("%v: outage %v, want %v", test.err, got, test.outage)
		}
		if test.err != nil && describe(test.err) == "" {
			t.Errorf("%v has no description", test.err)
		}
	}
	if !isReadOnly(errorReply(t, c, "READONLY x")) || isReadOnly(io.EOF) || isReadOnly(null) {
		t.Error("READONLY is not told from others")
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	var changes []bool
	b := newBreaker(func(away bool, cause error) {
		if away && !errors.Is(cause, io.EOF) {
			t.Errorf("cause %v", cause)
		}
		changes = append(changes, away)
	})
	fail := func(n int) {
		for range n {
			b.report(io.EOF)
		}
	}
	fail(breakerFailures - 1)
	b.report(nil)
	fail(breakerFailures - 1)
	if b.open.Load() {
		t.Fatal("opened by failures that were not in a row")
	}
	fail(1)
	if !b.open.Load() {
		t.Fatal("not opened")
	}
	// Answers to questions from before tell nothing, also when a probe is due; and probes that fail
	// leave it open.
	b.report(nil)
	time.Sleep(probeEvery)
	b.report(nil)
	if !b.open.Load() {
		t.Fatal("closed by a late answer")
	}
	probe := func(err error) (asked bool) {
		b.probe(func() error { asked = true; return err })
		return asked
	}
	deadline := time.Now().Add(5 * time.Second)
	for !probe(io.EOF) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if !b.open.Load() {
		t.Fatal("closed by a probe that failed")
	}
	for !probe(nil) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if b.open.Load() || len(changes) != 2 || !changes[0] || changes[1] {
		t.Errorf("open %v, changes %v", b.open.Load(), changes)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	d := newDeadlines(100 * time.Millisecond)
	defer d.close()
	start := time.Now()
	first := d.context()
	for range 1000 {
		ctx := d.context()
		end, ok := ctx.Deadline()
		if left := time.Until(end); !ok || left > 100*time.Millisecond+deadlineWindow || left < 50*time.Millisecond {
			t.Fatalf("%v left", left)
		}
	}
	for d.context() == first {
		if time.Since(start) > 5*time.Second {
			t.Fatal("one context for ever")
		}
		time.Sleep(time.Millisecond)
	}
	<-first.Done()
}

func TestKnownSessionsAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 16 << 20
	k := newKnownSessions(limit, usage{})
	put := func(i, size int) Key {
		key := Key{Tag: "t", ID: ID{byte(i), byte(i >> 8), byte(i >> 16)}}
		k.put(key.ID, &entry{tag: "t", raw: string(make([]byte, size)), record: &Record{}})
		return key
	}
	for i := range 3000 {
		put(i, 64<<10)
		put(i, 64<<10) // the same again is not counted twice
	}
	if k.bytes > limit || k.bytes < limit*9/10 {
		t.Errorf("%d bytes, limit %d", k.bytes, limit)
	}
	for k.lru.Len() > 0 {
		k.lru.RemoveOldest()
	}
	if k.bytes != 0 {
		t.Errorf("%d bytes of nothing", k.bytes)
	}
	key := put(1, 10)
	if k.get(key) == nil || k.get(Key{Tag: "other", ID: key.ID}) != nil {
		t.Error("an entry is found by its whole key")
	}
}

// What Redis said has changed may have been revoked: with Redis away it is not served.
func TestSuspectIsNotKnown(t *testing.T) {
	t.Parallel()
	s := &RedisStore{known: newKnownSessions(1<<20, usage{}), clock: time.Now}
	r := testRecord("u")
	s.remember(r.Key(), s.keys.session(r.Key()), r, time.Time{})
	if f := lastKnown(s.known.get(r.Key())); f.Record != r || f.Source != FromKnown || time.Since(f.VerifiedAt) > time.Minute {
		t.Errorf("%+v, want the record just remembered", f)
	}
	if key, ok := s.known.suspect(r.ID); !ok || key != r.Key() {
		t.Errorf("%v, %v", key, ok)
	}
	if f := lastKnown(s.known.get(r.Key())); f.Record != nil {
		t.Error("a changed session is known")
	}
	s.forget(r.Key())
	if f := lastKnown(s.known.get(r.Key())); f.Record != nil || len(s.KnownOf("u")) != 0 {
		t.Error("an ended session is known")
	}
	if _, ok := s.known.suspect(r.ID); ok {
		t.Error("an ended session is read again")
	}
}

func TestTLSFilesAreChecked(t *testing.T) {
	t.Parallel()
	for name, tls := range map[string]config.RedisTLS{
		"redis.tls.ca_file":   {Enabled: true, CAFile: "does-not-exist.pem"},
		"redis.tls.cert_file": {Enabled: true, CertFile: "does-not-exist.pem", KeyFile: "neither"},
	} {
		_, err := Open(t.Context(), config.Redis{Addresses: []string{"127.0.0.1:1"}, TLS: tls}, Options{})
		if err == nil || len(err.Error()) < len(name) || err.Error()[:len(name)] != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
