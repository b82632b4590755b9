package database_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/database"
)

// TestCrashesUnderLoad: the server is killed and hung while many ask. What was acknowledged is there, all
// else was an outage, and no question got the answer of another.
func TestCrashesUnderLoad(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		const workers = 12
		s := k.start(t)
		db := open(t, s.URL(), timeout(2*time.Second), maxConnections(5))
		run(t, db, "CREATE TABLE x (v varchar(40) PRIMARY KEY, twin varchar(40))")
		stop := make(chan struct{})
		var acknowledged sync.Map
		var count atomic.Int64
		var all sync.WaitGroup
		for worker := range workers {
			all.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					id := fmt.Sprintf("%d-%d", worker, i)
					if err := store(t, db, id, i%2 == 0); err == nil {
						acknowledged.Store(id, true)
						count.Add(1)
					} else if !errors.Is(err, database.ErrUnavailable) {
						t.Errorf("%s: %v", id, err)
					} else {
						time.Sleep(time.Millisecond) // an outage is not the time to spin
					}
				}
			})
		}
		progress := func() {
			t.Helper()
			now := count.Load()
			eventually(t, "progress", func() bool { return count.Load() >= now+3*workers })
		}
		for range 2 {
			progress()
			s.Kill()
			eventually(t, "the outage", db.Away)
			s.Restart()
			progress()
			s.Stop()
			eventually(t, "the outage", db.Away)
			s.Cont()
		}
		progress()
		close(stop)
		all.Wait()
		there := map[string]bool{}
		err := db.Query(t.Context(), "SELECT v, twin FROM x", nil, func(r *database.Row) error {
			there[r.String("v")] = true
			if r.String("twin") != r.String("v") {
				t.Errorf("half of a transaction: %s", r.String("v"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		acknowledged.Range(func(id, _ any) bool {
			if !there[id.(string)] {
				t.Errorf("%s was acknowledged and is lost", id)
			}
			return true
		})
	})
}

// store adds a row, in one statement or in a transaction of three, and reads it back inside.
func store(t *testing.T, db *database.DB, id string, inTx bool) error {
	ctx := context.WithoutCancel(t.Context())
	if !inTx {
		_, err := db.Exec(ctx, "INSERT INTO x VALUES ($1, $1)", id)
		return err
	}
	return db.Tx(ctx, func(tx *database.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO x (v) VALUES ($1)", id); err != nil {
			return err
		}
		if got, err := tryAsk(t, tx, "SELECT v FROM x WHERE v = $1", id); err != nil {
			return err
		} else if got != id {
			t.Errorf("asked for %s, got %s", id, got)
		}
		_, err := tx.Exec(ctx, "UPDATE x SET twin = v WHERE v = $1", id)
		return err
	})
}

// TestDeadlineInsideTx: the caller's time ends in the middle. Nothing is committed, no lock stays, and the
// connection is good for others.
func TestDeadlineInsideTx(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t), maxConnections(2))
		run(t, db, "CREATE TABLE x (v int PRIMARY KEY, n int)")
		run(t, db, "INSERT INTO x VALUES (1, 0)")
		for range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := db.Tx(ctx, func(tx *database.Tx) error {
				run(t, tx, "UPDATE x SET n = 1 WHERE v = $1", "1")
				<-ctx.Done()
				_, err := tx.Exec(ctx, "UPDATE x SET n = 2 WHERE v = $1", "1")
				return err
			})
			cancel()
			if mustBeAway(t, err); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the caller's deadline", err)
			}
			// Would wait for the lock, and fail, if the transaction were still open.
			if n := run(t, db, "UPDATE x SET n = n WHERE v = 1 AND n = 0"); n != 1 {
				t.Error("a transaction without a commit left something behind")
			}
		}
		if db.Away() {
			t.Error("callers with little time took the database down for everybody")
		}
	})
}
