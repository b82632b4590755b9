package database

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Row is one row of an answer; its columns are taken by name, in any case. It is only good inside the
// call it was given to. A column that is absent or NULL gives the zero value; Has and Null tell.
type Row struct {
	columns map[string]int // by lower-case name
	values  []any
}

// newColumns: of columns with the same name the first counts.
func newColumns(names []string) map[string]int {
	columns := make(map[string]int, len(names))
	for i, name := range names {
		name = strings.ToLower(name)
		if _, taken := columns[name]; !taken {
			columns[name] = i
		}
	}
	return columns
}

func (r *Row) value(column string) any {
	if i, ok := r.columns[strings.ToLower(column)]; ok {
		return r.values[i]
	}
	return nil
}

// Has reports whether there is a column of the name, NULL or not.
func (r *Row) Has(column string) bool {
	_, ok := r.columns[strings.ToLower(column)]
	return ok
}

// Null reports whether the column is absent or NULL.
func (r *Row) Null(column string) bool { return r.value(column) == nil }

// String gives a column of any type as text: integers with all digits, times in RFC 3339, uuid as usual.
func (r *Row) String(column string) string {
	switch v := r.value(column).(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32)
	default:
		return fmt.Sprint(v)
	}
}

// Bytes gives a text or binary column.
func (r *Row) Bytes(column string) []byte {
	if v, ok := r.value(column).([]byte); ok {
		return append([]byte(nil), v...)
	}
	if r.Null(column) {
		return nil
	}
	return []byte(r.String(column))
}

// Int gives an integer column; text and decimals that are integers too. An error names the column.
func (r *Row) Int(column string) (int64, error) {
	switch v := r.value(column).(type) {
	case nil:
		return 0, nil
	case int64:
		return v, nil
	case time.Time, bool:
		return 0, fmt.Errorf("column %s holds no integer", column)
	}
	text := strings.TrimSpace(r.String(column))
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err == nil && strings.Trim(fraction, "0") == "" {
		return n, nil
	}
	// 1.7e9, as some write their epochs. Above 2^53 it would no longer be exact.
	if f, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, "eE") && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f), nil
	}
	return 0, fmt.Errorf("column %s holds no integer of 64 bits", column)
}

// Bool gives a boolean: also 0 and 1, t and f, true and false, yes and no. An error names the column.
func (r *Row) Bool(column string) (bool, error) {
	switch v := r.value(column).(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case []byte:
		// MySQL's BIT(1) is a byte.
		if len(v) == 1 && v[0] <= 1 {
			return v[0] == 1, nil
		}
	}
	switch strings.ToLower(strings.TrimSpace(r.String(column))) {
	case "1", "t", "true", "y", "yes", "on":
		return true, nil
	case "0", "f", "false", "n", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("column %s holds no boolean", column)
}

// Time gives a timestamp in UTC; a timestamp without time zone is taken as UTC. PostgreSQL's infinity is the
// end of the year 9999, -infinity the beginning of 1970. An error names the column.
func (r *Row) Time(column string) (time.Time, error) {
	switch v := r.value(column).(type) {
	case nil:
		return time.Time{}, nil
	case time.Time:
		return v.UTC(), nil
	case string, []byte:
		if t, err := parseTime(r.String(column)); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("column %s holds no timestamp", column)
}

// timeLayouts are those of the servers and RFC 3339.
var timeLayouts = []string{
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07", "2006-01-02 15:04:05.999999999",
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02",
}

var (
	infinity      = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	minusInfinity = time.Unix(0, 0).UTC()
)

func parseTime(text string) (time.Time, error) {
	switch text {
	case "infinity":
		return infinity, nil
	case "-infinity":
		return minusInfinity, nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("no timestamp")
}
