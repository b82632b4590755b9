package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

func setting(state string, percent int) session.Setting {
	return session.Setting{State: state, Percent: percent}
}

// share writes a shared state over what the files of all replicas of these tests say.
func (w *world) share(r *migrating, state string, percent int, over session.Setting) {
	w.t.Helper()
	shared := &session.Shared{Setting: setting(state, percent), Over: over, At: time.Now(), By: "a test"}
	if err := r.redis.SetShared(w.t.Context(), shared); err != nil {
		w.t.Fatal(err)
	}
}

// follows waits until the replicas are in a state.
func follows(t *testing.T, want session.Setting, replicas ...*migrating) time.Duration {
	t.Helper()
	var took time.Duration
	for _, r := range replicas {
		took += awaitWithin(t, "a replica to be in state "+want.String(), 15*time.Second, func() bool { return r.store.Setting() == want })
	}
	return took
}

// changes are the states a replica has gone through, out of its log.
func (r *migrating) changes() (all []string) {
	for line := range strings.Lines(r.log.String()) {
		var entry struct{ Event, Reason string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Event == "migration" {
			all = append(all, entry.Reason)
		}
	}
	return all
}

// went checks these changes, and no other, were logged: each a moment after the state holds.
func (r *migrating) went(t *testing.T, want ...string) {
	t.Helper()
	awaitWithin(t, fmt.Sprintf("%d changes of the state to be logged", len(want)), 15*time.Second, func() bool { return len(r.changes()) >= len(want) })
	if got := r.changes(); !slices.Equal(got, want) {
		t.Errorf("it went %q, want %q", got, want)
	}
}

func TestEffectiveState(t *testing.T) {
	t.Parallel()
	file := setting(config.StateCanary, 5)
	shared := &session.Shared{Setting: setting(config.StatePrimary, 0), Over: file}
	for _, c := range []struct {
		name   string
		file   session.Setting
		shared *session.Shared
		want   session.Setting
	}{
		{"only a file", file, nil, file},
		{"set after the file was written", file, shared, shared.Setting},
		{"the file has another state since", setting(config.StateShadow, 5), shared, setting(config.StateShadow, 5)},
		{"the file has another share since", setting(config.StateCanary, 6), shared, setting(config.StateCanary, 6)},
		{"the file says the same since", shared.Setting, shared, shared.Setting},
	} {
		if got := c.file.Effective(c.shared); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestReplicasFollow: what was said last holds, at every replica, and a new one begins with it.
func TestReplicasFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.replica(config.StateLegacy), w.replica(config.StateLegacy)
	file := setting(config.StateLegacy, 50)
	w.share(a, config.StateShadow, 0, file)
	t.Logf("two replicas have followed after %v", follows(t, setting(config.StateShadow, 0), a, b))
	w.share(a, config.StateCanary, 7, file)
	follows(t, setting(config.StateCanary, 7), a, b)

	late := w.replica(config.StateLegacy)
	if got := late.store.Setting(); got != setting(config.StateCanary, 7) {
		t.Errorf("a new replica begins in %s, before it has looked for changes", got)
	}
	if changes := late.changes(); len(changes) != 0 {
		t.Errorf("a new replica has changed its state: %v", changes)
	}
	// One whose file was changed afterwards has been told so later.
	a.store.SetFile(setting(config.StatePrimary, 50))
	follows(t, setting(config.StatePrimary, 50), a)
	follows(t, setting(config.StateCanary, 7), b, late)
	// And the command after that was told later still.
	w.share(a, config.StateDrain, 0, setting(config.StatePrimary, 50))
	follows(t, setting(config.StateDrain, 0), a)

	if err := a.redis.SetShared(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	follows(t, setting(config.StatePrimary, 50), a)
	follows(t, file, b, late)
	b.went(t, "legacy to shadow", "shadow to canary 7 %", "canary 7 % to legacy")
}

// TestBackFromDoneGoesThroughDrain: in done a session born in the table is not known. Until no replica is in it any
// more, none makes one.
func TestBackFromDoneGoesThroughDrain(t *testing.T) {
	t.Parallel()
	for _, to := range states[:4] {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.replica(config.StateDone)
			r.set(to)
			r.went(t, "done to drain", "drain to "+setting(to, 50).String())
		})
	}
	w := newWorld(t)
	r := w.replica(config.StateDone)
	r.set(config.StateDrain)
	r.set(config.StateDone)
	r.went(t, "done to drain", "drain to done") // they are next to each other
}

// TestDamagedSharedState: the last state that could be read goes on, which is said once, and the file is still followed.
func TestDamagedSharedState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(config.StateLegacy)
	w.share(r, config.StateShadow, 0, setting(config.StateLegacy, 50))
	follows(t, setting(config.StateShadow, 0), r)
	for _, damage := range []string{"{", `{"state":"tomorrow"}`, `[]`, `{"state":7}`} {
		w.redis.Do(t, "SET", "migration", damage)
		await(t, "the damage to be seen", func() bool { return strings.Contains(r.log.String(), "damaged") })
		looks(t, w, 3)
		if got := r.store.Setting(); got != setting(config.StateShadow, 0) {
			t.Errorf("%s: the state is %s", damage, got)
		}
		if _, err := r.redis.Shared(t.Context()); !errors.Is(err, session.ErrCorrupt) || strings.Contains(err.Error(), "tomorrow") {
			t.Errorf("%s: read as %v", damage, err)
		}
	}
	if n := strings.Count(r.log.String(), "damaged"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	r.store.SetFile(setting(config.StatePrimary, 0))
	follows(t, setting(config.StatePrimary, 0), r)
	// A new replica has nothing but its file.
	if got := w.replica(config.StateLegacy).store.Setting(); got.State != config.StateLegacy {
		t.Errorf("a new replica begins in %s", got)
	}
	w.share(r, config.StateDrain, 0, setting(config.StatePrimary, 0)) // mended
	follows(t, setting(config.StateDrain, 0), r)
}

// looks waits until the replicas have looked for the shared state n times more.
func looks(t *testing.T, w *world, n int) {
	t.Helper()
	before := commands(t, w.redis, "get")
	await(t, "the replicas to look", func() bool { return commands(t, w.redis, "get") >= before+2*n })
}

// TestFollowWithoutRedis: the shared state stays as it was last read, and a changed file is followed; but not into done,
// where first all replicas must know that the rows left behind have ended.
func TestFollowWithoutRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(config.StateLegacy)
	w.share(r, config.StateShadow, 0, setting(config.StateLegacy, 50))
	follows(t, setting(config.StateShadow, 0), r)
	w.redis.Kill()
	await(t, "Redis to be missed", r.redis.Away)
	if got := r.store.Setting(); got != setting(config.StateShadow, 0) {
		t.Errorf("without Redis the state is %s", got)
	}
	r.store.SetFile(setting(config.StateDrain, 0))
	follows(t, setting(config.StateDrain, 0), r)
	r.store.SetFile(setting(config.StateDone, 0))
	time.Sleep(600 * time.Millisecond) // it looks every quarter of a second
	if got := r.store.Setting(); got != setting(config.StateDrain, 0) {
		t.Errorf("without Redis it has gone over to %s", got)
	}
	w.redis.Restart()
	follows(t, setting(config.StateDone, 0), r)
}

// TestWhatWasSaidLastHolds: a shared state that a file was changed after does not come to life again when the file is
// changed back, and replicas whose file was not changed stay where they are; and a file alone does not skip drain.
func TestWhatWasSaidLastHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.replica(config.StatePrimary), w.replica(config.StatePrimary)
	w.share(a, config.StateCanary, 30, setting(config.StatePrimary, 50))
	follows(t, setting(config.StateCanary, 30), a, b)
	a.set(config.StateLegacy)
	a.set(config.StatePrimary)
	looks(t, w, 4)
	if a.store.Setting() != setting(config.StatePrimary, 50) || b.store.Setting() != setting(config.StateCanary, 30) {
		t.Errorf("in states %s and %s", a.store.Setting(), b.store.Setting())
	}
	again := w.replica(config.StatePrimary)
	if got := again.store.Setting(); got != setting(config.StatePrimary, 50) {
		t.Errorf("one that starts afterwards is in state %s", got)
	}
	// Set again, it holds again.
	w.share(a, config.StateShadow, 0, setting(config.StatePrimary, 50))
	follows(t, setting(config.StateShadow, 0), a, b, again)

	a.store.SetFile(setting(config.StateDone, 50))
	await(t, "the refusal", func() bool { return strings.Contains(a.log.String(), "would end") })
	if got := a.store.Setting(); got != setting(config.StateShadow, 0) {
		t.Errorf("the file alone led from shadow to %s", got)
	}
}

// refuseMarks has the database refuse to mark rows; the returned statement lets it again.
func (w *world) refuseMarks() (again string) {
	w.t.Helper()
	w.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
		CREATE TRIGGER refuse BEFORE UPDATE ON sessions FOR EACH ROW WHEN (OLD.migrated_at IS NULL AND NEW.migrated_at IS NOT NULL) EXECUTE FUNCTION refuse()`)
	return "DROP TRIGGER refuse ON sessions"
}

// TestTableIsClosedBeforeItIsReadAgain: sessions that state done has left behind ended then. As long as their rows cannot
// be marked the table is not read; nobody is told that they are logged out for it.
func TestTableIsClosedBeforeItIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(config.StateDrain)
	left := w.row("1", strongToken)
	again := w.refuseMarks()
	r.set(config.StateDone)
	left.isOut(r)
	await(t, "the refusal", func() bool { return strings.Contains(r.log.String(), "cannot be marked") })
	if got := tableState(t, w); got != "closing" {
		t.Errorf("the table is %q", got)
	}
	r.set(config.StateLegacy)
	other := w.replica(config.StateLegacy) // one that was not there in done
	for _, at := range []*migrating{r, other} {
		one := *left
		if _, err := one.visit(at); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("a row that done has left behind, before it is marked: %v, want ErrUnavailable", err)
		}
		if _, err := at.tryLogin("2"); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("a login into a table that is being closed: %v, want ErrUnavailable", err)
		}
	}
	if n := strings.Count(r.log.String(), "cannot be marked"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	w.exec(again)
	await(t, "the table to be closed", func() bool { return tableState(t, w) == "closed" })
	for _, at := range []*migrating{r, other} {
		left.isOutSoon(at)
		await(t, "logins to go on", func() bool {
			_, err := at.tryLogin("2")
			return err == nil
		})
	}
}

func tableState(t *testing.T, w *world) string {
	t.Helper()
	reply := w.redis.Do(t, "GET", "migration_table")
	text, err := reply.ToString()
	if err != nil {
		return ""
	}
	return text
}

// TestTableIsClosedEachTime: also when the gateways come to done for a second time, and by being started in it.
func TestTableIsClosedEachTime(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"running", "started"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.replica(config.StateDone)
			await(t, "the table to be closed", func() bool { return tableState(t, w) == "closed" })
			r.set(config.StateLegacy)
			left := w.row("1", strongToken)
			left.isIn(r)
			last := r
			if how == "running" {
				r.set(config.StateDrain)
				r.set(config.StateDone)
			} else {
				if err := r.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				last = w.replica(config.StateDone)
			}
			(&browser{user: "1", app: strongToken}).isOut(last)
			await(t, "the row to be marked", func() bool { return w.value("SELECT count(*) FROM sessions WHERE migrated_at IS NULL") == "0" })
			last.set(config.StateDrain)
			(&browser{user: "1", app: strongToken}).isOut(last)
		})
	}
}

// TestShareOfUsers: who is in at some per cent is in at more, at every replica, and the share is about that of the users.
func TestShareOfUsers(t *testing.T) {
	t.Parallel()
	const users = 20_000
	in := make([]int, 101)
	for i := range users {
		user := fmt.Sprint(i)
		was := false
		for percent := range in {
			is := setting(config.StateCanary, percent).Moves(user)
			if was && !is {
				t.Fatalf("user %s is in at %d %% and out at %d %%", user, percent-1, percent)
			}
			if was = is; is {
				in[percent]++
			}
		}
		if setting(config.StateLegacy, 100).Moves(user) || setting(config.StateShadow, 100).Moves(user) ||
			!setting(config.StatePrimary, 0).Moves(user) || !setting(config.StateDrain, 0).Moves(user) || !setting(config.StateDone, 0).Moves(user) {
			t.Fatalf("user %s: the share counts outside canary", user)
		}
	}
	if in[0] != 0 || in[100] != users {
		t.Errorf("at 0 %% %d users are in, at 100 %% %d of %d", in[0], in[100], users)
	}
	for percent := 1; percent < 100; percent++ {
		// Five standard deviations of a fair draw; the draw is always the same.
		want, p := users*percent/100, float64(percent)/100
		if off := float64(in[percent] - want); off*off > 25*users*p*(1-p) {
			t.Errorf("at %d %% %d users are in, want about %d", percent, in[percent], want)
		}
	}
}
