package database_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/database"
)

var errEnough = errors.New("enough")

func TestTx(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		run(t, db, "CREATE TABLE x (v int PRIMARY KEY)")
		count := func() string { return ask(t, db, "SELECT count(*) AS v FROM x") }

		err := db.Tx(t.Context(), func(tx *database.Tx) error {
			run(t, tx, "INSERT INTO x VALUES ($1)", int64(1))
			if ask(t, tx, "SELECT v FROM x WHERE v = $1", "1") != "1" || count() != "0" {
				t.Error("inside it is seen, outside not")
			}
			return nil
		})
		if err != nil || count() != "1" {
			t.Errorf("committed: %v, %s rows", err, count())
		}
		err = db.Tx(t.Context(), func(tx *database.Tx) error {
			run(t, tx, "INSERT INTO x VALUES (2)")
			return errEnough
		})
		if err != errEnough || count() != "1" {
			t.Errorf("rolled back: %v, %s rows", err, count())
		}
		// An error that is passed over must not lose half of a transaction silently.
		err = db.Tx(t.Context(), func(tx *database.Tx) error {
			run(t, tx, "INSERT INTO x VALUES (3)")
			_, err := tx.Exec(t.Context(), "INSERT INTO x VALUES (1)")
			if !database.IsDuplicate(err) {
				t.Errorf("got %v, want a duplicate", err)
			}
			if _, err := tx.Exec(t.Context(), "INSERT INTO x VALUES (4)"); err == nil {
				t.Error("a transaction went on after an error")
			}
			return nil
		})
		if !database.IsDuplicate(err) || count() != "1" {
			t.Errorf("with an error passed over: %v, %s rows", err, count())
		}
		func() {
			defer func() { recover() }()
			db.Tx(t.Context(), func(tx *database.Tx) error {
				run(t, tx, "INSERT INTO x VALUES (5)")
				panic("in the middle")
			})
		}()
		// All four connections, one after the other: none may still be inside a transaction.
		for range 8 {
			if count() != "1" {
				t.Error("a panic committed, or kept its transaction open")
			}
		}
	})
}

// TestReadCommitted: what another transaction commits meanwhile is seen, in either dialect.
func TestReadCommitted(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		run(t, db, "CREATE TABLE x (v int)")
		err := db.Tx(t.Context(), func(tx *database.Tx) error {
			before := ask(t, tx, "SELECT count(*) AS v FROM x")
			run(t, db, "INSERT INTO x VALUES (1)")
			if after := ask(t, tx, "SELECT count(*) AS v FROM x"); before != "0" || after != "1" {
				t.Errorf("%s rows, then %s, want 0 and 1", before, after)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestTxMayTakeItsTime: the timeout is each statement's. f may ask Redis in between.
func TestTxMayTakeItsTime(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t), timeout(500*time.Millisecond))
		run(t, db, "CREATE TABLE x (v int)")
		err := db.Tx(t.Context(), func(tx *database.Tx) error {
			run(t, tx, "INSERT INTO x VALUES (1)")
			time.Sleep(600 * time.Millisecond) // longer than the timeout: nothing else shows it
			run(t, tx, "INSERT INTO x VALUES (2)")
			return nil
		})
		if got := ask(t, db, "SELECT count(*) AS v FROM x"); err != nil || got != "2" {
			t.Errorf("%v, %s rows, want 2", err, got)
		}
	})
}

func TestDeadlockIsRetryable(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		run(t, db, "CREATE TABLE x (v int PRIMARY KEY, n int)")
		run(t, db, "INSERT INTO x VALUES (1, 0), (2, 0)")
		locked := make(chan struct{}, 2)
		both := make(chan struct{})
		lock := func(first, second int64) error {
			return db.Tx(t.Context(), func(tx *database.Tx) error {
				run(t, tx, "UPDATE x SET n = 1 WHERE v = $1", first)
				locked <- struct{}{}
				<-both
				_, err := tx.Exec(t.Context(), "UPDATE x SET n = 1 WHERE v = $1", second)
				return err
			})
		}
		results := make(chan error, 2)
		go func() { results <- lock(1, 2) }()
		go func() { results <- lock(2, 1) }()
		<-locked
		<-locked
		close(both)
		a, b := <-results, <-results
		if a == nil {
			a, b = b, a
		}
		if b != nil || !database.IsRetryable(a) || errors.Is(a, database.ErrUnavailable) {
			t.Errorf("got %v and %v, want one that is retryable", a, b)
		}
	})
}

// TestLostCommit: when the server dies before it answers, nobody may believe that it is committed.
func TestLostCommit(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s := k.start(t)
		db := open(t, s.URL(), timeout(2*time.Second))
		run(t, db, "CREATE TABLE x (v int)")
		err := db.Tx(t.Context(), func(tx *database.Tx) error {
			run(t, tx, "INSERT INTO x VALUES (1)")
			s.Kill()
			return nil
		})
		mustBeAway(t, err)
	})
}
