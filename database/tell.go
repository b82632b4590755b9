package database

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// What the servers say of a statement is worth telling: it names the table, the column, the rule that
// was broken. But it may quote the values too, and a value can be a password hash or the token of a
// session. So only what is known to hold names alone is told whole.

const (
	hidden  = "…"
	notTold = "for a reason that may quote values, and is in the server's log"
)

// classes of SQLSTATE whose messages (never the details) name things and no values: 0A not supported, 23
// constraint, 25 transaction state, 26, 28 access, 34, 3D and 3F missing database or schema, 40 rollback,
// 42 syntax and missing things, 53 resources, 54 limits, 55 state of an object, 57 operator.
var postgresNames = []string{"0A", "23", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "54", "55", "57"}

// tellPostgres never tells Detail, Hint and Where, which quote whole rows.
func tellPostgres(e *pgconn.PgError, args []any) string {
	switch {
	case hasAnyPrefix(e.Code, postgresNames):
		return scrub(e.Message, args)
	case strings.HasPrefix(e.Code, "22"):
		return scrub(hide(e.Message, '"'), args)
	default:
		return notTold
	}
}

// MySQL's errors that name columns, tables and rules, and no values: 1048 column cannot be null, 1205
// and 1213 locks, 1264 out of range, 1290 read-only, 1364 no default, 1406 too long, 1451 and 1452 foreign key.
var mysqlNames = []uint16{1048, 1205, 1213, 1264, 1290, 1364, 1406, 1451, 1452, 1792, 1836, 4025}

func tellMySQL(e *mysql.MySQLError, args []any) string {
	state := strings.Trim(string(e.SQLState[:]), "\x00")
	switch {
	case e.Number == 1062:
		// Duplicate entry 'value' for key 'name': the name is behind the last "for key".
		if i := strings.LastIndex(e.Message, " for key "); i >= 0 {
			return scrub(fmt.Sprintf("Duplicate entry '%s'%s", hidden, e.Message[i:]), args)
		}
	case strings.HasPrefix(state, "45"): // a trigger's or procedure's own words
		return notTold + fmt.Sprintf(" (error %d)", e.Number)
	case slices.Contains(mysqlNames, e.Number), strings.HasPrefix(state, "42"):
		return scrub(e.Message, args)
	}
	return scrub(hide(e.Message, '\''), args) + fmt.Sprintf(" (error %d)", e.Number)
}

// hide removes what stands between the first and the last quote, which a value may hold too.
func hide(message string, quote byte) string {
	first, last := strings.IndexByte(message, quote), strings.LastIndexByte(message, quote)
	if first < 0 {
		return message
	}
	if first == last {
		return message[:first] + hidden
	}
	return message[:first+1] + hidden + message[last:]
}

// minScrubbed is the length from which an argument is looked for in messages: shorter ones are found in
// any word, and are no secrets.
const minScrubbed = 4

// scrub is the second net: no argument stands in what is told, whatever the server's messages are like.
func scrub(message string, args []any) string {
	for _, arg := range args {
		var value string
		switch a := arg.(type) {
		case string:
			value = a
		case []byte:
			value = string(a)
		}
		if len(value) >= minScrubbed {
			message = strings.ReplaceAll(message, value, hidden)
		}
	}
	return message
}
