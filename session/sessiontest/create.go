package sessiontest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/session"
)

func isNotFound(err error) bool { return errors.Is(err, session.ErrNotFound) }

func testCreateFind(t *testing.T, f *fixture) {
	rec, _ := Record("42")
	rec.User.Name, rec.User.EmailVerified = `Jösé "the\`+"\r\n<b>", true
	rec.IP, rec.UserAgent, rec.Sealed = "2001:db8::1", strings.Repeat("ü", 200), []byte{0, 1, 255}
	rec.Unknown = map[string]json.RawMessage{"later": json.RawMessage(`{"big":9007199254740993,"none":[]}`)}
	if ended, err := f.add(rec); err != nil || len(ended) != 0 {
		t.Fatalf("ended %v, %v", ended, err)
	}
	for range 3 { // from the store, from memory
		got := f.find(f.key(rec))
		if got.User != rec.User || got.Backend != "file" || got.IP != rec.IP || !slices.Equal(got.Sealed, rec.Sealed) {
			t.Errorf("got %+v, want %+v", got, rec)
		}
		if !got.CreatedAt.Equal(rec.CreatedAt) || !got.LastAccessed.Equal(rec.LastAccessed) || !got.ExpiresAt.Equal(rec.ExpiresAt) {
			t.Errorf("times %v %v %v", got.CreatedAt, got.LastAccessed, got.ExpiresAt)
		}
		if len(got.UserAgent) != session.MaxUserAgent {
			t.Errorf("user agent of %d bytes", len(got.UserAgent))
		}
		if string(got.Unknown["later"]) != `{"big":9007199254740993,"none":[]}` {
			t.Errorf("unknown fields %s", got.Unknown)
		}
	}
	if ids := f.listed("42"); !slices.Equal(ids, []session.ID{rec.ID}) {
		t.Errorf("listed %v", ids)
	}
}

func testAbsent(t *testing.T, f *fixture) {
	rec, _ := Record("u")
	other, _ := Record("v")
	f.gone(rec)
	f.create("u")
	f.gone(rec)
	if _, err := f.add(other); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Find(t.Context(), session.Key{Tag: f.key(rec).Tag, ID: other.ID, Database: f.born}); !isNotFound(err) {
		t.Errorf("a session under another user's tag: %v, want ErrNotFound", err)
	}
}

func testCreateTwice(t *testing.T, f *fixture) {
	rec, _ := f.create("u")
	if _, err := f.add(rec); err != nil {
		t.Errorf("the same again: %v, want success", err)
	}
	changed := rec.Clone()
	changed.User.Role = "admin"
	if _, err := f.add(changed); !errors.Is(err, session.ErrConflict) {
		t.Errorf("another record under the ID: %v, want ErrConflict", err)
	}
	if got := f.find(f.key(rec)); got.User.Role != "user" || len(f.listed("u")) != 1 {
		t.Errorf("role %q, %d sessions", got.User.Role, len(f.listed("u")))
	}
}

func testTooLarge(t *testing.T, f *fixture) {
	for name, change := range map[string]func(*session.Record){
		"name":   func(r *session.Record) { r.User.Name = strings.Repeat("x", session.MaxRecordSize) },
		"sealed": func(r *session.Record) { r.Sealed = make([]byte, session.MaxSealedSize) },
	} {
		rec, _ := Record("u")
		change(rec)
		if _, err := f.add(rec); !errors.Is(err, session.ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
		f.gone(rec)
	}
}

func testEvict(t *testing.T, f *fixture) {
	limit := func(o *session.CreateOptions) { o.MaxPerUser = 3 }
	var made []session.ID
	for i := range 8 {
		rec, ended := f.create("u", limit)
		made = append(made, rec.ID)
		var want []session.ID
		if i >= 3 {
			want = made[i-3 : i-2]
		}
		if !slices.Equal(ended, want) {
			t.Errorf("session %d ended %v, want %v", i, ended, want)
		}
		if want := made[max(0, i-2):]; !sameSet(f.listed("u"), want) {
			t.Errorf("after session %d: listed %v, want %v", i, f.listed("u"), want)
		}
	}
	// A lowered limit ends as many as it takes.
	if _, ended := f.create("u", func(o *session.CreateOptions) { o.MaxPerUser = 1 }); !slices.Equal(ended, made[5:]) {
		t.Errorf("ended %v, want %v", ended, made[5:])
	}
	// And what was evicted is gone, not only unlisted.
	for _, id := range made {
		if _, err := f.store.Find(t.Context(), session.Key{Tag: session.TagOf("u"), ID: id, Database: f.born}); !isNotFound(err) {
			t.Errorf("evicted session: %v, want ErrNotFound", err)
		}
	}
	f.create("other", limit)
}

func testReject(t *testing.T, f *fixture) {
	reject := func(o *session.CreateOptions) { o.MaxPerUser, o.RejectAtLimit = 2, true }
	first, _ := f.create("u", reject)
	f.create("u", reject)
	rec, _ := Record("u")
	if _, err := f.add(rec, reject); !errors.Is(err, session.ErrLimit) {
		t.Fatalf("%v, want ErrLimit", err)
	}
	f.gone(rec)
	f.find(f.key(first))
	if _, err := f.store.Revoke(t.Context(), f.key(first), "u"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.add(rec, reject); err != nil {
		t.Errorf("with a place free: %v", err)
	}
}

func testReplaces(t *testing.T, f *fixture) {
	old, _ := f.create("u")
	next, ended := f.create("u", func(o *session.CreateOptions) {
		o.Replaces, o.MaxPerUser, o.RejectAtLimit = old.ID, 1, true
	})
	if !slices.Equal(ended, []session.ID{old.ID}) {
		t.Errorf("ended %v, want the replaced one", ended)
	}
	f.gone(old)
	f.find(f.key(next))
	// One that is gone already is no error, and not reported.
	if _, ended := f.create("u", func(o *session.CreateOptions) { o.Replaces = old.ID }); len(ended) != 0 {
		t.Errorf("ended %v, want none", ended)
	}
}

func testParallelLimit(t *testing.T, f *fixture) {
	for _, reject := range []bool{false, true} {
		user, limit := "evict", 3
		if reject {
			user = "reject"
		}
		var over sync.Map
		var made, refused, evicted counter
		parallel(8, 10, func() {
			rec, _ := Record(user)
			ended, err := f.add(rec, func(o *session.CreateOptions) { o.MaxPerUser, o.RejectAtLimit = limit, reject })
			switch {
			case err == nil:
				made.add(1)
			case reject && errors.Is(err, session.ErrLimit):
				refused.add(1)
			default:
				t.Errorf("Create: %v", err)
			}
			evicted.add(len(ended))
			if list, err := f.store.List(context.Background(), user); err != nil || len(list) > limit {
				over.Store(len(list), err)
			}
		})
		over.Range(func(n, err any) bool {
			t.Errorf("%s: %v sessions at once, limit %d, %v", user, n, limit, err)
			return true
		})
		if made.n-evicted.n != limit || made.n+refused.n != 80 || len(f.listed(user)) != limit {
			t.Errorf("%s: %d made, %d refused, %d evicted, %d left", user, made.n, refused.n, evicted.n, len(f.listed(user)))
		}
	}
}

func testSuperseded(t *testing.T, f *fixture) {
	began := f.begin()
	old := func(o *session.CreateOptions) { o.Began = began }
	if _, err := f.store.RevokeUser(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	rec, _ := Record("u")
	if _, err := f.add(rec, old); !errors.Is(err, session.ErrSuperseded) {
		t.Errorf("a login that began before: %v, want ErrSuperseded", err)
	}
	f.gone(rec)
	if _, err := f.add(rec); err != nil {
		t.Errorf("a login that began after: %v", err)
	}
	f.create("v", old) // another user's login is not concerned
	if _, err := f.store.RevokeUser(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	f.gone(rec)
}

func sameSet(a, b []session.ID) bool {
	for _, id := range a {
		if !slices.Contains(b, id) {
			return false
		}
	}
	return len(a) == len(b)
}

// counter counts from many goroutines.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	c.n += n
	c.mu.Unlock()
}

// parallel runs f rounds times in each of n goroutines.
func parallel(n, rounds int, f func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for range rounds {
				f()
			}
		})
	}
	all.Wait()
}
