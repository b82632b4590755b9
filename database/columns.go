package database

import (
	"maps"
	"slices"
)

// Columns gives the names of the columns, in lower case, sorted.
func (r *Row) Columns() []string { return slices.Sorted(maps.Keys(r.columns)) }
