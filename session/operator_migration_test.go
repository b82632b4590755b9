package session_test

import (
	"errors"
	"testing"

	"gatehouse/session"
)

// While sessions move, those of the application's table belong to it: shown by beginning, listed, and ended.
func TestOperatorWhileSessionsMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, state := range []string{"legacy", "shadow", "primary"} {
		t.Run(state, func(t *testing.T) {
			r, user := w.replica(state), map[string]string{"legacy": "3", "shadow": "4", "primary": "5"}[state]
			o := session.NewOperator(r.Manager)
			old := w.row(user, "token-of-the-application-"+state)
			token := r.login(user)
			list, err := o.List(t.Context(), user)
			if err != nil || len(list) != 2 {
				t.Fatalf("%v, %v", list, err)
			}
			for _, rec := range list {
				for _, who := range []string{"", user} {
					for _, id := range []string{rec.ID.String(), rec.ID.Short()} {
						got, err := o.Show(t.Context(), id, who)
						if err != nil || got.ID != rec.ID || got.View().Store != rec.View().Store {
							t.Errorf("%q of user %q: %v, %v", id, who, got, err)
						}
					}
				}
			}
			stores := map[session.Source]int{}
			for _, rec := range list {
				stores[rec.View().Store]++
			}
			if inTable := map[string]int{"legacy": 2, "shadow": 2, "primary": 1}[state]; stores[session.FromDatabase] != inTable {
				t.Errorf("in the stores: %v", stores)
			}
			for _, rec := range list {
				shown, err := o.Show(t.Context(), rec.ID.Short(), "")
				if err := errors.Join(err, o.Revoke(t.Context(), shown)); err != nil {
					t.Fatal(err)
				}
				if _, err := o.Show(t.Context(), rec.ID.String(), ""); !isError(err, session.ErrNotFound) {
					t.Errorf("after its end: %v", err)
				}
			}
			old.isOut(r)
			(&browser{user: user, token: token}).isOut(r)
		})
	}
}

// The copy of a row that is gone is no session.
func TestOperatorTakesNoCopyForASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica("shadow")
	o := session.NewOperator(r.Manager)
	key := keyOf(t, r.login("7"))
	await(t, "the copy", func() bool {
		s, err := o.Stats(t.Context(), nil)
		return err == nil && s.Copies == 1
	})
	w.exec("DELETE FROM sessions")
	for _, user := range []string{"", "7"} {
		if got, err := o.Show(t.Context(), key.ID.String(), user); !isError(err, session.ErrNotFound) {
			t.Errorf("of user %q: %v, %v", user, got, err)
		}
	}
}

// An operator does not take a table that cannot be asked for one without sessions.
func TestOperatorWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica("primary")
	o := session.NewOperator(r.Manager)
	key := keyOf(t, r.login("8"))
	w.exec("ALTER TABLE sessions RENAME TO away")
	if _, err := o.Show(t.Context(), key.ID.Short(), ""); !isError(err, session.ErrUnavailable) {
		t.Errorf("show: %v", err)
	}
	if _, err := o.List(t.Context(), "8"); !isError(err, session.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
}
