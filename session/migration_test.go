package session_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"gatehouse/config"
	"gatehouse/session"
)

var states = []string{config.StateLegacy, config.StateShadow, config.StateCanary, config.StatePrimary, config.StateDrain, config.StateDone}

// The tokens of sessions the application made: of more than 128 bits, and of fewer.
const (
	strongToken = "f3a1c07d5b9e8f22c6d0a7c4e1b35f98"
	weakToken   = "4711-0815"
)

// everybody is one browser of each kind there can be, logged in at r or before it came.
func everybody(r *migrating) map[string]*browser {
	all := map[string]*browser{
		"app":      r.w.row("1", strongToken),
		"app weak": r.w.row("2", weakToken),
	}
	// Enough that in canary some are in and some are not.
	for i := 3; i <= 8; i++ {
		user := fmt.Sprint(i)
		all["gateway "+user] = &browser{user: user, token: r.login(user)}
	}
	return all
}

// TestMigrationKeepsEverybodyLoggedIn: from every state to every other, with one replica ahead of the other, and then
// everywhere else: who was logged in stays so, as the same user, and who logs out stays out.
func TestMigrationKeepsEverybodyLoggedIn(t *testing.T) {
	t.Parallel()
	for _, from := range states[:5] { // in done nobody logs in into the table, and rows are no sessions
		for _, to := range states[:5] {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				testStep(t, from, to)
			})
		}
	}
}

func testStep(t *testing.T, from, to string) {
	w := newWorld(t)
	a, b := w.replica(from), w.replica(from)
	all := everybody(a)
	for _, r := range []*migrating{a, b} {
		for _, who := range all {
			who.isIn(r)
		}
	}
	// One replica is ahead; logins at the other go on.
	b.set(to)
	all["in between"] = &browser{user: "9", token: a.login("9")}
	all["in between, ahead"] = &browser{user: "10", token: b.login("10")}
	for range 2 {
		for _, r := range []*migrating{b, a} {
			for _, who := range all {
				who.isIn(r)
			}
		}
	}
	a.set(to)
	out := map[string]*browser{}
	for name, who := range all {
		who.isIn(a)
		if who.user == "3" || who.user == "4" || name == "app" {
			stolen := *who // whoever has a copy of the cookies is out as well
			who.logOut(a)
			out[name], out[name+", stolen"] = who, &stolen
			delete(all, name)
		}
	}
	for _, state := range slices.Concat(states[:5], []string{from, to}, backward(states[:5])) {
		b.set(state)
		for _, who := range out {
			who.isOutSoon(b)
		}
		for _, who := range all {
			who.isIn(b)
			who.isIn(a)
		}
	}
	w.agrees(b)
}

func backward(states []string) []string {
	back := slices.Clone(states)
	slices.Reverse(back)
	return back
}

// agrees fails unless the two stores agree.
func (w *world) agrees(r *migrating) {
	w.t.Helper()
	v, err := r.store.Verify(context.Background(), 100, func(session.Verification) {})
	if err != nil || v.Mismatched != 0 {
		w.t.Errorf("the stores do not agree: %+v, %v", v, err)
	}
}

// TestMigrationDone: everybody has come over, and then the table goes.
func TestMigrationDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(config.StateLegacy)
	all := everybody(r)
	all["left behind"] = w.row("20", "left-behind-0123456789abcdef0123456789")
	for _, state := range states[1:5] {
		r.set(state)
		for name, who := range all {
			if name != "left behind" {
				who.isIn(r)
			}
		}
	}
	r.set(config.StateDone)
	all["left behind"].isOut(r)
	await(t, "the rows left behind to be closed", func() bool {
		return w.value("SELECT count(*) FROM sessions WHERE migrated_at IS NULL") == "0"
	})
	delete(all, "left behind")
	for _, who := range all {
		who.isIn(r)
	}
	// Back: who was logged out by done does not come back.
	r.set(config.StateDrain)
	r.set(config.StateLegacy)
	for _, who := range all {
		who.isIn(r)
	}
	(&browser{user: "20", app: "left-behind-0123456789abcdef0123456789"}).isOut(r)
	all["new"] = &browser{user: "21", token: r.login("21")}
	for _, state := range []string{config.StatePrimary, config.StateDrain} {
		r.set(state)
		all["new"].isIn(r)
	}
	r.set(config.StateDone)
	w.exec("DROP TABLE sessions")
	for _, who := range all {
		who.isIn(r)
		who.logOut(r)
		who.isOut(r)
	}
}
