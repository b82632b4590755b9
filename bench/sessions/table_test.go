package sessions

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// markdown gives the results as a table, one column for each number of sessions.
func markdown(results []result) string {
	var t strings.Builder
	row := func(name string, cell func(r result) string) {
		t.WriteString("| " + name)
		for _, r := range results {
			t.WriteString(" | " + cell(r))
		}
		t.WriteString(" |\n")
	}
	row("Live sessions", func(r result) string { return count(r.Sessions) })
	row("---", func(result) string { return "---:" })
	row("**Memory for each session**", func(result) string { return "" })
	row("Redis", func(r result) string { return inBytes(r.Redis) })
	row("Redis, for each replica that has it in memory", func(r result) string { return inBytes(r.Tracked) })
	row("replica, heap", func(r result) string { return inBytes(r.Heap) })
	row("replica, resident", func(r result) string { return inBytes(r.RSS) })
	row("counted against `session.cache_size`", func(r result) string { return inBytes(r.Counted) })
	row("**One hit, one caller**", func(result) string { return "" })
	row("the store's part", func(r result) string { return hit(r.HitNanoseconds, r.HitAllocs) })
	row("with token, policy and metrics", func(r result) string { return hit(r.RequestNanoseconds, r.RequestAllocs) })
	row("against the client's cache alone", func(r result) string { return fmt.Sprintf("%.2f ×", r.HitNanoseconds/r.BareNanoseconds) })
	row("**Operations: per second, median, 99 %**", func(result) string { return "" })
	for _, name := range operations {
		row(name, func(r result) string {
			o := r.Operations[name]
			return fmt.Sprintf("%s/s, %s, %s", count(int(o.PerSecond)), duration(o.P50), duration(o.P99))
		})
	}
	row("find, in Redis, against bare GET", func(r result) string {
		return fmt.Sprintf("%.2f ×", r.Operations[opMiss].P50/r.Operations[opGet].P50)
	})
	return t.String()
}

func hit(nanoseconds, allocs float64) string {
	return fmt.Sprintf("%.0f ns, %.0f allocations", nanoseconds, allocs)
}

func inBytes(n int) string { return count(n) + " B" }

// duration has two digits or three, as more would be noise.
func duration(nanoseconds float64) string {
	switch {
	case nanoseconds < 1000:
		return fmt.Sprintf("%.0f ns", nanoseconds)
	case nanoseconds < 10_000:
		return fmt.Sprintf("%.1f µs", nanoseconds/1e3)
	case nanoseconds < 1e6:
		return fmt.Sprintf("%.0f µs", nanoseconds/1e3)
	default:
		return fmt.Sprintf("%.1f ms", nanoseconds/1e6)
	}
}

// count separates thousands.
func count(n int) string {
	text := strconv.Itoa(n)
	digits := strings.TrimPrefix(text, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}

const (
	tableBegin = "<!-- make bench-sessions writes from here -->\n"
	tableEnd   = "<!-- to here -->\n"
)

// replaceTable puts a table between the marks of a page.
func replaceTable(page, table string) (string, error) {
	head, rest, begins := strings.Cut(page, tableBegin)
	_, tail, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return "", errors.New("the marks between which the table stands are missing")
	}
	return head + tableBegin + "\n" + table + "\n" + tableEnd + tail, nil
}

func example(n int) result {
	r := result{Sessions: n, Redis: 600, Tracked: -3, Heap: 1400, RSS: 1900, Counted: 2000, HitNanoseconds: 300, RequestNanoseconds: 600.4, BareNanoseconds: 200, RequestAllocs: 2,
		Operations: make(map[string]operation)}
	for i, name := range operations {
		r.Operations[name] = operation{PerSecond: 12345.6, P50: 1500 * float64(i+1), P99: 2.25e6}
	}
	return r
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := markdown([]result{example(1000), example(1_000_000)})
	lines := strings.Split(strings.TrimSpace(table), "\n")
	for _, line := range lines {
		if strings.Count(line, "|") != 4 {
			t.Errorf("not three cells: %s", line)
		}
	}
	for _, want := range []string{
		"| Live sessions | 1,000 | 1,000,000 |",
		"| Redis, for each replica that has it in memory | -3 B | -3 B |",
		"| the store's part | 300 ns, 0 allocations |",
		"| with token, policy and metrics | 600 ns, 2 allocations |",
		"| against the client's cache alone | 1.50 × |",
		"| find, in memory | 12,345/s, 1.5 µs, 2.2 ms |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	if len(lines) != 14+len(operations) {
		t.Errorf("%d lines", len(lines))
	}
}

func TestTableGoesBetweenItsMarks(t *testing.T) {
	t.Parallel()
	page := "before\n" + tableBegin + "old" + tableEnd + "after\n"
	for range 2 { // again it is the same
		got, err := replaceTable(page, "new\n")
		if want := "before\n" + tableBegin + "\nnew\n\n" + tableEnd + "after\n"; got != want || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		page = got
	}
	for _, page := range []string{"", tableBegin, tableEnd, tableEnd + tableBegin} {
		if _, err := replaceTable(page, "new"); err == nil {
			t.Errorf("%q has no marks", page)
		}
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for nanoseconds, want := range map[float64]string{0: "0 ns", 312.4: "312 ns", 1234: "1.2 µs", 45_600: "46 µs", 999_400: "999 µs", 1.25e6: "1.2 ms", 2e9: "2000.0 ms"} {
		if got := duration(nanoseconds); got != want {
			t.Errorf("%v: %s, want %s", nanoseconds, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567", -1500: "-1,500", -100: "-100"} {
		if got := count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
