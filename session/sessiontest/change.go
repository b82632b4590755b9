package sessiontest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/session"
)

func testReplace(t *testing.T, f *fixture) {
	rec, _ := Record("u")
	rec.Unknown = map[string]json.RawMessage{"theirs": json.RawMessage(`17`)}
	if _, err := f.add(rec); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		old := f.find(f.key(rec))
		next := old.Clone()
		next.User.Role = "role" + strconv.Itoa(i)
		if err := f.store.Replace(t.Context(), old, next, long); err != nil {
			t.Fatalf("Replace: %v", err)
		}
		// At once: a cache that has not heard yet must not answer.
		got := f.find(f.key(rec))
		if got.User.Role != next.User.Role || string(got.Unknown["theirs"]) != "17" {
			t.Fatalf("role %q, want %q; unknown %s", got.User.Role, next.User.Role, got.Unknown)
		}
		if old.User.Role == got.User.Role {
			t.Fatal("a shared record was changed")
		}
	}
	old := f.find(f.key(rec))
	next := old.Clone()
	next.User.ID = "somebody else"
	if err := f.store.Replace(t.Context(), old, next, long); err == nil {
		t.Error("a session was given to another user")
	}
}

func testReplaceConflict(t *testing.T, f *fixture) {
	rec, _ := f.create("u")
	old := f.find(f.key(rec))
	first, second := old.Clone(), old.Clone()
	first.User.Role, second.User.Role = "first", "second"
	if err := f.store.Replace(t.Context(), old, first, long); err != nil {
		t.Fatal(err)
	}
	err := f.store.Replace(t.Context(), old, second, long)
	var conflict *session.ConflictError
	if !errors.Is(err, session.ErrConflict) || !errors.As(err, &conflict) {
		t.Fatalf("%v, want a ConflictError", err)
	}
	if conflict.Current.User.Role != "first" {
		t.Errorf("the store holds %q, want first", conflict.Current.User.Role)
	}
	if err := f.store.Replace(t.Context(), conflict.Current, second, long); err != nil {
		t.Errorf("on with what the store holds: %v", err)
	}
	if got := f.find(f.key(rec)); got.User.Role != "second" {
		t.Errorf("role %q", got.User.Role)
	}
}

func testReplaceGone(t *testing.T, f *fixture) {
	rec, _ := f.create("u")
	old := f.find(f.key(rec))
	if _, err := f.store.Revoke(t.Context(), f.key(rec), "u"); err != nil {
		t.Fatal(err)
	}
	if err := f.store.Replace(t.Context(), old, old.Clone(), long); !isNotFound(err) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	f.gone(rec)
}

func testParallelReplace(t *testing.T, f *fixture) {
	rec, _ := f.create("u")
	f.find(f.key(rec))
	var done counter
	parallel(6, 10, func() {
		found, err := f.store.Find(context.Background(), f.key(rec))
		if err != nil {
			t.Errorf("Find: %v", err)
			return
		}
		for current := found.Record; ; {
			next := current.Clone()
			n, _ := strconv.Atoi(current.User.Name)
			next.User.Name = strconv.Itoa(n + 1)
			err := f.store.Replace(context.Background(), current, next, long)
			if err == nil {
				done.add(1)
				return
			}
			var conflict *session.ConflictError
			if !errors.As(err, &conflict) {
				t.Errorf("Replace: %v", err)
				return
			}
			current = conflict.Current
		}
	})
	if got := f.find(f.key(rec)); got.User.Name != "60" || done.n != 60 {
		t.Errorf("%d changes, counted %s", done.n, got.User.Name)
	}
}

func testRevoke(t *testing.T, f *fixture) {
	for _, user := range []string{"u", ""} { // "": whose it is is not known
		rec, _ := f.create("u")
		f.find(f.key(rec))
		for _, want := range []bool{true, false} {
			there, err := f.store.Revoke(t.Context(), f.key(rec), user)
			if err != nil || there != want {
				t.Errorf("Revoke as %q: %v, %v; want %v", user, there, err, want)
			}
			f.gone(rec)
		}
	}
}

func testRevokeUser(t *testing.T, f *fixture) {
	if ids, err := f.store.RevokeUser(t.Context(), "u"); err != nil || len(ids) != 0 {
		t.Errorf("without sessions: %v, %v", ids, err)
	}
	var want []session.ID
	var all []*session.Record
	for range 5 {
		rec, _ := f.create("u")
		f.find(f.key(rec))
		want, all = append(want, rec.ID), append(all, rec)
	}
	other, _ := f.create("v")
	ids, err := f.store.RevokeUser(t.Context(), "u")
	if err != nil || !sameSet(ids, want) {
		t.Errorf("ended %v, %v; want %v", ids, err, want)
	}
	for _, rec := range all {
		f.gone(rec)
	}
	f.find(f.key(other))
}

func testRevokeOthers(t *testing.T, f *fixture) {
	a, _ := f.create("u")
	b, _ := f.create("u")
	c, _ := f.create("u")
	ids, err := f.store.RevokeUser(t.Context(), "u", b.ID)
	if err != nil || !sameSet(ids, []session.ID{a.ID, c.ID}) {
		t.Errorf("ended %v, %v", ids, err)
	}
	f.gone(a)
	f.gone(c)
	f.find(f.key(b))
	if ids := f.listed("u"); !slices.Equal(ids, []session.ID{b.ID}) {
		t.Errorf("listed %v", ids)
	}
}

func testList(t *testing.T, f *fixture) {
	var want []session.ID
	base := time.Now().UTC().Truncate(time.Millisecond)
	for i := range 5 {
		rec, _ := Record("u")
		// Made in another order than their age.
		rec.CreatedAt = base.Add(time.Duration((i*2)%5) * time.Minute)
		if _, err := f.add(rec); err != nil {
			t.Fatal(err)
		}
		want = append(want, rec.ID)
	}
	order := []session.ID{want[0], want[3], want[1], want[4], want[2]}
	if got := f.listed("u"); !slices.Equal(got, order) {
		t.Errorf("listed %v, want the oldest first: %v", got, order)
	}
	if got := f.listed("nobody"); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
}

func testExpiry(t *testing.T, f *fixture) {
	began := time.Now()
	rec, _ := f.create("u", func(o *session.CreateOptions) { o.TTL = short })
	// On a busy machine its time may be over by now.
	if _, err := f.store.Find(t.Context(), f.key(rec)); err != nil && time.Since(began) < short {
		t.Fatalf("Find: %v", err)
	}
	stays, _ := f.create("u")
	f.advance(longer)
	await(t, "the session to expire", func() bool {
		_, err := f.store.Find(t.Context(), f.key(rec))
		return isNotFound(err)
	})
	f.gone(rec)
	f.find(f.key(stays))
	// An expired session takes no place.
	reject := func(o *session.CreateOptions) { o.MaxPerUser, o.RejectAtLimit = 2, true }
	f.create("u", reject)
}

func testProlong(t *testing.T, f *fixture) {
	rec, _ := f.create("u", func(o *session.CreateOptions) { o.TTL = time.Second })
	old := f.find(f.key(rec))
	next := old.Clone()
	next.LastAccessed = next.LastAccessed.Add(time.Millisecond)
	if err := f.store.Replace(t.Context(), old, next, long); err != nil {
		t.Fatal(err)
	}
	f.advance(1200 * time.Millisecond)
	f.find(f.key(rec))
	if len(f.listed("u")) != 1 {
		t.Error("the index did not learn of the renewal")
	}
}

func testCancelled(t *testing.T, f *fixture) {
	rec, _ := f.create("u")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.store.Find(ctx, f.key(rec)); err != nil {
		t.Errorf("Find with a cancelled context: %v", err)
	}
}

// nulTest is the one test that a store may do without.
const (
	nulTest = "user ID with a NUL"
	nulUser = "a\x00b"
)

func testNUL(_ *testing.T, f *fixture) { f.user(nulUser) }

// testRefused stands in for testNUL: what a store cannot it must say.
func testRefused(t *testing.T, f *fixture) {
	rec, _ := Record(nulUser)
	if _, err := f.add(rec); !errors.Is(err, session.ErrInvalidUser) {
		t.Errorf("a user the store cannot have: %v, want ErrInvalidUser", err)
	}
	f.gone(rec)
	if ids, err := f.store.RevokeUser(t.Context(), nulUser); err != nil || len(ids) != 0 {
		t.Errorf("ended %v, %v", ids, err)
	}
}

// testAlike: a database may take users for one that are not (case, trailing spaces, accents).
func testAlike(t *testing.T, f *fixture) {
	users := []string{"a", "A", "a ", "ä", "7", "07"}
	all := map[string]*session.Record{}
	for _, user := range users {
		all[user], _ = f.create(user, func(o *session.CreateOptions) { o.MaxPerUser = 1 })
	}
	for i, user := range users {
		if ids := f.listed(user); !slices.Equal(ids, []session.ID{all[user].ID}) {
			t.Errorf("user %q has %d sessions", user, len(ids))
		}
		if ids, err := f.store.RevokeUser(t.Context(), user); err != nil || !slices.Equal(ids, []session.ID{all[user].ID}) {
			t.Errorf("user %q: ended %v, %v", user, ids, err)
		}
		for _, other := range users[i+1:] {
			f.find(f.key(all[other]))
		}
	}
}

// user goes through a user's session.
func (f *fixture) user(user string) {
	rec, _ := f.create(user)
	if got := f.find(f.key(rec)); got.User.ID != user {
		f.t.Errorf("user %q became %q", user, got.User.ID)
	}
	if ids, err := f.store.RevokeUser(f.t.Context(), user); err != nil || len(ids) != 1 {
		f.t.Errorf("user %q: ended %v, %v", user, ids, err)
	}
	f.gone(rec)
}

func testUserIDs(t *testing.T, f *fixture) {
	for _, user := range []string{
		"0", "7", "007", "-7", "9007199254740991", "9007199254740992", "12345678901234567890", "1.0", "1e3",
		"a b", "}{", "{x}", "ü", "a:b", "*", strings.Repeat("x", 500), "\"", "null", "true", "A", "a", "a ", "'; DROP TABLE sessions; --",
	} {
		f.user(user)
	}
	for _, user := range []string{"", "\xff"} {
		rec, _ := Record(user)
		if _, err := f.add(rec); !errors.Is(err, session.ErrInvalidUser) {
			t.Errorf("user %q: %v, want ErrInvalidUser", user, err)
		}
	}
}

func testClosed(t *testing.T, f *fixture) {
	rec, _ := f.create("u")
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	_, findErr := f.store.Find(t.Context(), f.key(rec))
	_, epochErr := f.store.Epoch(t.Context())
	_, createErr := f.store.Create(t.Context(), rec, options())
	_, revokeErr := f.store.Revoke(t.Context(), f.key(rec), "u")
	_, userErr := f.store.RevokeUser(t.Context(), "u")
	_, listErr := f.store.List(t.Context(), "u")
	replaceErr := f.store.Replace(t.Context(), rec, rec.Clone(), long)
	for i, err := range []error{findErr, epochErr, createErr, revokeErr, userErr, listErr, replaceErr, f.store.Ping(t.Context())} {
		if !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("call %d after Close: %v, want ErrUnavailable", i, err)
		}
	}
	if err := f.store.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// await waits for something that happens elsewhere.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
