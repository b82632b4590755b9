package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

const value = "token-of-somebody"

// TestTold: what servers say of a statement, with a value in every place it can be in.
func TestTold(t *testing.T) {
	t.Parallel()
	target := &target{dialect: Postgres, login: newLogin(nil), host: "h", port: "1", timeout: time.Second}
	state := func(s string) (out [5]byte) { copy(out[:], s); return out }
	for _, c := range []struct {
		err  error
		args []any
		says string
		away bool
	}{
		{&pgconn.PgError{Code: "23505", Message: `duplicate key value violates unique constraint "x_pkey"`, Detail: "Key (a)=(" + value + ") already exists."}, nil, "x_pkey", false},
		{&pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type uuid: "` + value + `"`}, nil, "type uuid", false},
		{&pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type uuid: "` + value}, nil, "type uuid", false},
		{&pgconn.PgError{Code: "22003", Message: `value "` + value + `" is out of "range" for type integer`}, nil, "for type integer", false},
		{&pgconn.PgError{Code: "P0001", Message: "the trigger says " + value}, nil, "server's log", false},
		{&pgconn.PgError{Code: "XX000", Message: value}, nil, "server's log", false},
		{&pgconn.PgError{Code: "42601", Message: `syntax error at or near "` + value + `"`}, []any{value}, "syntax error", false},
		{&pgconn.PgError{Code: "42601", Message: `syntax error at or near "` + value + `"`}, []any{[]byte(value)}, "syntax error", false},
		{&pgconn.PgError{Code: "57014", Message: "canceling statement due to statement timeout"}, nil, "no answer from h:1 within 1s", true},
		{&pgconn.PgError{Code: "57P01", Message: "terminating connection"}, nil, "shutting down", true},
		{&pgconn.PgError{Code: "57P03", Message: "the database system is starting up"}, nil, "starting up", true},
		{&pgconn.PgError{Code: "53300", Message: "too many clients"}, nil, "database.max_connections", true},
		{&mysql.MySQLError{Number: 1062, SQLState: state("23000"), Message: "Duplicate entry '" + value + "' for key 'x.PRIMARY'"}, nil, "x.PRIMARY", false},
		{&mysql.MySQLError{Number: 1062, SQLState: state("23000"), Message: "Duplicate entry ' for key " + value + "' for key 'PRIMARY'"}, nil, "PRIMARY", false},
		{&mysql.MySQLError{Number: 1366, SQLState: state("HY000"), Message: "Incorrect integer value: '" + value + "' for column 'n' at row 1"}, nil, "integer value", false},
		{&mysql.MySQLError{Number: 1366, SQLState: state("HY000"), Message: "Incorrect: '" + value + "'' or '" + value + "' for column 'n'"}, nil, "Incorrect", false},
		{&mysql.MySQLError{Number: 1644, SQLState: state("45000"), Message: "the trigger says " + value}, nil, "1644", false},
		{&mysql.MySQLError{Number: 1054, SQLState: state("42S22"), Message: "Unknown column 'n'"}, nil, "'n'", false},
		{&mysql.MySQLError{Number: 1969, SQLState: state("70100"), Message: "Query execution was interrupted"}, nil, "no answer", true},
		{&mysql.MySQLError{Number: 1040, SQLState: state("08004"), Message: "Too many connections"}, nil, "database.max_connections", true},
		{errors.New("cannot encode " + value), nil, "driver", false},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), nil, "broke", true},
		{context.DeadlineExceeded, nil, "no answer", true},
	} {
		err := target.failure(c.err, c.args)
		if errors.Is(err, ErrUnavailable) != c.away || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), value) {
			t.Errorf("%v: %v", c.err, err)
		}
		if full := fmt.Sprintf("%+v %#v", err, err); strings.Contains(full, value) {
			t.Errorf("inside the error: %s", full)
		}
	}
	if target.failure(nil, nil) != nil {
		t.Error("no error became one")
	}
}

// TestBreaker: three failures in a row open it, refusals do not, and only the prober closes it.
func TestBreaker(t *testing.T) {
	t.Parallel()
	var changes []bool
	b := newBreaker(func(away bool, _ error) { changes = append(changes, away) })
	down, no := &Error{away: true, text: "down"}, &Error{text: "no"}
	for range 10 {
		b.report(down)
		b.report(down)
		b.report(no)
	}
	if b.away() {
		t.Fatal("open, though it answered in between")
	}
	waiting := b.trips()
	for range 3 {
		b.report(down)
	}
	select {
	case <-waiting:
	default:
		t.Error("who waits is not told")
	}
	for range 10 {
		b.report(nil) // late answers
	}
	if err := b.refusal(); !b.away() || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "down") {
		t.Errorf("away %v, refusal %v", b.away(), err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for b.away() && time.Now().Before(deadline) {
		time.Sleep(probeEvery / 10)
		b.note(nil)
	}
	if b.away() || len(changes) != 2 || !changes[0] || changes[1] {
		t.Errorf("away %v, changes %v", b.away(), changes)
	}
}
