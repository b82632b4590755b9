package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"gatehouse/config"
	"gatehouse/session"
)

// TestS03_LoginEndsWhatCameOver: the session a browser logs in with ends for good, whether it came over to Redis before
// that or would have come over after it.
func TestS03_LoginEndsWhatCameOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	legacy := w.replica(config.StateLegacy)
	a, b := w.replica(config.StatePrimary), w.replica(config.StatePrimary)
	for i := range 10 {
		user := fmt.Sprint(i + 1)
		old := &browser{user: user, token: legacy.login(user)}
		if i%2 == 0 {
			old.isIn(b)
		}
		loginOver(t, a, session.Login{User: session.User{ID: user}, Previous: old.token})
		for _, r := range []*migrating{b, a, legacy} {
			old.isOutSoon(r)
		}
	}
}

// TestS03_LoginInDoneEndsTheApplicationsSession: what the browser still brings of the application's ends in state done, too.
func TestS03_LoginInDoneEndsTheApplicationsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := w.row("1", strongToken)
	r := w.replica(config.StatePrimary)
	who.isIn(r)
	r.set(config.StateDrain)
	r.set(config.StateDone)
	app, ok := r.cookie.Read(http.Header{"Cookie": {"sid=" + strongToken}})
	if !ok {
		t.Fatal("the application's cookie is not read")
	}
	loginOver(t, r, session.Login{User: session.User{ID: "4"}, PreviousApp: app})
	stolen := browser{user: "1", app: strongToken}
	stolen.isOut(r)
	if s, err := who.visit(r); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("its new token is still good: %v, %v", s.Record, err)
	}
}

// loginOver logs somebody in whose browser comes with a session.
func loginOver(t *testing.T, r *migrating, l session.Login) {
	t.Helper()
	var err error
	if l.Began, err = r.Begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, _, err = r.Create(context.Background(), l); err != nil {
		t.Fatal(err)
	}
}
