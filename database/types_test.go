package database_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"gatehouse/database"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testpostgres"
)

// TestStringFits: applications keep ids as numbers or uuids, expiries as text or timestamps. We have strings.
func TestStringFits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dialect, column, value, want string }{
		{"postgres", "integer", "42", "42"},
		{"postgres", "bigint", "9223372036854775807", "9223372036854775807"},
		{"postgres", "smallint", "-1", "-1"},
		{"postgres", "uuid", "123E4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"},
		{"postgres", "boolean", "true", "true"},
		{"postgres", "timestamptz", "2026-05-06T07:08:09.123456Z", "2026-05-06T07:08:09.123456Z"},
		{"postgres", "timestamptz", "2026-05-06T07:08:09+02:00", "2026-05-06T05:08:09Z"},
		{"postgres", "timestamp", "2026-05-06T07:08:09Z", "2026-05-06T07:08:09Z"},
		{"postgres", "timestamptz", "infinity", "9999-12-31T23:59:59Z"},
		{"postgres", "timestamp", "-infinity", "1970-01-01T00:00:00Z"},
		{"postgres", "date", "2026-05-06", "2026-05-06T00:00:00Z"},
		{"postgres", "jsonb", `{"a": 1}`, `{"a": 1}`},
		{"postgres", "json", `{"a":  1}`, `{"a":  1}`},
		{"postgres", "text", "ä'\"\\$1?", "ä'\"\\$1?"},
		{"postgres", "varchar(20)", "x", "x"},
		{"postgres", "bytea", "plain", "plain"},
		{"postgres", "numeric(20,2)", "12345678901234567.89", "12345678901234567.89"},
		{"postgres", "double precision", "1.5", "1.5"},
		{"postgres", "inet", "10.0.0.1", "10.0.0.1"},
		{"postgres", "integer[]", "{1,2}", "{1,2}"},
		{"mysql", "int", "42", "42"},
		{"mysql", "bigint unsigned", "18446744073709551615", "18446744073709551615"},
		{"mysql", "char(36)", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"},
		{"mysql", "uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"},
		{"mysql", "boolean", "1", "1"},
		{"mysql", "datetime(6)", "2026-05-06 07:08:09.123456", "2026-05-06T07:08:09.123456Z"},
		{"mysql", "timestamp", "2026-05-06 07:08:09", "2026-05-06T07:08:09Z"},
		{"mysql", "date", "2026-05-06", "2026-05-06T00:00:00Z"},
		{"mysql", "json", `{"a": 1}`, `{"a": 1}`},
		{"mysql", "text", "ä'\"\\$1?", "ä'\"\\$1?"},
		{"mysql", "varchar(20) CHARACTER SET utf8mb4", "🙂", "🙂"},
		{"mysql", "varbinary(20)", "plain", "plain"},
		{"mysql", "decimal(20,2)", "12345678901234567.89", "12345678901234567.89"},
		{"mysql", "double", "1.5", "1.5"},
	} {
		t.Run(c.dialect+" "+c.column+" "+c.value, func(t *testing.T) {
			t.Parallel()
			db := openShared(t, c.dialect)
			run(t, db, "CREATE TABLE x (v "+c.column+")")
			run(t, db, "INSERT INTO x (v) VALUES ($1)", c.value)
			if got := ask(t, db, "SELECT v FROM x"); got != c.want {
				t.Errorf("without arguments: %q, want %q", got, c.want)
			}
			// With an argument MySQL answers in another protocol.
			if got := ask(t, db, "SELECT v FROM x WHERE $1 = 'y'", "y"); got != c.want {
				t.Errorf("with an argument: %q, want %q", got, c.want)
			}
			if c.column != "json" && c.column != "jsonb" {
				if got := ask(t, db, "SELECT v FROM x WHERE v = $1", c.value); got != c.want {
					t.Errorf("compared: %q, want %q", got, c.want)
				}
			}
		})
	}
}

func openShared(t *testing.T, dialect string) *database.DB {
	t.Helper()
	if dialect == "mysql" {
		return open(t, testmariadb.NewDatabase(t))
	}
	return open(t, testpostgres.NewDatabase(t))
}

// TestArguments: each type of argument, there and back.
func TestArguments(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		bytesType, timeType := "bytea", "timestamptz"
		if k.dialect == database.MySQL {
			bytesType, timeType = "varbinary(50)", "datetime(6)"
		}
		run(t, db, "CREATE TABLE x (s text, b "+bytesType+", n bigint, yes boolean, no boolean, at "+timeType+", plain "+strings.Replace(timeType, "tz", "", 1)+", nothing text, digits varchar(20))")
		raw := []byte{0, 0xff, '\'', '\\', 0x1a}
		// A zone of the caller must not shift what is stored.
		at := time.Date(2026, 11, 1, 3, 4, 5, 678_901_999, time.FixedZone("", 3600))
		run(t, db, "INSERT INTO x VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", "", raw, int64(-1<<63), true, false, at, at, nil, int64(-1<<63))
		want := time.Date(2026, 11, 1, 2, 4, 5, 678_901_000, time.UTC)
		rows := 0
		err := db.Query(t.Context(), "SELECT * FROM x WHERE n = $1 AND at = $2 AND plain = $5 AND yes = $3 AND b = $4", []any{int64(-1 << 63), want, true, raw, want}, func(r *database.Row) error {
			rows++
			n, err1 := r.Int("N")
			digits, err2 := r.Int("digits")
			yes, err3 := r.Bool("Yes")
			no, err4 := r.Bool("no")
			when, err5 := r.Time("at")
			plain, err6 := r.Time("plain")
			for _, err := range []error{err1, err2, err3, err4, err5, err6} {
				if err != nil {
					t.Error(err)
				}
			}
			if n != -1<<63 || digits != n || !yes || no || !bytes.Equal(r.Bytes("b"), raw) || r.String("s") != "" || r.Null("s") {
				t.Errorf("got %d, %d, %v, %v, %q, %q", n, digits, yes, no, r.Bytes("b"), r.String("s"))
			}
			if !when.Equal(want) || !plain.Equal(want) || when.Location() != time.UTC {
				t.Errorf("times %v and %v, want %v", when, plain, want)
			}
			if !r.Has("nothing") || !r.Null("nothing") || r.String("nothing") != "" || r.Has("absent") || !r.Null("absent") || r.Bytes("absent") != nil {
				t.Error("NULL and absent columns")
			}
			return nil
		})
		if err != nil || rows != 1 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

// TestServersTime: what the server calls now is now, whatever zones it and this machine are in.
func TestServersTime(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		for _, now := range []string{"current_timestamp", "localtimestamp"} {
			err := db.Query(t.Context(), "SELECT "+now+" AS v", nil, func(r *database.Row) error {
				at, err := r.Time("v")
				if d := time.Since(at).Abs(); d > 30*time.Minute {
					t.Errorf("%s is %v away", now, d)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestExecCountsFoundRows(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		run(t, db, "CREATE TABLE x (v int)")
		if n := run(t, db, "INSERT INTO x VALUES (1), (1), (2)"); n != 3 {
			t.Errorf("inserted %d, want 3", n)
		}
		if n := run(t, db, "UPDATE x SET v = $1 WHERE v = $1", int64(1)); n != 2 {
			t.Errorf("updated %d, want 2: rows that are already as wished count", n)
		}
		if n := run(t, db, "DELETE FROM x WHERE v = $1", int64(7)); n != 0 {
			t.Errorf("deleted %d, want 0", n)
		}
	})
}

// TestSettings: the application's way of reading SQL is left alone, and every character fits.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := testmariadb.Start(t, testmariadb.Flags("--sql-mode=NO_ZERO_DATE", "--autocommit=0", "--character-set-server=latin1", "--default-time-zone=+05:00"))
	db := open(t, s.URL())
	if got := ask(t, db, "SELECT @@session.sql_mode AS v"); got != "NO_ZERO_DATE" {
		t.Errorf("sql_mode %s", got)
	}
	if got := ask(t, db, "SELECT concat(@@character_set_client, @@character_set_results, @@time_zone) AS v"); got != "utf8mb4utf8mb4+00:00" {
		t.Errorf("character sets and zone %s", got)
	}
	run(t, db, "CREATE TABLE x (v text)")
	run(t, db, "INSERT INTO x VALUES ('kept')")
	if got := ask(t, open(t, s.URL()), "SELECT v FROM x"); got != "kept" {
		t.Error("where autocommit is off, nothing is committed")
	}
}

func TestEachEndsTheQuestion(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		// One connection: each must be able to ask all the same.
		db := open(t, k.fresh(t), maxConnections(1))
		run(t, db, "CREATE TABLE x (v int)")
		run(t, db, "INSERT INTO x VALUES (1), (2), (3)")
		calls := 0
		err := db.Query(t.Context(), "SELECT v FROM x ORDER BY v", nil, func(r *database.Row) error {
			calls++
			if got := ask(t, db, "SELECT v FROM x WHERE v = $1", r.String("v")); got != r.String("v") {
				t.Errorf("inner question: %s", got)
			}
			if calls == 2 {
				return errEnough
			}
			return nil
		})
		if err != errEnough || calls != 2 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}
