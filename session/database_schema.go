package session

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"gatehouse/database"
)

// deletesFrom finds the sessions table in the one statement that is the same everywhere.
var deletesFrom = regexp.MustCompile(`(?is)^\s*DELETE\s+FROM\s+(\S+)`)

// tableName gives the name of the sessions table as it is written in statements.
func (s *DatabaseStore) tableName() string {
	if m := deletesFrom.FindStringSubmatch(s.queries.Delete); m != nil {
		return m[1]
	}
	return "sessions"
}

// need is one thing the gateway needs in the database, and the statement that makes it.
type need struct {
	what, probe, make string
}

// needs gives the columns and the table the operator adds. MySQL's TEXT is shorter than a record with
// the application's cookies sealed in it; and its texts would make users "a" and "A" one user.
func (s *DatabaseStore) needs() []need {
	table := s.tableName()
	ifNot, stamp, text := "IF NOT EXISTS ", "timestamptz", "text"
	epochs := "user_id text PRIMARY KEY, epoch bigint NOT NULL"
	if s.db.Dialect() == database.MySQL {
		ifNot, stamp, text = "", "datetime(6) NULL", "mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL"
		epochs = "user_id varbinary(1024) NOT NULL PRIMARY KEY, epoch bigint NOT NULL"
	}
	column := func(name, kind string) need {
		return need{
			what: "the column " + name + " of " + table, probe: "SELECT " + name + " FROM " + table + " WHERE 1 = 0",
			make: "ALTER TABLE " + table + " ADD COLUMN " + ifNot + name + " " + kind,
		}
	}
	return []need{
		column("migrated_at", stamp), column("gatehouse", text),
		{
			what: "the table " + epochsTable, probe: "SELECT user_id, epoch FROM " + epochsTable + " WHERE 1 = 0",
			make: "CREATE TABLE IF NOT EXISTS " + epochsTable + " (" + epochs + ")",
		},
	}
}

// SchemaSQL gives the statements that add to the application's database what the gateway needs, without
// semicolons: two columns of the sessions table, which the application does not see if it names its
// columns, and one small table. PostgreSQL can run them again; in MySQL a column that is there is an error.
func (s *DatabaseStore) SchemaSQL() (all []string) {
	for _, n := range s.needs() {
		all = append(all, n.make)
	}
	return all
}

// Check asks whether all is there, and whether each statement works, without changing anything. The
// error says what is missing and the SQL to run, or which statement the database refuses and why.
// ErrUnavailable: it could not be asked.
func (s *DatabaseStore) Check(ctx context.Context) error {
	if err := s.ready(); err != nil {
		return err
	}
	var missing, statements []string
	var cause error
	for _, n := range s.needs() {
		err := s.db.Query(ctx, n.probe, nil, func(*database.Row) error { return nil })
		if errors.Is(err, database.ErrUnavailable) {
			return s.failed(err)
		}
		if err != nil {
			missing, statements, cause = append(missing, n.what), append(statements, n.make+";"), err
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the application's database lacks %s, or the gateway's user may not read it (%w); run: %s",
			strings.Join(missing, ", "), cause, strings.Join(statements, " "))
	}
	return s.checkStatements(ctx)
}

// noRow is an id that no row has.
func (s *DatabaseStore) noRow() string { return rowOf(ID{}, s.cfg.NewID) }

// checkStatements tries each statement on a row that is not there, in a transaction that is rolled back.
// Insert is not among them: it would need a user.
func (s *DatabaseStore) checkStatements(ctx context.Context) error {
	now, err := s.databaseNow(ctx, s.db)
	if err != nil {
		return err
	}
	none, at := s.noRow(), s.form.value(now)
	for _, c := range []struct {
		query string
		ask   func(*database.Tx) error
	}{
		{"find", func(tx *database.Tx) error { _, err := s.rows(ctx, tx, "find", s.queries.Find, none); return err }},
		{"find", s.columns(ctx, "find", s.queries.Find, none)},
		{"lock", func(tx *database.Tx) error { _, err := s.lock(ctx, tx, none); return err }},
		{"touch", s.tries(ctx, s.queries.Touch, none, at, "")},
		{"mark", s.tries(ctx, s.queries.Mark, none)},
		{"delete", s.tries(ctx, s.queries.Delete, none)},
		{"scan", func(tx *database.Tx) error { _, err := s.page(ctx, tx, "", 1); return err }},
		{"scan", s.columns(ctx, "scan", s.queries.Scan, none, int64(1))},
		{"count", func(tx *database.Tx) error { _, err := s.count(ctx, tx); return err }},
		{"delete_expired", s.tries(ctx, s.queries.DeleteExpired, at, int64(1))},
		{epochsTable, func(tx *database.Tx) error { return s.raise(ctx, tx, everybody, 0) }},
	} {
		err := s.db.Tx(ctx, func(tx *database.Tx) error {
			if err := c.ask(tx); err != nil {
				return err
			}
			return errRollBack
		})
		switch {
		case errors.Is(err, errRollBack):
		case errors.Is(err, database.ErrUnavailable):
			return s.failed(err)
		case c.query == "find" && database.IsRefusedValue(err):
			return fmt.Errorf("the id column does not take the ids of the gateway's rows, is session.database.new_id right? %w", err)
		default:
			return fmt.Errorf("session.database.queries.%s does not work: %w", c.query, err)
		}
	}
	return nil
}

// columns looks whether a statement gives the columns it should. Of no row nothing can be seen, so it is
// joined to one: its columns are there then, and NULL. A statement that cannot be put into another is let pass.
func (s *DatabaseStore) columns(ctx context.Context, query, statement string, args ...any) func(*database.Tx) error {
	joined := "SELECT q.* FROM (SELECT 1 AS one) d LEFT JOIN (" + strings.TrimRight(statement, "; \n") + ") q ON 1 = 1"
	return func(tx *database.Tx) error {
		var lack error
		err := tx.Query(ctx, joined, args, func(r *database.Row) error {
			lack = s.complete(query, r)
			return lack
		})
		if lack != nil || errors.Is(err, database.ErrUnavailable) {
			return err
		}
		return nil
	}
}

var errRollBack = errors.New("only a try")

func (s *DatabaseStore) tries(ctx context.Context, statement string, args ...any) func(*database.Tx) error {
	return func(tx *database.Tx) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	}
}
