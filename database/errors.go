package database

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// Error is what Query, Exec and Tx give when the database was away or said no. Its text is fit for
// logs: it names the server and its user, and never holds a password or the value of an argument.
type Error struct {
	away   bool
	state  string // SQLSTATE, when the server said it
	number uint16 // MySQL's own number of the error; 0 with PostgreSQL
	text   string
	cause  error // of the caller's context, or nil: what drivers say may hold values
}

func (e *Error) Error() string {
	text := "the database refuses: " + e.text
	if e.away {
		text = ErrUnavailable.Error() + ": " + e.text
	}
	if e.state != "" {
		text += " (SQLSTATE " + e.state + ")"
	}
	return text
}

// Is makes an outage an ErrUnavailable.
func (e *Error) Is(target error) bool { return e.away && target == ErrUnavailable }

// Unwrap gives the error of the caller's context when that ended the question.
func (e *Error) Unwrap() error { return e.cause }

// is reports whether an error is a refusal with one of these SQLSTATEs, or MySQL's numbers, whose SQLSTATEs
// are too coarse.
func is(err error, states []string, numbers ...uint16) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.contains(states, numbers)
}

func (e *Error) contains(states []string, numbers []uint16) bool {
	if e.number != 0 {
		for _, n := range numbers {
			if e.number == n {
				return true
			}
		}
		return false
	}
	for _, state := range states {
		if e.state == state {
			return true
		}
	}
	return false
}

// IsMissingTable reports whether the statement names a table that does not exist.
func IsMissingTable(err error) bool { return is(err, []string{"42P01"}, 1146) }

// IsMissingColumn reports whether the statement names a column that does not exist.
func IsMissingColumn(err error) bool { return is(err, []string{"42703"}, 1054) }

// IsDuplicate reports whether a row with this key exists already.
func IsDuplicate(err error) bool { return is(err, []string{"23505"}, 1062, 1586) }

// IsRefusedValue reports whether the server refused what was put into a statement, not the statement: a text
// that is no UUID or number where the column is one, longer than the column, naming no user. SQLSTATE classes 22 (data exception) and
// 23 (constraint). What comes from a cookie or a login form can do that, and must not look like an outage.
func IsRefusedValue(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.away {
		return false
	}
	// Older MySQL gives its 1366, incorrect integer value, no class.
	return strings.HasPrefix(e.state, "22") || strings.HasPrefix(e.state, "23") || e.number == 1366
}

// IsDuplicateColumn reports whether a column could not be added because it is there.
func IsDuplicateColumn(err error) bool { return is(err, []string{"42701"}, 1060) }

// IsRetryable reports whether the same transaction may succeed when it is run again: two were in each
// other's way.
func IsRetryable(err error) bool {
	return is(err, []string{"40001", "40P01", "55P03"}, 1213, 1205, 1020)
}

// isReadOnly reports whether the server refuses to write: it is a replica, perhaps since a failover a moment ago.
func isReadOnly(err error) bool { return is(err, []string{"25006"}, 1290, 1792, 1836) }

// The refusals that have nothing to do with the statement: the server cannot serve anybody now. By MySQL's
// numbers: 1040 too many connections, 1053 shutting down, 1077, 1079, 1184 and 1927 connection killed or
// aborted, 1203 and 1226 too many of one user, 3159 no TLS.
var (
	awayClasses = []string{"08", "57P", "28"}
	awayStates  = []string{"53300", "3D000"}
	awayNumbers = []uint16{1040, 1044, 1045, 1049, 1053, 1077, 1079, 1130, 1184, 1203, 1226, 1698, 1927, 3159}
)

// Statements that the server ended because they took too long.
var (
	timeoutStates  = []string{"57014"}
	timeoutNumbers = []uint16{1969, 3024}
)

// failure makes our error of a driver's. args are what must not be repeated.
func (t *target) failure(err error, args []any) error {
	var own *Error
	var refused *pgconn.PgError
	var denied *mysql.MySQLError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return err
	case errors.As(err, &refused):
		return t.refusal(&Error{state: refused.Code, text: tellPostgres(refused, args)})
	case errors.As(err, &denied):
		state := strings.Trim(string(denied.SQLState[:]), "\x00")
		return t.refusal(&Error{state: state, number: denied.Number, text: tellMySQL(denied, args)})
	case isBroken(err):
		return &Error{away: true, text: t.describe(err)}
	default:
		// Errors the drivers make themselves, of arguments and answers they cannot handle, quote values.
		return &Error{text: "the driver cannot handle the statement, its arguments or its answer"}
	}
}

// refusal says what is no matter of the statement in other words.
func (t *target) refusal(e *Error) error {
	switch {
	case e.contains(timeoutStates, timeoutNumbers):
		return &Error{away: true, text: t.slow(), state: e.state, number: e.number}
	case e.contains(awayStates, awayNumbers), e.number == 0 && hasAnyPrefix(e.state, awayClasses):
		e.away = true
		e.text = t.describeRefusal(e)
	}
	return e
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// isBroken reports whether the connection broke or was silent.
func isBroken(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) || pgconn.SafeToRetry(err) ||
		errors.Is(err, mysql.ErrInvalidConn) || isBadConn(err)
}
