// Package sessiontest is the contract of session.Store as tests. Every store passes the same ones.
package sessiontest

import (
	"testing"
	"time"

	"gatehouse/session"
)

// New makes an empty store for one test, and gives a function that lets the store's own time pass: at
// once where that can be done, by waiting where it cannot. The suite asks for fractions of a
// second only.
type New func(t *testing.T) (store session.Store, advance func(time.Duration))

// Option says what is different about a store.
type Option func(*suite)

type suite struct {
	born    bool
	without map[string]string
}

// InTable is for stores of the application's table: their keys say that the session was born there.
func InTable() Option { return func(s *suite) { s.born = true } }

// Without leaves a test out, by its name, because the store cannot do what it asks for; why is logged. The
// tests that may be left out are those Capabilities names: all others are the contract's core.
func Without(test, why string) Option { return func(s *suite) { s.without[test] = why } }

// Capabilities are the tests a store may do without, and what is lost with each.
func Capabilities() map[string]string {
	return map[string]string{
		nulTest: "such users cannot have sessions there: ErrInvalidUser",
	}
}

// Run runs the contract over the stores that newStore makes.
func Run(t *testing.T, newStore New, opts ...Option) {
	s := &suite{without: map[string]string{}}
	for _, opt := range opts {
		opt(s)
	}
	s.check(t)
	tests := []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"create and find", testCreateFind},
		{"absent", testAbsent},
		{"create never overwrites", testCreateTwice},
		{"create is bounded in size", testTooLarge},
		{"evicts the oldest", testEvict},
		{"rejects at the limit", testReject},
		{"replaces in one step", testReplaces},
		{"limit holds under parallel logins", testParallelLimit},
		{"superseded logins", testSuperseded},
		{"replace", testReplace},
		{"replace is a compare and set", testReplaceConflict},
		{"replace brings nothing back", testReplaceGone},
		{"parallel replaces lose nothing", testParallelReplace},
		{"revoke", testRevoke},
		{"revoke all of a user", testRevokeUser},
		{"revoke all but one", testRevokeOthers},
		{"list", testList},
		{"expiry", testExpiry},
		{"replace prolongs", testProlong},
		{"a caller who has gone", testCancelled},
		{"strange user IDs", testUserIDs},
		{"users who are alike", testAlike},
		{nulTest, testNUL},
		{"closed", testClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store, advance := newStore(t)
			f := &fixture{t: t, store: store, advance: advance, born: s.born}
			if why, ok := s.without[test.name]; ok {
				t.Logf("not for this store: %s", why)
				testRefused(t, f)
				return
			}
			test.run(t, f)
		})
	}
}

// check refuses to leave out more than may be.
func (s *suite) check(t *testing.T) {
	t.Helper()
	for test, why := range s.without {
		if _, ok := Capabilities()[test]; !ok || why == "" {
			t.Fatalf("%q cannot be left out, or no reason is given", test)
		}
	}
}

// Record makes a session's record for a user, and the token that names it.
func Record(user string) (*session.Record, string) {
	token := session.NewToken(user)
	key, ok := session.ParseToken(token)
	if !ok {
		panic("a new token is none")
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	return &session.Record{
		ID: key.ID, User: session.User{ID: user, Email: user + "@example.com", Role: "user"},
		CreatedAt: now, LastAccessed: now, ExpiresAt: now.Add(24 * time.Hour), Backend: "file",
	}, token
}

// long is longer than any test runs, short and longer are for expiry.
const (
	long   = time.Hour
	short  = 150 * time.Millisecond
	longer = 250 * time.Millisecond
)

type fixture struct {
	t       *testing.T
	store   session.Store
	advance func(time.Duration)
	born    bool // in the application's table
}

// key is where the store has a record that the test has made.
func (f *fixture) key(rec *session.Record) session.Key {
	key := rec.Key()
	key.Database = f.born
	return key
}

func options() session.CreateOptions {
	return session.CreateOptions{TTL: long, MaxPerUser: 20}
}

// begin gives a login's epoch.
func (f *fixture) begin() session.Epoch {
	f.t.Helper()
	epoch, err := f.store.Epoch(f.t.Context())
	if err != nil {
		f.t.Fatalf("Epoch: %v", err)
	}
	return epoch
}

// create makes a session with options that change may alter.
func (f *fixture) create(user string, change ...func(*session.CreateOptions)) (*session.Record, []session.ID) {
	f.t.Helper()
	rec, _ := Record(user)
	ended, err := f.add(rec, change...)
	if err != nil {
		f.t.Fatalf("Create: %v", err)
	}
	return rec, ended
}

func (f *fixture) add(rec *session.Record, change ...func(*session.CreateOptions)) ([]session.ID, error) {
	f.t.Helper()
	opts := options()
	opts.Began = f.begin()
	for _, c := range change {
		c(&opts)
	}
	return f.store.Create(f.t.Context(), rec, opts)
}

func (f *fixture) find(key session.Key) *session.Record {
	f.t.Helper()
	found, err := f.store.Find(f.t.Context(), key)
	if err != nil {
		f.t.Fatalf("Find: %v", err)
	}
	if found.Record.ID != key.ID || found.VerifiedAt.IsZero() {
		f.t.Fatalf("found %v, verified at %v", found.Record.ID, found.VerifiedAt)
	}
	return found.Record
}

// gone fails unless there is no such session.
func (f *fixture) gone(rec *session.Record) {
	f.t.Helper()
	if found, err := f.store.Find(f.t.Context(), f.key(rec)); err == nil || !isNotFound(err) {
		f.t.Errorf("Find gives %v, %v; want ErrNotFound", found.Record, err)
	}
	for _, id := range f.listed(rec.User.ID) {
		if id == rec.ID {
			f.t.Error("the session is gone and still listed")
		}
	}
}

// listed gives the IDs of the user's sessions in order.
func (f *fixture) listed(user string) []session.ID {
	f.t.Helper()
	list, err := f.store.List(f.t.Context(), user)
	if err != nil {
		f.t.Fatalf("List: %v", err)
	}
	ids := []session.ID{}
	for _, rec := range list {
		ids = append(ids, rec.ID)
	}
	return ids
}
