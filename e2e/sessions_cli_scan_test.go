package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSessionsCLICountsAndExports(t *testing.T) {
	t.Parallel()
	sp, here, _, file := pair(t)
	first := signIns(t, 1, adminEmail, adminPassword, here)[0]
	tokens := signIns(t, 3, userEmail, userPassword, here)
	sp.copies(t, tokens[0], 9)
	sp.server.Do(t, "SET", sp.prefix+"session:{"+tagOf("2")+"}:"+sessionID("x"), "no JSON", "EX", "600")
	type stats struct {
		Sessions, Users, Corrupt, Copies int
		PerUser                          []struct{ From, To, Users int }
		Oldest                           cliSession
		Memory                           struct {
			Used, Max  int64
			PerSession float64
			Sampled    int
		}
		Covers string
	}
	s := parsed[stats](t, file, "stats")
	users := map[int]int{}
	for _, r := range s.PerUser {
		users[r.From] = r.Users
	}
	if s.Sessions != 13 || s.Users != 2 || s.Corrupt != 1 || s.Copies != 0 || users[1] != 1 || users[11] != 1 || s.Oldest.ID != sessionID(first) ||
		s.Memory.Used < 100_000 || s.Memory.Sampled != 13 || s.Memory.PerSession < 100 || s.Covers != "all sessions" {
		t.Errorf("%+v", s)
	}
	table := must(t, file, "stats")
	for _, want := range []string{"sessions     13", "users        2", "1 user has 1 session", "1 user has 11 to 20 sessions", sessionID(first)[:12], "no limit", "1 record that cannot be read"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	exported := func(text string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(text), "\n")
		seen := map[string]bool{}
		for _, line := range lines {
			var v cliSession
			if err := json.Unmarshal([]byte(line), &v); err != nil || v.UserID == "" {
				t.Fatalf("%v in %s", err, line)
			}
			seen[v.ID] = true
		}
		if len(lines) != 13 || len(seen) != 13 || !seen[sessionID(first)] || strings.Contains(text, "sealed") {
			t.Errorf("%d lines, %d sessions:\n%s", len(lines), len(seen), text)
		}
	}
	out, problems, code := sessionsCLI(t, file, "export")
	if exported(out); code != 0 || !strings.Contains(problems, "13 sessions written (all sessions)") || !strings.Contains(problems, "1 record left out") {
		t.Errorf("export: exit %d, %q", code, problems)
	}
	to := filepath.Join(t.TempDir(), "sessions.jsonl")
	if out := must(t, file, "export", "--output", to); !strings.Contains(out, "13 sessions written to "+to) {
		t.Errorf("export says %q", out)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	said.add(string(text))
	exported(string(text))
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	fails(t, file, "does not exist yet", "export", "--output", to)
}

func TestSessionsCLIAuditsAndRepairs(t *testing.T) {
	t.Parallel()
	sp, here, there, file := pair(t)
	tokens := signIns(t, 4, userEmail, userPassword, here, there)
	other := signIns(t, 1, adminEmail, adminPassword, here)[0]
	if out := must(t, file, "audit"); !strings.Contains(out, "problems  none") {
		t.Errorf("%s", out)
	}
	index := sp.index("2")
	sp.server.Do(t, "ZREM", index, sessionID(tokens[0]))
	sp.server.Do(t, "ZADD", index, "1", sessionID(tokens[1]))
	sp.server.Do(t, "PERSIST", sp.session(tokens[2]))
	sp.server.Do(t, "PERSIST", index)
	sp.server.Do(t, "ZADD", index, "9999999999999", sessionID("gone"))
	sp.server.Do(t, "SET", sp.session(tokens[3]), "{\x1b[2J", "KEEPTTL")
	sp.server.Do(t, "DEL", sp.index("1"))
	sp.server.Do(t, "SET", sp.index("1"), "no index")
	sp.server.Do(t, "SET", sp.prefix+"session:{"+tagOf("1")+"}:"+sessionID("wrong"), sp.text(t, "GET", sp.session(other)), "EX", "600")
	want := map[string]int{"unindexed": 2, "entry_early": 1, "record_endless": 1, "index_endless": 1, "dead_entry": 1, "corrupt": 1, "index_type": 1, "misplaced": 1}
	type report struct {
		Sessions, Indexes, Problems, Repaired int
		Kinds                                 map[string]int
		Findings                              []struct {
			Kind, Key, What, Done, Hint string
			Repaired                    bool
		}
	}
	check := func(problems, repaired, exit int, kinds map[string]int, args ...string) {
		t.Helper()
		out, errors, code := sessionsCLI(t, file, append([]string{"audit", "--json"}, args...)...)
		var r report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v in %s%s", err, out, errors)
		}
		if code != exit || r.Problems != problems || r.Repaired != repaired || fmt.Sprint(r.Kinds) != fmt.Sprint(kinds) || len(r.Findings) != problems {
			t.Errorf("audit %v: exit %d, %+v, want %d problems, %d repaired: %v", args, code, r, problems, repaired, kinds)
		}
	}
	before := sp.dump(t)
	check(9, 0, 1, want)
	if after := sp.dump(t); !slices.Equal(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(after))) {
		t.Error("looking has changed something")
	}
	out, _, code := sessionsCLI(t, file, "audit")
	if code != 1 || strings.Contains(out, "\x1b") || !strings.Contains(out, "audit --repair heals") || !strings.Contains(out, index) {
		t.Errorf("exit %d:\n%s", code, out)
	}
	check(9, 8, 1, want, "--repair")
	check(1, 0, 1, map[string]int{"corrupt": 1})
	sp.server.Do(t, "DEL", sp.session(tokens[3]))
	sp.server.Do(t, "ZREM", index, sessionID(tokens[3]))
	check(0, 0, 0, map[string]int{})
	for _, g := range []*gateway{here, there} {
		for _, token := range append(tokens[:3:3], other) {
			if !isIn(t, g, token) {
				t.Error("a session was lost")
			}
		}
	}
	if n := sp.indexHolds(t); n != 4 {
		t.Errorf("%d sessions, want 4", n)
	}
	// What was out of the index can be ended with the rest again.
	must(t, file, "revoke-user", "2", "--yes")
	endsAtBoth(t, tokens[0], here, there)
}
