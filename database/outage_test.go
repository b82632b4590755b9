package database_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/database"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testpostgres"
)

// TestHang: a server that keeps its connections and answers nothing. It counts goroutines, so it is not
// parallel to others.
func TestHang(t *testing.T) {
	const bound = 500 * time.Millisecond
	for _, k := range kinds {
		t.Run(string(k.dialect), func(t *testing.T) {
			s := k.start(t)
			var log logged
			db := open(t, s.URL(), timeout(bound), logTo(&log))
			run(t, db, "CREATE TABLE x (v int)")
			before := runtime.NumGoroutine()
			s.Stop()
			begun := time.Now()
			var all sync.WaitGroup
			for range 1000 {
				all.Go(func() {
					_, err := tryAsk(t, db, "SELECT v FROM x WHERE v = $1", "1")
					mustBeAway(t, err)
				})
			}
			all.Wait()
			if took := time.Since(begun); took > 20*bound {
				t.Errorf("1000 questions took %v, many times the timeout", took)
			}
			if !db.Away() {
				t.Error("nobody noticed")
			}
			// Now they cost nothing, in a row as many as would have taken 500 s.
			begun = time.Now()
			for range 1000 {
				_, err := tryAsk(t, db, "SELECT v FROM x")
				mustBeAway(t, err, "no answer", "500ms")
			}
			if took := time.Since(begun); took > 20*bound {
				t.Errorf("1000 questions in an outage took %v", took)
			}
			// The prober's, and for each connection its farewell, which is bounded.
			eventually(t, "the end of what was left waiting", func() bool { return runtime.NumGoroutine() <= before+10 })
			s.Cont()
			eventually(t, "the recovery", func() bool { return !db.Away() })
			if got := ask(t, db, "SELECT 'back' AS v"); got != "back" {
				t.Error(got)
			}
			onceEach(t, log.String())
		})
	}
}

// onceEach: the begin and the end of an outage are one line each.
func onceEach(t *testing.T, log string) {
	t.Helper()
	mustHide(t, log)
	if strings.Count(log, "database unavailable") != 1 || strings.Count(log, "database available again") != 1 {
		t.Errorf("want one line at the begin and one at the end of the outage:\n%s", log)
	}
}

// TestCrash: kill -9 of the server, and its return.
func TestCrash(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s := k.start(t)
		var log logged
		db := open(t, s.URL(), logTo(&log))
		run(t, db, "CREATE TABLE x (v int)")
		for i := range 2 {
			run(t, db, "INSERT INTO x VALUES ($1)", int64(i))
			s.Kill()
			eventually(t, "the outage", func() bool {
				_, err := tryAsk(t, db, "SELECT v FROM x WHERE v = $1", "0")
				mustBeAway(t, err)
				return db.Away()
			})
			s.Restart()
			begun := time.Now()
			eventually(t, "the recovery", func() bool { return !db.Away() })
			t.Logf("answers again %v after the server does", time.Since(begun))
			if got := ask(t, db, "SELECT v FROM x WHERE v = $1", int64(i)); got == "" {
				t.Error("what was committed is lost")
			}
		}
		if n := strings.Count(log.String(), "database available again"); n != 2 {
			t.Errorf("%d recoveries in the log, want 2:\n%s", n, log.String())
		}
	})
}

// TestRestartBetweenQuestions: when nobody asked while the server was restarted, at most the connections that
// were open cost an error, and statements that were prepared are prepared again.
func TestRestartBetweenQuestions(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s := k.start(t)
		db := open(t, s.URL(), maxConnections(1))
		run(t, db, "CREATE TABLE x (v int)")
		run(t, db, "INSERT INTO x VALUES ($1)", int64(1))
		s.Restart()
		if _, err := tryAsk(t, db, "SELECT v FROM x WHERE v = $1", "1"); err != nil {
			mustBeAway(t, err)
		}
		if got := ask(t, db, "SELECT v FROM x WHERE v = $1", "1"); got != "1" || db.Away() {
			t.Errorf("got %q", got)
		}
	})
}

// TestSlowQuestionIsEnded: also on the server, which must not pile up work that nobody waits for.
func TestSlowQuestionIsEnded(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		url := k.fresh(t)
		db := open(t, url, timeout(time.Second))
		watch := open(t, url)
		run(t, watch, "CREATE TABLE x (v int)")
		run(t, watch, "INSERT INTO x VALUES (1)")
		// A wait for a lock: in a mere sleep MariaDB would notice by itself that nobody is there any more.
		const stuck = "UPDATE x SET v = 2 WHERE v = 1"
		name := url[strings.LastIndex(url, "/")+1:]
		name, _, _ = strings.Cut(name, "?")
		working := "SELECT count(*) AS v FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query = $2"
		if k.dialect == database.MySQL {
			working = "SELECT count(*) AS v FROM information_schema.processlist WHERE db = $1 AND info = $2"
		}
		err := watch.Tx(t.Context(), func(tx *database.Tx) error {
			run(t, tx, "UPDATE x SET v = 1")
			_, err := db.Exec(t.Context(), stuck)
			mustBeAway(t, err, "no answer", "1s")
			if db.Away() {
				t.Error("one slow question is no outage")
			}
			eventually(t, "the end of the question on the server", func() bool { return ask(t, watch, working, name, stuck) == "0" })
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if got := ask(t, db, "SELECT 'next' AS v"); got != "next" {
			t.Error(got)
		}
	})
}

// TestTooManyConnections: the server has fewer than we want.
func TestTooManyConnections(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s := k.start(t, k.limit...)
		db := open(t, s.URL(), maxConnections(30))
		errs := make(chan error, 30)
		var held sync.WaitGroup
		release := make(chan struct{})
		for range cap(errs) {
			held.Go(func() {
				errs <- db.Tx(t.Context(), func(*database.Tx) error { <-release; return nil })
			})
		}
		mustBeAway(t, <-errs, "too many connections", "database.max_connections", "replicas")
		close(release)
		held.Wait()
		eventually(t, "the recovery", func() bool { return !db.Away() })
		if got := ask(t, db, "SELECT 'room' AS v"); got != "room" {
			t.Error(got)
		}
	})
}

// TestBusyPool: that all our connections are in use is no outage, and says what to do.
func TestBusyPool(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t), timeout(time.Second), maxConnections(1))
		err := db.Tx(t.Context(), func(*database.Tx) error {
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					_, err := tryAsk(t, db, "SELECT 1 AS v")
					mustBeAway(t, err, "all 1 connections", "database.max_connections")
				})
			}
			all.Wait()
			return nil
		})
		if err != nil || db.Away() {
			t.Errorf("away %v, %v", db.Away(), err)
		}
	})
}

// TestImpatientCallers: who goes away, or has little time, says nothing about the database, and does not cost
// it a connection.
func TestImpatientCallers(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t), maxConnections(1))
		id := "SELECT pg_backend_pid() AS v"
		if k.dialect == database.MySQL {
			id = "SELECT connection_id() AS v"
		}
		first := ask(t, db, id)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, err := db.Exec(ctx, k.sleep)
			cancel()
			mustBeAway(t, err)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the caller's deadline", err)
			}
		}
		if db.Away() {
			t.Error("callers with little time took the database down for everybody")
		}
		second := ask(t, db, id)
		asked := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		err := db.Tx(ctx, func(tx *database.Tx) error {
			close(asked)
			<-ctx.Done()
			run(t, tx, "SELECT 1")
			_, err := tx.Exec(ctx, "SELECT 1")
			return err
		})
		if err != nil {
			t.Errorf("a caller who went away: %v", err)
		}
		if third := ask(t, db, id); second == first || third != second {
			t.Errorf("connections %s, %s, %s: want a new one after the deadlines, and the same after a caller went away", first, second, third)
		}
		// Who waits for a connection can go away at once.
		err = db.Tx(t.Context(), func(*database.Tx) error {
			_, err := db.Exec(ctx, "SELECT 1")
			return err
		})
		if mustBeAway(t, err); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	})
}

// TestReplica: a server that turned read-only in a failover is left, because the name may stand for another.
func TestReplica(t *testing.T) {
	t.Parallel()
	postgres := testpostgres.Start(t)
	mariadb := testmariadb.Start(t)
	mariadb.Exec(t, "CREATE USER plain@'%'; GRANT SELECT, INSERT, CREATE ON app.* TO plain@'%'")
	for _, c := range []struct {
		server
		url, id string
		become  []string
	}{
		{postgres, postgres.URL(), "SELECT pg_backend_pid() AS v", []string{"ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"}},
		{mariadb, strings.Replace(mariadb.URL(), "app@", "plain@", 1), "SELECT connection_id() AS v", []string{"SET GLOBAL read_only = 1"}},
	} {
		db := open(t, c.url, maxConnections(1))
		run(t, db, "CREATE TABLE x (v int)")
		before := ask(t, db, c.id)
		for _, statement := range c.become {
			c.Exec(t, statement)
		}
		var err error
		eventually(t, "the refusal", func() bool {
			_, err = db.Exec(t.Context(), "INSERT INTO x VALUES (1)")
			return err != nil
		})
		if errors.Is(err, database.ErrUnavailable) || db.Away() {
			t.Errorf("it can still be read: %v", err)
		}
		if after := ask(t, db, c.id); after == before {
			t.Error("the connection to the replica is kept")
		}
	}
}

func TestClose(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		if db.Dialect() != k.dialect {
			t.Errorf("dialect %s", db.Dialect())
		}
		for range 2 {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		_, err := tryAsk(t, db, "SELECT 1 AS v")
		mustBeAway(t, err, "closed")
		mustBeAway(t, db.Ping(t.Context()), "closed")
		mustBeAway(t, db.Tx(t.Context(), func(*database.Tx) error { return nil }), "closed")
	})
}
