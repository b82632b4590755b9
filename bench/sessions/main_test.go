// Package sessions measures sessions by number: what they take of memory, in Redis and in a replica, and how
// long each operation takes. `make bench-sessions` runs it and writes docs/sessions-scale.md and its plot;
// without flags it is a small run that checks the program itself. It is a test so that it may start servers as
// tests do, and so that nothing of it can get into the binary.
package sessions

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/internal/testredis"
)

var (
	sizes     = flag.String("sizes", "200", "numbers of live sessions to measure, separated by commas")
	docs      = flag.String("docs", "", "folder of sessions-scale.md and sessions-scale.svg to write into; empty: none")
	samples   = flag.Int("samples", 20_000, "how often an operation is measured, at most")
	workers   = flag.Int("workers", 16, "how many callers at once, where Redis is asked")
	cacheSize = flag.Int64("cache-size", 3<<30, "session.cache_size of the replica, in bytes: large enough for all")

	childSessions = flag.Int("child-sessions", 0, "used by the program itself")
	childRedis    = flag.String("child-redis", "", "used by the program itself")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *childSessions == 0 {
		os.Exit(m.Run())
	}
	// A process of its own for each size: memory that a step has given back would count for the next.
	r, err := measure(*childRedis, *childSessions, setting{samples: *samples, workers: *workers, cache: config.Size(*cacheSize)})
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestSessionsByNumber(t *testing.T) {
	var results []result
	for _, n := range numbers(t, *sizes) {
		r := inChild(t, n)
		check(t, r)
		results = append(results, r)
		t.Logf("%s sessions are measured", count(n))
	}
	table := markdown(results)
	fmt.Println(table)
	if *docs == "" {
		return
	}
	if err := write(*docs, table, results); err != nil {
		t.Fatal(err)
	}
}

func numbers(t *testing.T, list string) (all []int) {
	t.Helper()
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < minSessions {
			t.Fatalf("-sizes: %q is no number of sessions, %d at least", text, minSessions)
		}
		all = append(all, n)
	}
	return all
}

func inChild(t *testing.T, n int) (r result) {
	t.Helper()
	redis := testredis.Start(t)
	defer redis.Kill()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-child-sessions", strconv.Itoa(n), "-child-redis", redis.Addr,
		"-samples", strconv.Itoa(*samples), "-workers", strconv.Itoa(*workers), "-cache-size", strconv.FormatInt(*cacheSize, 10))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%d sessions: %v\n%s", n, err, &stderr)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%d sessions: %v in %q", n, err, out)
	}
	return r
}

// check finds a measurement that measured nothing. It holds no time against a limit: machines differ.
func check(t *testing.T, r result) {
	t.Helper()
	if r.Redis < 200 || r.Redis > 5000 || r.Counted < 500 || r.Counted > 20_000 {
		t.Errorf("%d sessions: %d B in Redis and %d B in a replica each", r.Sessions, r.Redis, r.Counted)
	}
	for _, name := range operations {
		if o := r.Operations[name]; o.PerSecond <= 0 || o.P50 <= 0 || o.P99 < o.P50 {
			t.Errorf("%d sessions: %s: %+v", r.Sessions, name, o)
		}
	}
	if !raceEnabled && r.HitAllocs >= 1 {
		t.Errorf("%d sessions: a hit makes %.1f allocations", r.Sessions, r.HitAllocs)
	}
}

func write(folder, table string, results []result) error {
	page := filepath.Join(folder, "sessions-scale.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	next, err := replaceTable(string(text), table)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.WriteFile(page, []byte(next), 0o644); err != nil {
		return err
	}
	svg, err := plot(results)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "sessions-scale.svg"), svg, 0o644)
}
