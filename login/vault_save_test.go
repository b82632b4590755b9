package login_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/login"
	"gatehouse/session"
)

// TestVaultWrites counts what costs a round trip (S09).
func TestVaultWrites(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	writes := func(want int) {
		t.Helper()
		if s.sessions.writes != want {
			t.Fatalf("%d writes, want %d", s.sessions.writes, want)
		}
	}
	s.mustSet("/", "sid=1; HttpOnly; Max-Age=1000")
	writes(1)
	for range 1000 {
		s.mustSet("/", "sid=1; HttpOnly; Max-Age=1000")
		s.want("/", "", "sid=1")
	}
	writes(1)
	s.find()
	for range 10 {
		s.wait(9 * time.Second)
		s.mustSet("/", "sid=1; HttpOnly; Max-Age=1000")
	}
	writes(1)
	s.wait(20 * time.Second)
	s.mustSet("/", "sid=1; HttpOnly; Max-Age=1000") // 110 s of 1000: worth it
	writes(2)
	s.find()
	s.wait(950 * time.Second)
	s.want("/", "", "sid=1")
	s.mustSet("/", "sid=2; HttpOnly; Max-Age=1000")
	writes(3)
	s.mustSet("/", "sid=2; HttpOnly") // until the end of the session
	writes(4)
	for range 10 {
		s.mustSet("/", "sid=2; HttpOnly")
		s.wait(time.Second)
	}
	writes(4)
	s.mustSet("/", "sid=; Max-Age=0")
	writes(5)
	s.mustSet("/", "sid=; Max-Age=0")
	writes(5)
	if passed, err := s.set("/", "other=1"); err != nil || len(passed) != 1 {
		t.Error(passed, err)
	}
	writes(5)
}

// TestVaultReadsItsOwnWrites: the session cache of this replica hears of a write only some time later.
func TestVaultReadsItsOwnWrites(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	s.mustSet("/", "sid=1; HttpOnly") // s.rec is the record from before
	s.want("/", "", "sid=1")
	s.find()
	stale := s.rec
	s.mustSet("/", "sid=2; HttpOnly")
	s.want("/", "sid=0", "sid=2")

	t.Log("another replica has gone on")
	other := &safe{t: t, vault: login.NewVault(httpOnly, s.sessions, zerolog.Nop(), s.clock), sessions: s.sessions, token: s.token, rec: s.rec}
	other.find()
	other.mustSet("/", "sid=3; HttpOnly")
	s.want("/", "", "sid=2") // not heard of yet
	s.find()
	s.want("/", "", "sid=3")
	s.rec = stale
	s.want("/", "", "sid=2") // newer than the stale record, for a while
	s.wait(2 * time.Minute)
	s.want("/", "", "sid=1")
}

// TestVaultOutage: S10 for the vault.
func TestVaultOutage(t *testing.T) {
	t.Parallel()
	t.Run("kept and written later", func(t *testing.T) {
		t.Parallel()
		s := openSafe(t, httpOnly)
		s.mustSet("/", "sid=1; HttpOnly")
		s.find()
		s.sessions.setDown(true)
		for i := 2; i < 300; i++ {
			passed, err := s.set("/", fmt.Sprintf("sid=%d; HttpOnly", i), "seen=1")
			if !errors.Is(err, session.ErrUnavailable) || len(passed) != 1 {
				t.Fatalf("passed %q, %v", passed, err)
			}
		}
		s.want("/", "sid=0", "sid=299")
		if _, err := s.set("/", "sid=; Max-Age=0", "new=1; HttpOnly"); !errors.Is(err, session.ErrUnavailable) {
			t.Fatal(err)
		}
		s.want("/", "sid=0", "new=1")

		s.sessions.setDown(false)
		s.want("/", "", "new=1")
		if s.sessions.writes != 1 {
			t.Fatal("tried again before its time")
		}
		s.wait(2 * time.Second)
		s.want("/", "", "new=1")
		if s.sessions.writes != 2 {
			t.Fatalf("%d writes, want 2", s.sessions.writes)
		}
		s.vault = login.NewVault(httpOnly, s.sessions, zerolog.Nop(), s.clock) // another replica
		s.find()
		s.want("/", "sid=0", "new=1")
	})
	t.Run("the next answer takes it along", func(t *testing.T) {
		t.Parallel()
		s := openSafe(t, httpOnly)
		s.sessions.setDown(true)
		if _, err := s.set("/", "a=1; HttpOnly"); err == nil {
			t.Fatal("no error")
		}
		s.sessions.setDown(false)
		s.mustSet("/", "b=2; HttpOnly")
		s.find()
		s.vault = login.NewVault(httpOnly, s.sessions, zerolog.Nop(), s.clock)
		s.want("/", "", "a=1; b=2")
	})
	t.Run("the session ended meanwhile", func(t *testing.T) {
		t.Parallel()
		s := openSafe(t, httpOnly)
		s.sessions.setDown(true)
		if _, err := s.set("/", "a=1; HttpOnly"); err == nil {
			t.Fatal("no error")
		}
		s.sessions.setDown(false)
		key, _ := session.ParseToken(s.token)
		if err := s.sessions.Revoke(t.Context(), key, "17"); err != nil {
			t.Fatal(err)
		}
		s.mustSet("/", "b=2; HttpOnly")
		s.want("/", "", "")
		if s.sessions.count() != 0 {
			t.Error("a session came back")
		}
	})
	t.Run("secrets that do not open", func(t *testing.T) {
		t.Parallel()
		s := openSafe(t, httpOnly)
		s.rec = &session.Record{ID: s.rec.ID, User: s.rec.User, Sealed: []byte("broken")}
		passed, err := s.set("/", "sid=1; HttpOnly", "seen=1")
		if err == nil || len(passed) != 1 {
			t.Errorf("passed %q, %v", passed, err)
		}
		if _, err := s.vault.Outgoing(s.rec, s.token, "/", "sid=0"); err == nil {
			t.Error("no error, though what the vault owns is not known")
		}
	})
}

func TestVaultFull(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	big := strings.Repeat("x", 11_000)
	s.mustSet("/", "a="+big+"; HttpOnly", "b="+big+"; HttpOnly")
	passed, err := s.set("/", "c="+big+"; HttpOnly", "d=1; HttpOnly")
	if !errors.Is(err, login.ErrJarFull) || len(passed) != 0 {
		t.Fatalf("passed %.100q, %v", passed, err)
	}
	s.want("/", "", "a="+big+"; b="+big+"; d=1")
	s.mustSet("/", "a=; Max-Age=0")
	s.mustSet("/", "c="+big+"; HttpOnly")
	s.find()
	if n := len(s.rec.Sealed); n > 44<<10 {
		t.Errorf("%d bytes, which sealed and encoded are more than session.MaxSealedSize", n)
	}
	t.Log("a flood of names")
	for i := range 300 {
		if passed, _ := s.set("/", fmt.Sprintf("n%d=1; HttpOnly", i), fmt.Sprintf("n%d=; Max-Age=0", i)); len(passed) != 0 {
			t.Fatalf("passed %q", passed)
		}
	}
	s.find()
	if n := len(s.rec.Sealed); n > 44<<10 {
		t.Errorf("%d bytes", n)
	}
	// The names that were deleted longest ago are the browser's again: a is one of them.
	s.want("/", "a=0; b=0; n299=0", "a=0; b="+big+"; d=1; c="+big)
}

// TestVaultTogether: a page's requests run at the same time, each answered with the cookie anew.
func TestVaultTogether(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	s.mustSet("/", "sid=0; HttpOnly")
	s.find()
	hold := make(chan struct{})
	s.sessions.hold = hold
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			h := http.Header{"Set-Cookie": {fmt.Sprintf("c%d=1; HttpOnly", i), fmt.Sprintf("sid=%d; HttpOnly", i+1)}}
			if err := s.vault.Incoming(t.Context(), s.rec, s.token, "/", h); err != nil {
				t.Error(err)
			}
			if got, err := s.vault.Outgoing(s.rec, s.token, "/", ""); err != nil || !strings.Contains(got, fmt.Sprintf("c%d=1", i)) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	// All are waiting for the first write, or for the one after it.
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, err := s.vault.Outgoing(s.rec, s.token, "/", "")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(got, "=1") >= 20 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all came: %q", got)
		}
		time.Sleep(time.Millisecond)
	}
	close(hold)
	wg.Wait()
	if s.sessions.writes > 3 {
		t.Errorf("%d writes for 20 answers at the same time", s.sessions.writes-1)
	}
	s.find()
	s.vault = login.NewVault(httpOnly, s.sessions, zerolog.Nop(), s.clock)
	for i := range 20 {
		if got, _ := s.vault.Outgoing(s.rec, s.token, "/", ""); !strings.Contains(got, fmt.Sprintf("c%d=1", i)) {
			t.Errorf("c%d is lost: %q", i, got)
		}
	}
}
