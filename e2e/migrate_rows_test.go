package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMigrateBackfill(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	const rows = 60
	o.rows(rows)
	o.refused("in state legacy sessions do not come over", "backfill")
	o.must("set", "primary", "--force")
	o.refused("--rate must be at least 1", "backfill", "--rate", "0")

	moved := "SELECT count(*) FROM sessions WHERE migrated_at IS NOT NULL"
	cmd := o.command("backfill", "--rate", "20")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some rows to come over", func() bool { return len(o.count(moved)) > 1 }) // ten or more
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	o.printed = append(o.printed, stderr.String())
	first := o.count(moved)
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "stopped after") || !strings.Contains(stderr.String(), "run it again to go on") {
		t.Errorf("stopped: exit code %d\n%s", code, stderr.String())
	}
	// Two at once, and then twenty a second.
	if took := time.Since(began); first == fmt.Sprint(rows) || took < 300*time.Millisecond {
		t.Errorf("%s rows in %v: nothing holds it back", first, took)
	}
	var p struct {
		Read, Imported, Already, Expired int
		Finished                         bool
	}
	o.json(&p, "backfill", "--rate", "10000")
	if fmt.Sprint(p.Already) != first || p.Imported+p.Already != rows || p.Read != rows || !p.Finished {
		t.Errorf("again: %+v, after %s", p, first)
	}
	if s := o.status(); s.Database.Moved != rows || s.Database.Live != 0 || s.Redis.Sessions != rows || s.Redis.Moved != rows || s.LastHour["imports"] != rows {
		t.Errorf("in both stores: %+v, %+v, counted %v", s.Database, s.Redis, s.LastHour)
	}
	if text := o.must("status"); !strings.Contains(text, "backfill   finished") || !strings.Contains(text, "60 rows") {
		t.Errorf("status does not tell of it:\n%s", text)
	}
	if out := o.must("backfill"); out != "60 rows, 60 had already\n" {
		t.Errorf("a third time: %s", out)
	}
}

func TestMigrateVerify(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	g := start(t, o.config("shadow", 0), options{})
	login := func(user int) {
		b := newBrowser(t, g.url)
		b.login(fmt.Sprintf("user%d@example.com", user), operatorsPassword)
		o.tokens = append(o.tokens, b.token())
	}
	verify := func(code int, says string) {
		t.Helper()
		out, problems, got := o.run("", "verify")
		if got != code || !strings.Contains(out, says) {
			t.Errorf("exit code %d, want %d and %q\n%s%s", got, code, says, out, problems)
		}
		var v struct {
			Mismatched int
			Mismatches []struct{ Session, User, What string }
		}
		out, _, got = o.run("", "verify", "--json")
		if o.read(out, &v); got != code || (v.Mismatched > 0) != (code == 1) || len(v.Mismatches) != v.Mismatched {
			t.Errorf("as JSON: exit code %d, %+v", got, v)
		}
	}
	o.write("shadow", 0)
	login(1)
	o.row(2, "application-0123456789abcdef0123456789")
	verify(0, "mismatches  0")
	o.sql("UPDATE users SET role = 'admin' WHERE id = 1")
	verify(1, "of user 1: differs in role")
	o.sql("UPDATE users SET role = 'user' WHERE id = 1")
	verify(0, "in both     1")
	o.sql("DELETE FROM sessions WHERE user_id = 1")
	verify(1, "of user 1: is a copy whose row is gone")
	o.redis.Do(t, "FLUSHALL")
	o.must("set", "primary", "--force")
	o.must("backfill")
	verify(0, "in both     1")
	o.sql("UPDATE sessions SET migrated_at = NULL")
	verify(1, "of user 2: has moved to Redis, and its row is not marked")
}

func TestMigrateCleanup(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	o.row(1, "moves-0123456789abcdef0123456789abcdef")
	o.row(2, "moves-too-0123456789abcdef0123456789ab")
	o.sql("INSERT INTO sessions VALUES ('expired', 3, now() - interval '1 hour')")
	o.must("set", "primary", "--force")
	o.must("backfill")
	o.row(4, "stays-0123456789abcdef0123456789abcdef")
	all := func() string { return o.count("SELECT count(*) FROM sessions") }
	for _, answer := range []string{"", "\n", "n\n", "yess\n", "no"} {
		out, problems, code := o.run(answer, "cleanup")
		if code != 1 || out != "" || !strings.Contains(problems, "Delete 2 rows") || !strings.Contains(problems, "nothing was deleted; answer y, or add --yes") || all() != "4" {
			t.Errorf("answer %q: exit code %d, %s rows left\n%s%s", answer, code, all(), out, problems)
		}
	}
	export := filepath.Join(o.dir, "sessions.jsonl")
	writeFile(t, export, "here already")
	o.refused("name a file that does not exist yet", "cleanup", "--yes", "--export", export)
	if text, _ := os.ReadFile(export); string(text) != "here already" || all() != "4" {
		t.Errorf("a file that was there holds %q, %s rows left", text, all())
	}
	export += ".2"
	var told struct {
		Deleted int
		Export  string
	}
	if o.json(&told, "cleanup", "--yes", "--export", export); told.Deleted != 2 || told.Export != export || all() != "2" {
		t.Errorf("%+v, %s rows left", told, all())
	}
	o.exported(export, "moves-0123456789abcdef0123456789abcdef", "moves-too-0123456789abcdef0123456789ab")
	if left := o.count("SELECT string_agg(id, ' ' ORDER BY id) FROM sessions"); left != "expired stays-0123456789abcdef0123456789abcdef" {
		t.Errorf("left: %s", left)
	}
	if out := o.must("cleanup"); !strings.HasPrefix(out, "0 rows deleted") {
		t.Errorf("again, with nothing to ask for: %s", out)
	}
	o.must("backfill")
	if out, _, code := o.run("y\n", "cleanup"); code != 0 || !strings.HasPrefix(out, "1 rows deleted") {
		t.Errorf("answer y: exit code %d, %s", code, out)
	}
}

// exported checks the file the rows went into: all columns, of exactly these rows, for its owner alone.
func (o *operator) exported(name string, ids ...string) {
	o.t.Helper()
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		o.t.Fatalf("the export's mode is %v, %v", info.Mode(), err)
	}
	file, err := os.Open(name)
	if err != nil {
		o.t.Fatal(err)
	}
	defer file.Close()
	var got []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		row := map[string]*string{}
		o.read(lines.Text(), &row)
		for _, column := range []string{"id", "user_id", "expires_at", "cart", "migrated_at", "gatehouse"} {
			if _, there := row[column]; !there {
				o.t.Errorf("an exported row lacks the column %s", column)
			}
		}
		if row["cart"] == nil || *row["cart"] != "apples" || row["migrated_at"] == nil || row["gatehouse"] != nil {
			o.t.Errorf("an exported row holds %v", row)
		}
		got = append(got, *row["id"])
	}
	if slices.Sort(got); !slices.Equal(got, ids) {
		o.t.Errorf("exported: %v", got)
	}
}
