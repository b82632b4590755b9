package database_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse/database"
	"gatehouse/internal/testpostgres"
)

// TestRefusals: an error of one statement is no outage, says what is wrong, and never with the values.
func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		run(t, db, "CREATE TABLE x (name varchar(30) PRIMARY KEY, n int NOT NULL CHECK (n < 10), at timestamp NULL, short varchar(3))")
		run(t, db, "INSERT INTO x VALUES ($1, 1, NULL, NULL)", secret)
		for _, c := range []struct {
			name, statement string
			args            []any
			is              func(error) bool
			says            string
		}{
			{"syntax", "SELEC $1", []any{secret}, nil, "SELEC"},
			{"table", "SELECT * FROM nowhere WHERE v = $1", []any{secret}, database.IsMissingTable, "nowhere"},
			{"column", "SELECT nothing FROM x WHERE name = $1", []any{secret}, database.IsMissingColumn, "nothing"},
			{"duplicate", "INSERT INTO x VALUES ($1, 1, NULL, NULL)", []any{secret}, database.IsDuplicate, ""},
			{"null", "INSERT INTO x VALUES ($1, NULL, NULL, NULL)", []any{secret + "2"}, nil, "n"},
			{"check", "INSERT INTO x VALUES ($1, 10, NULL, NULL)", []any{secret + "2"}, nil, ""},
			{"number", "INSERT INTO x VALUES ('a', $1, NULL, NULL)", []any{secret}, nil, ""},
			{"range", "INSERT INTO x VALUES ('a', $1, NULL, NULL)", []any{"99999999999"}, nil, ""},
			{"time", "INSERT INTO x VALUES ('a', 1, $1, NULL)", []any{secret}, nil, ""},
			{"long", "INSERT INTO x VALUES ('a', 1, NULL, $1)", []any{secret}, nil, ""},
			{"missing argument", "SELECT * FROM x WHERE name = $2", []any{secret}, nil, "$2"},
		} {
			for _, in := range []string{"database", "transaction"} {
				var err error
				if in == "database" {
					_, err = db.Exec(t.Context(), c.statement, c.args...)
				} else {
					err = db.Tx(t.Context(), func(tx *database.Tx) error {
						return tx.Query(t.Context(), c.statement, c.args, func(*database.Row) error { return nil })
					})
				}
				if err == nil || errors.Is(err, database.ErrUnavailable) {
					t.Errorf("%s in a %s: %v, want a refusal", c.name, in, err)
					continue
				}
				mustSay(t, err.Error(), c.says)
				if strings.Contains(err.Error(), "99999999999") || c.name != "missing argument" && !strings.Contains(err.Error(), "SQLSTATE") {
					t.Errorf("%s: %v", c.name, err)
				}
				if c.is != nil && !c.is(err) {
					t.Errorf("%s is not recognized: %v", c.name, err)
				}
				for name, is := range map[string]func(error) bool{"table": database.IsMissingTable, "column": database.IsMissingColumn, "duplicate": database.IsDuplicate, "retryable": database.IsRetryable} {
					if name != c.name && is(err) {
						t.Errorf("%s is taken for %s: %v", c.name, name, err)
					}
				}
			}
		}
		if db.Away() {
			t.Error("statements that are refused took the database down for everybody")
		}
	})
}

// TestAddedColumn: the application's owner adds a column while the gateway runs; statements that are prepared
// already must go on, inside and outside of transactions.
func TestAddedColumn(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t), maxConnections(1))
		run(t, db, "CREATE TABLE x (v int)")
		run(t, db, "INSERT INTO x VALUES (1)")
		inTx := func() (got string) {
			err := db.Tx(t.Context(), func(tx *database.Tx) error {
				got = ask(t, tx, "SELECT * FROM x WHERE v = $1", "1")
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			return got
		}
		insert := "INSERT INTO x (v) SELECT v FROM (SELECT * FROM x WHERE v = $1) y"
		for _, column := range []string{"a", "b", "c"} {
			if got := ask(t, db, "SELECT * FROM x WHERE v = $1", "1"); got != "1" {
				t.Errorf("got %s", got)
			}
			if got := inTx(); got != "1" {
				t.Errorf("in a transaction %s", got)
			}
			run(t, db, insert, "7")
			run(t, db, "ALTER TABLE x ADD COLUMN "+column+" int")
		}
		// A transaction first this time.
		if got := inTx(); got != "1" {
			t.Errorf("in a transaction %s", got)
		}
		run(t, db, "ALTER TABLE x DROP COLUMN a")
		if got := ask(t, db, "SELECT * FROM x WHERE v = $1", "1"); got != "1" || db.Away() {
			t.Errorf("got %s", got)
		}
	})
}

// TestStatementsArePrepared: PostgreSQL parses and plans a statement once for each connection.
func TestStatementsArePrepared(t *testing.T) {
	t.Parallel()
	db := open(t, testpostgres.NewDatabase(t), maxConnections(1))
	run(t, db, "CREATE TABLE x (v int)")
	for range 3 {
		ask(t, db, "SELECT v FROM x WHERE v = $1", "1")
	}
	got := ask(t, db, "SELECT count(*) AS v FROM pg_prepared_statements WHERE statement = 'SELECT v FROM x WHERE v = $1'")
	if got != "1" {
		t.Errorf("prepared %s times, want once", got)
	}
	if got := ask(t, db, "SELECT application_name AS v FROM pg_stat_activity WHERE pid = pg_backend_pid()"); got != "gatehouse" {
		t.Errorf("the server's operator sees %q", got)
	}
}
