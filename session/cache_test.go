package session

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
)

// heap gives how many bytes are alive.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first has finalized
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// session.cache_size is a promise in bytes: what is counted must be what the heap holds, give or take. Not
// parallel: others' garbage would be measured.
func TestSizesAreThoseOfTheHeap(t *testing.T) {
	for name, extra := range map[string]int{"small": 0, "with a vault": 3000} {
		const n = 5000
		records := make([]string, n)
		keys := make([]Key, n)
		for i := range n {
			r := testRecord(fmt.Sprintf("user-%06d", i))
			r.ID = ID{byte(i), byte(i >> 8), byte(i >> 16)}
			r.Email, r.Name, r.Role, r.Backend = fmt.Sprintf("somebody.%d@example.com", i), "Some Body", "member", "file"
			r.IP, r.UserAgent, r.Sealed = "203.0.113.7", strings.Repeat("Mozilla/5.0 ", 9), make([]byte, extra)
			raw, err := encodeRecord(r)
			if err != nil {
				t.Fatal(err)
			}
			records[i], keys[i] = raw, r.Key()
		}
		s := &RedisStore{known: newKnownSessions(1<<30, usage{}), clock: time.Now}
		kept := newReplies(1<<30, usage{})
		conn := trusted(kept)
		before := heap()
		for i, raw := range records {
			// As a miss does it: a key is made, the answer is a text of its own, and the record is read from it.
			name := s.keys.session(keys[i])
			conn.Flight(name, "GET", time.Minute, time.Now())
			m := message('$', raw, time.Time{})
			conn.Update(name, "GET", m)
			text, _ := m.ToString()
			r, err := decodeRecord(text, keys[i])
			if err != nil {
				t.Fatal(err)
			}
			s.remember(keys[i], name, r, time.Time{})
		}
		grown := heap() - before
		counted := s.known.bytes + kept.bytes
		t.Logf("%s: %d B of record, heap %d B a session; counted %d: records %d, replies %d", name, len(records[0]), grown/n, counted/n, s.known.bytes/n, kept.bytes/n)
		if grown > counted*21/20 || grown < counted*6/10 {
			t.Errorf("%s: the heap grew by %d bytes a session, %d are counted", name, grown/n, counted/n)
		}
		runtime.KeepAlive(s)
		runtime.KeepAlive(conn)
		runtime.KeepAlive(records)
	}
}

func TestCacheSizeIsDivided(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1 << 20, 256 << 20, 1 << 62} {
		replies, records := splitCache(config.Size(size))
		if replies <= 0 || records <= 0 {
			t.Errorf("%d: %d and %d", size, replies, records)
		}
		if size > 0 && size < 1<<40 && int64(replies+records) != size {
			t.Errorf("%d: %d and %d are not the whole", size, replies, records)
		}
	}
}

// Redis's answer from before our own write can still be there when the entry that knows better is evicted.
func TestEvictedDoubtTakesTheAnswerAlong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrote time.Time
		want  string
	}{
		"just ended":     {time.Now(), "ask"},
		"ended long ago": {time.Now().Add(-2 * ownWriteDoubt), "from before"},
		"read":           {time.Time{}, "from before"},
	} {
		kept := roomy()
		s := newShelf(t, kept)
		k := newKnownSessions(3*entryOverhead, usage{})
		k.dropReply = kept.drop
		s.fill("key", text("from before"))
		k.put(ID{1}, &entry{name: "key", wrote: c.wrote})
		for i := range 5 {
			k.put(ID{2, byte(i)}, &entry{name: "other"})
		}
		if k.get(Key{ID: ID{1}}) != nil {
			t.Fatal("it is not evicted")
		}
		if got := s.asks("key"); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
