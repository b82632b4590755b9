package database_test

import (
	"testing"

	"gatehouse/database"
)

// TestLexerAgreesWithServer: statements in which something that looks like a placeholder is none. A lexer
// that sees one more or less than the server gives an error here, or another answer.
func TestLexerAgreesWithServer(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		both := []struct{ query, want string }{
			{"SELECT '$1' AS v", "$1"},
			{"SELECT 'it''s $1' AS v", "it's $1"},
			{"SELECT /* $2 '*/ $1 AS v", "one"},
			{"SELECT -- $2 '\n$1 AS v", "one"},
			{"SELECT $1 AS v -- the end $9", "one"},
			{"SELECT $3 AS v", "three"},
		}
		special := map[database.Dialect][]struct{ query, want string }{
			database.Postgres: {
				{`SELECT E'\'$2' || $1 AS v`, "'$2one"},
				{`SELECT '\' || $1 AS v`, `\one`},
				{"SELECT $$ $2 ' $$ || $1 AS v", " $2 ' one"},
				{"SELECT $a$ $2 $b$ $$ $a$ || $1 AS v", " $2 $b$ $$ one"},
				{"SELECT /* /* $2 */ ' */ $1 AS v", "one"},
				{`SELECT "x$2" || $1 AS v FROM (SELECT 'x' AS "x$2") y`, "xone"},
				{"SELECT x$2 || $1 AS v FROM (SELECT 'x' AS x$2) y", "xone"},
				{"SELECT '{\"a\":1}'::jsonb ? 'a' AND $1 = 'one' AS v", "true"},
				{"SELECT 5--$2\n+$4::int AS v", "9"},
				{"SELECT $2::text||$1||'$2'||$2 AS v", "twoone$2two"},
			},
			database.MySQL: {
				{`SELECT concat('\'$2', $1) AS v`, "'$2one"},
				{`SELECT concat("\"$2", $1) AS v`, `"$2one`},
				{`SELECT concat("it""s $2", $1) AS v`, `it"s $2one`},
				{"SELECT concat('?', $1) AS v", "?one"},
				{"SELECT concat($2, $1, '$2', $2) AS v", "twoone$2two"},
				{"SELECT concat(`x$2``\\`, $1) AS v FROM (SELECT 'x' AS `x$2``\\`) y", "xone"},
				{"SELECT concat(x$2, $1) AS v FROM (SELECT 'x' AS x$2) y", "xone"},
				{"SELECT # $2 '\n$1 AS v", "one"},
				{"SELECT /* /* $2 ' */ $1 AS v", "one"},
				{"SELECT 5--$4 AS v", "9"},
			},
		}
		for _, c := range append(both, special[k.dialect]...) {
			if got, err := tryAsk(t, db, c.query, "one", "two", "three", int64(4)); err != nil || got != c.want {
				t.Errorf("%s: got %q, %v, want %q", c.query, got, err, c.want)
			}
		}
	})
}
