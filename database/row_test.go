package database

import (
	"testing"
	"time"
)

func row(value any) *Row {
	return &Row{columns: newColumns([]string{"Col", "col"}), values: []any{value, "second"}}
}

func TestInt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  int64
		ok    bool
	}{
		{nil, 0, true},
		{int64(-7), -7, true},
		{"42", 42, true},
		{[]byte(" 42 "), 42, true},
		{"42.000", 42, true},
		{"1767225600.5", 0, false},
		{"-9223372036854775808", -1 << 63, true},
		{"9223372036854775808", 0, false},
		{float64(1767225600), 1767225600, true},
		{float64(0.5), 0, false},
		{"1.7672256e9", 1767225600, true},
		{"1e300", 0, false},
		{uint64(1 << 63), 0, false},
		{"", 0, false},
		{"x", 0, false},
		{"NaN", 0, false},
		{true, 0, false},
		{time.Unix(7, 0), 0, false},
	} {
		got, err := row(c.value).Int("COL")
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%T %v: %d, %v", c.value, c.value, got, err)
		}
	}
}

func TestBool(t *testing.T) {
	t.Parallel()
	for want, values := range map[bool][]any{
		true:  {true, int64(1), "1", "t", "TRUE", "yes", "on", []byte{1}, []byte("true"), "y"},
		false: {nil, false, int64(0), "0", "f", "False", "no", "off", []byte{0}, []byte("0"), "n"},
	} {
		for _, value := range values {
			if got, err := row(value).Bool("col"); got != want || err != nil {
				t.Errorf("%T %v: %v, %v", value, value, got, err)
			}
		}
	}
	for _, value := range []any{int64(2), "", "maybe", []byte{2}, time.Now()} {
		if got, err := row(value).Bool("col"); got || err == nil {
			t.Errorf("%T %v is taken for a boolean", value, value)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 5, 6, 7, 8, 9, 120_000_000, time.UTC)
	for _, value := range []any{
		want, want.In(time.FixedZone("", 7200)), "2026-05-06 07:08:09.12", "2026-05-06 09:08:09.12+02", "2026-05-06 09:08:09.12+02:00",
		"2026-05-06T07:08:09.12Z", []byte("2026-05-06T07:08:09.12"), "2026-05-06T07:08:09.120000+00:00",
	} {
		if got, err := row(value).Time("col"); !got.Equal(want) || err != nil || got.Location() != time.UTC {
			t.Errorf("%v: %v, %v", value, got, err)
		}
	}
	if got, err := row(nil).Time("col"); !got.IsZero() || err != nil {
		t.Errorf("NULL: %v, %v", got, err)
	}
	for _, value := range []any{"", "soon", int64(1767225600), true} {
		if got, err := row(value).Time("col"); err == nil {
			t.Errorf("%v is taken for %v", value, got)
		}
	}
}

func TestString(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]any{
		"":                     nil,
		"x":                    []byte("x"),
		"9223372036854775807":  int64(1<<63 - 1),
		"18446744073709551615": uint64(1<<64 - 1),
		"1767225600000":        float64(1767225600000),
		"0.1":                  float32(0.1),
		"true":                 true,
		"2026-05-06T07:08:09Z": time.Date(2026, 5, 6, 9, 8, 9, 0, time.FixedZone("", 7200)),
	} {
		if got := row(value).String("col"); got != want {
			t.Errorf("%T: %q, want %q", value, got, want)
		}
	}
}

// TestBytesAreACopy: the row is gone after the call, what was taken out of it stays.
func TestBytesAreACopy(t *testing.T) {
	t.Parallel()
	value := []byte("x")
	r := row(value)
	r.Bytes("col")[0] = 'y'
	if r.String("col") != "x" {
		t.Error("the row was changed from outside")
	}
}
