package database_test

import (
	"testing"

	"gatehouse/database"
)

// TestRefusedValues: what a value is refused for is told from what a statement is refused for.
func TestRefusedValues(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		db := open(t, k.fresh(t))
		run(t, db, "CREATE TABLE refused (id integer PRIMARY KEY, name varchar(3) NOT NULL)")
		for _, c := range []struct {
			statement string
			args      []any
			want      bool
		}{
			{"INSERT INTO refused (id, name) VALUES ($1, $2)", []any{"letters", "x"}, true},
			{"INSERT INTO refused (id, name) VALUES ($1, $2)", []any{"1", "too long"}, true},
			{"INSERT INTO refused (id, name) VALUES ($1, $2)", []any{"1", nil}, true},
			{"INSERT INTO elsewhere (id) VALUES ($1)", []any{"1"}, false},
			{"INSERT INTO refused (nothing) VALUES ($1)", []any{"1"}, false},
			{"INSERT INTO refused (id, name) VALUES ($1, $2)", []any{"2", "yes"}, false},
		} {
			_, err := db.Exec(t.Context(), c.statement, c.args...)
			if got := database.IsRefusedValue(err); got != c.want {
				t.Errorf("%s with %v: %v, refused value %v", c.statement, c.args, err, got)
			}
		}
		run(t, db, "ALTER TABLE refused ADD COLUMN again integer")
		if _, err := db.Exec(t.Context(), "ALTER TABLE refused ADD COLUMN again integer"); !database.IsDuplicateColumn(err) {
			t.Errorf("a column that is there: %v", err)
		}
		var columns []string
		if err := db.Query(t.Context(), "SELECT name, id FROM refused", nil, func(r *database.Row) error {
			columns = r.Columns()
			return nil
		}); err != nil || len(columns) != 2 || columns[0] != "id" || columns[1] != "name" {
			t.Errorf("columns %v, %v", columns, err)
		}
	})
}
