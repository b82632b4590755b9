package session_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"gatehouse/config"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

func TestDatabaseMove(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("row", "1", 60)
		f.app("dead", "1", -1)
		born := f.login("2")
		marked := func(row string) bool {
			return f.one("SELECT migrated_at IS NULL FROM sessions WHERE id = '" + row + "'")[0] != d.choose("t", "1")[0]
		}

		own := errors.New("own")
		err := f.Move(t.Context(), session.Key{Row: "row"}, func(rec *session.Record, moved bool) error {
			if moved || rec.User.ID != "1" || rec.Key().Row != "row" {
				t.Errorf("moved %v, %+v", moved, rec)
			}
			return own
		})
		if err != own || marked("row") {
			t.Errorf("%v, marked %v: an error of f must leave all as it was", err, marked("row"))
		}
		f.finds("row")
		for i := range 2 {
			calls := 0
			err := f.Move(t.Context(), session.Key{Row: "row"}, func(_ *session.Record, moved bool) error {
				calls++
				if moved != (i == 1) {
					t.Errorf("time %d: moved %v", i, moved)
				}
				return nil
			})
			if err != nil || calls != 1 || !marked("row") {
				t.Errorf("time %d: %v, %d calls", i, err, calls)
			}
			f.lacks("row", session.ErrMigrated)
		}
		if err := f.Move(t.Context(), born.Key(), func(rec *session.Record, moved bool) error {
			if rec.ID != born.ID || moved || !rec.Born() {
				t.Errorf("%+v", rec)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if _, err := f.Find(t.Context(), born.Key()); !errors.Is(err, session.ErrMigrated) {
			t.Errorf("Find: %v", err)
		}
		if err := f.Replace(t.Context(), born, born.Clone(), hour); !errors.Is(err, session.ErrMigrated) {
			t.Errorf("Replace: %v", err)
		}
		if list, err := f.List(t.Context(), "2"); err != nil || len(list) != 0 {
			t.Errorf("listed %d, %v", len(list), err)
		}
		for _, key := range []session.Key{{Row: "dead"}, {Row: "unheard of"}, {ID: born.ID}, {}} {
			err := f.Move(t.Context(), key, func(*session.Record, bool) error { t.Error("called"); return nil })
			if !errors.Is(err, session.ErrNotFound) {
				t.Errorf("Move of %+v: %v", key, err)
			}
		}
		// A moved row is deleted like any other, but no session ended with it.
		if ids, err := f.RevokeUser(t.Context(), "2"); err != nil || len(ids) != 0 || f.one("SELECT COUNT(*) FROM sessions WHERE user_id = 2") != "0" {
			t.Errorf("ended %v, %v", ids, err)
		}
	})
}

// TestDatabaseMarkThatMarksNothing: else both the row and what came of it would live.
func TestDatabaseMarkThatMarksNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts(), func(s *dbSettings) {
			s.database.Queries.Mark = "UPDATE sessions SET migrated_at = NULL WHERE id = $1 AND user_id = 99"
		})
		f.app("row", "1", 60)
		err := f.Move(t.Context(), session.Key{Row: "row"}, func(*session.Record, bool) error { return nil })
		if !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
	})
}

// TestDatabaseMoveRaces: a session that is revoked while it moves has not both moved and survived.
// The other store is a map here: a revocation deletes the row first and what came of it second.
func TestDatabaseMoveRaces(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		const rounds = 200
		both, neither := 0, 0
		for i := range rounds {
			row := fmt.Sprintf("row%d", i)
			f.app(row, "1", 60)
			key := session.Key{Row: row, Tag: session.TagOf("1")}
			var other sync.Map
			var all sync.WaitGroup
			move := func() {
				err := f.Move(t.Context(), key, func(rec *session.Record, moved bool) error {
					if !moved {
						other.Store(rec.ID, true)
					}
					return nil
				})
				if err != nil && !errors.Is(err, session.ErrNotFound) {
					t.Errorf("Move: %v", err)
				}
			}
			all.Go(move)
			all.Go(func() {
				var err error
				if i%2 == 0 {
					_, err = f.Revoke(t.Context(), key, "1")
				} else {
					_, err = f.RevokeUser(t.Context(), "1")
				}
				if err != nil {
					t.Errorf("revoke: %v", err)
				}
				if _, came := other.LoadAndDelete(session.RowID(row)); came {
					both++
				} else {
					neither++
				}
			})
			all.Go(move)
			all.Wait()
			if _, survived := other.Load(session.RowID(row)); survived {
				t.Fatalf("round %d: a revoked session lives on where it moved to", i)
			}
			f.lacks(row, session.ErrNotFound)
		}
		t.Logf("%d of %d had moved before", both, both+neither)
	})
}

func TestDatabaseParallelMoves(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		other := openTable(t, openDB(t, f.url), dbSettings{session: config.Session{Idle: hour, Absolute: hour}})
		for i := range 20 {
			row := fmt.Sprintf("row%d", i)
			f.app(row, "1", 60)
			var mu sync.Mutex
			var first, later int
			var all sync.WaitGroup
			for n := range 6 {
				store := f.DatabaseStore
				if n%2 == 0 {
					store = other
				}
				all.Go(func() {
					err := store.Move(t.Context(), session.Key{Row: row}, func(_ *session.Record, moved bool) error {
						mu.Lock()
						defer mu.Unlock()
						if moved {
							later++
						} else {
							first++
						}
						return nil
					})
					if err != nil {
						t.Errorf("Move: %v", err)
					}
				})
			}
			all.Wait()
			if first != 1 || later != 5 {
				t.Fatalf("%d were first, %d later", first, later)
			}
		}
	})
}

func TestDatabaseCreateWith(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		rec, _ := sessiontest.Record("1")
		own := errors.New("own")
		if _, err := f.CreateWith(t.Context(), rec, f.options(), func() error { return own }); err != own {
			t.Errorf("%v, want the step's error", err)
		}
		if n := f.one("SELECT COUNT(*) FROM sessions"); n != "0" {
			t.Errorf("%s rows after a step that failed", n)
		}
		calls := 0
		for range 2 { // the second time it is there already, and the step is taken all the same
			if _, err := f.CreateWith(t.Context(), rec, f.options(), func() error { calls++; return nil }); err != nil {
				t.Error(err)
			}
		}
		if calls != 2 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestDatabaseEpochs: where a login has no point in the table's order, any revocation of the user supersedes
// it; and an order that was lost heals.
func TestDatabaseEpochs(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		create := func(user string, began session.Epoch) error {
			rec, _ := sessiontest.Record(user)
			_, err := f.Create(t.Context(), rec, f.options(func(o *session.CreateOptions) { o.Began = began }))
			return err
		}
		if err := create("1", session.Epoch{}); err != nil {
			t.Errorf("never revoked: %v", err)
		}
		for range 3 {
			if _, err := f.RevokeUser(t.Context(), "1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := create("1", session.Epoch{}); !errors.Is(err, session.ErrSuperseded) {
			t.Errorf("without a point: %v, want ErrSuperseded", err)
		}
		f.exec("DELETE FROM gatehouse_epochs WHERE user_id = ''")
		began, err := f.Epoch(t.Context())
		if err != nil || began != session.DatabaseEpochAt(0) {
			t.Fatal(began, err)
		}
		if err := create("1", began); !errors.Is(err, session.ErrSuperseded) {
			t.Errorf("%v, want ErrSuperseded", err)
		}
		began, _ = f.Epoch(t.Context())
		if err := create("1", began); err != nil || began != session.DatabaseEpochAt(3) {
			t.Errorf("after that: %v, %v", began, err)
		}
	})
}

// TestDatabaseLoginsAndRevocations: no login that began before a revocation is left after it.
func TestDatabaseLoginsAndRevocations(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		for round := range 15 {
			var all sync.WaitGroup
			opts := f.options()
			for range 4 {
				all.Go(func() {
					rec, _ := sessiontest.Record("1")
					if _, err := f.Create(t.Context(), rec, opts); err != nil && !errors.Is(err, session.ErrSuperseded) {
						t.Errorf("Create: %v", err)
					}
				})
			}
			for range 2 {
				all.Go(func() {
					if _, err := f.RevokeUser(t.Context(), "1"); err != nil {
						t.Errorf("RevokeUser: %v", err)
					}
				})
			}
			all.Wait()
			if list, err := f.List(t.Context(), "1"); err != nil || len(list) != 0 {
				t.Fatalf("round %d: %d sessions are left, %v", round, len(list), err)
			}
		}
	})
}

func TestDatabaseScan(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("a live", "1", 60)
		f.app("b dead", "2", -60)
		f.app("c nobody", "NULL", 60)
		f.app("d moved", "2", 60)
		f.exec("UPDATE sessions SET migrated_at = " + d.in(0) + " WHERE id = 'd moved'")
		f.app("e gone", "99", 60)
		f.app("f bad", "1", 60)
		f.exec("UPDATE sessions SET gatehouse = 'x' WHERE id = 'f bad'")
		born := f.login("1")
		want := map[string]string{
			"a live": "1", "b dead": "2 expired", "c nobody": "", "d moved": "2 moved", "e gone": "", "f bad": " error",
			session.RowOf(born.ID, ""): "1 born",
		}
		for _, limit := range []int{1, 3, 100} {
			got := map[string]string{}
			for after := ""; ; {
				rows, err := f.Scan(t.Context(), after, limit)
				if err != nil || len(rows) > limit {
					t.Fatal(len(rows), err)
				}
				if len(rows) == 0 {
					break
				}
				for _, r := range rows {
					text := ""
					if r.Record != nil {
						text = r.Record.User.ID
						if r.Record.Born() {
							text += " born"
						} else if r.Record.Key().Row != r.Row {
							t.Errorf("%q names row %q", r.Row, r.Record.Key().Row)
						}
					}
					if r.Moved {
						text += " moved"
					}
					if r.Expired {
						text += " expired"
					}
					if errors.Is(r.Err, session.ErrCorrupt) {
						text += " error"
					}
					got[r.Row] = text
					after = r.Row
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("limit %d: %v, want %v", limit, got, want)
			}
		}
		if c, err := f.Count(t.Context()); err != nil || c != (session.Counts{Live: 4, Moved: 1, Expired: 1}) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestDatabaseSweeps(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		for i := range 7 {
			f.app(fmt.Sprintf("live%d", i), "1", 60)
			f.app(fmt.Sprintf("dead%d", i), "2", -60-i)
		}
		f.app("nobody", "NULL", 60)
		for _, want := range []int64{3, 3, 1, 0} {
			if n, err := f.DeleteExpired(t.Context(), 3); n != want || err != nil {
				t.Errorf("deleted %d, %v; want %d", n, err, want)
			}
		}
		if err := f.Move(t.Context(), session.Key{Row: "live3"}, func(*session.Record, bool) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if n, err := f.DeleteMoved(t.Context(), []string{"live3", "live4", "unheard of", ""}); n != 1 || err != nil {
			t.Errorf("deleted %d, %v; want the one that is marked", n, err)
		}
		f.finds("live4")
		for _, want := range []int64{4, 2, 0} {
			if n, err := f.MarkAll(t.Context(), 4); n != want || err != nil {
				t.Errorf("marked %d, %v; want %d", n, err, want)
			}
		}
		f.app("a late one", "1", 60)
		for _, want := range []int64{1, 0} {
			if n, err := f.MarkAll(t.Context(), 4); n != want || err != nil {
				t.Errorf("marked %d, %v; want %d", n, err, want)
			}
		}
		f.lacks("live4", session.ErrMigrated)
		if c, err := f.Count(t.Context()); err != nil || c != (session.Counts{Moved: 7}) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// TestDatabaseMarkAllComesRound: a row that comes in behind it while it works is marked too.
func TestDatabaseMarkAllComesRound(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("m", "1", 60)
		f.app("n", "1", 60)
		if n, err := f.MarkAll(t.Context(), 1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		f.app("a", "1", 60)
		var got []int64
		for range 3 {
			n, err := f.MarkAll(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if !slices.Equal(got, []int64{1, 1, 0}) {
			t.Errorf("marked %v", got)
		}
	})
}
