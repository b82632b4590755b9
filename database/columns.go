package database

import (
	"maps"
	"slices"
)

// Columns gives the names of the columns, in lower case, sorted.
func (r *Row) Columns() []string { return slices.Sorted(maps.Keys(r.columns)) }

// IsDuplicateColumn reports whether a column could not be added because it is there.
func IsDuplicateColumn(err error) bool { return is(err, []string{"42701"}, 1060) }
