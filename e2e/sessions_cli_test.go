package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// sessionsCLI runs `gatehouse sessions` on a config file to its end, without a terminal.
func sessionsCLI(t *testing.T, file string, args ...string) (out, problems string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"sessions", args[0], "--config", file}, args[1:]...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	said.add(stdout.String() + stderr.String())
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// must is sessionsCLI for what succeeds.
func must(t *testing.T, file string, args ...string) string {
	t.Helper()
	out, problems, code := sessionsCLI(t, file, args...)
	if code != 0 {
		t.Fatalf("sessions %v: exit %d\n%s%s", args, code, out, problems)
	}
	return out
}

// fails is sessionsCLI for what ends with 1, says one thing and prints nothing for programs.
func fails(t *testing.T, file, says string, args ...string) {
	t.Helper()
	if out, problems, code := sessionsCLI(t, file, args...); code != 1 || out != "" || !strings.Contains(problems, says) {
		t.Errorf("sessions %v: exit %d, printed %q, said %q, want %q", args, code, out, problems, says)
	}
}

// parsed is sessionsCLI with --json.
func parsed[T any](t *testing.T, file string, args ...string) (v T) {
	t.Helper()
	out := must(t, file, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("sessions %v: %v in\n%s", args, err, out)
	}
	return v
}

type cliSession struct {
	ID, UserID, Email, Role, Backend, IP, UserAgent, Store string
	CreatedAt, LastAccessed, ExpiresAt                     time.Time
}

// pair is two gateways on one Redis, and their config file.
func pair(t *testing.T) (sp space, here, there *gateway, file string) {
	t.Helper()
	sp = ownSpace(t)
	sp.prefix = "shop:"
	cfg := baseConfig(whoApp(t), sp.section())
	here, there = start(t, cfg, withUsers()), start(t, cfg, withUsers())
	return sp, here, there, filepath.Join(here.dir, "gatehouse.yaml")
}

// isIn reports whether a gateway lets a token in.
func isIn(t *testing.T, g *gateway, token string) bool {
	t.Helper()
	got := holder(t, g, token).get("/account")
	if got.StatusCode != 200 && got.StatusCode != 303 {
		t.Fatalf("%s", got.Status)
	}
	return got.StatusCode == 200
}

func endsAtBoth(t *testing.T, token string, gateways ...*gateway) {
	t.Helper()
	for _, g := range gateways {
		eventually(t, "the session to end at each gateway", func() bool { return !isIn(t, g, token) })
	}
}

func TestSessionsCLIShows(t *testing.T) {
	t.Parallel()
	sp, here, there, file := pair(t)
	tokens := signIns(t, 2, userEmail, userPassword, here, there)
	b := newBrowser(t, here.url)
	b.headers.Set("User-Agent", "Evil\u009b2J\u202e\tAgent")
	b.login(userEmail, userPassword)
	ids := []string{sessionID(tokens[0]), sessionID(tokens[1]), sessionID(b.token())}
	slices.Sort(ids)

	list := parsed[[]cliSession](t, file, "list", "--user", "2")
	var got []string
	for _, s := range list {
		got = append(got, s.ID)
		if s.UserID != "2" || s.Email != userEmail || s.Store != "redis" || s.Backend != "file" || s.IP == "" || !s.ExpiresAt.After(s.CreatedAt) {
			t.Errorf("%+v", s)
		}
	}
	if !slices.IsSortedFunc(list, func(a, b cliSession) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
		t.Error("not the oldest first")
	}
	if slices.Sort(got); !slices.Equal(got, ids) {
		t.Errorf("listed %v, want %v", got, ids)
	}
	table := must(t, file, "list", "--user", "2")
	if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "SESSION") ||
		!strings.Contains(table, ids[0][:12]) || !strings.Contains(table, `Evil\u009b2J\u202e`) {
		t.Errorf("the table:\n%s", table)
	}
	if empty := parsed[[]cliSession](t, file, "list", "--user", "nobody"); empty == nil || len(empty) != 0 {
		t.Errorf("a user without sessions: %v", empty)
	}
	for _, id := range []string{sessionID(b.token()), sessionID(b.token())[:8]} {
		for _, user := range []string{"", "2"} {
			args := append([]string{"show", "--user", user}, "--", id)
			out := must(t, file, args...)
			if !strings.Contains(out, sessionID(b.token())) || !strings.Contains(out, userEmail) || strings.ContainsAny(out, "\u009b\u202e\t") {
				t.Errorf("show %s:\n%q", id, out)
			}
		}
	}
	if s := parsedShow(t, file, ids[0][:20]); s.ID != ids[0] || s.UserID != "2" {
		t.Errorf("%+v", s)
	}
	// A session with the same beginning: only what tells them apart names one.
	text := sp.text(t, "GET", sp.session(tokens[0]))
	twin := ids[0][:20] + strings.Repeat("A", 23)
	if ids[0][20] == 'A' {
		twin = ids[0][:20] + "E" + strings.Repeat("A", 22)
	}
	key := sp.prefix + "session:{" + tagOf("2") + "}:" + twin
	sp.server.Do(t, "SET", key, strings.Replace(text, sessionID(tokens[0]), twin, 1), "EX", "600")
	fails(t, file, min(ids[0], twin)+"\n  "+max(ids[0], twin), "show", "--", ids[0][:8])
	fails(t, file, twin, "revoke", "--", ids[0][:20])
	if s := parsedShow(t, file, ids[0][:21]); s.ID != ids[0] {
		t.Errorf("%+v", s)
	}
	fails(t, file, "no such session", "show", strings.Repeat("z", 43))
	fails(t, file, "no such session", "revoke", "zzzzzzzz")
	fails(t, file, "no such session", "show", "--user", "1", "--", ids[0])
	fails(t, file, "first 8 characters", "show", "zzz")
	fails(t, file, "token, not its ID", "revoke", "--", tokens[0])
	fails(t, file, "the user's ID is empty", "list", "--user", "")
	fails(t, file, "the user's ID is empty", "revoke-user", "")
	fails(t, file, "goes behind two", "show", "-"+tokens[0])
	for _, token := range append(tokens, b.token()) {
		if !isIn(t, here, token) || !isIn(t, there, token) {
			t.Error("looking has ended a session")
		}
	}
}

// parsedShow shows a session whose ID may begin with a dash.
func parsedShow(t *testing.T, file, id string) (s cliSession) {
	t.Helper()
	out := must(t, file, "show", "--json", "--", id)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSessionsCLIRevokes(t *testing.T) {
	t.Parallel()
	sp, here, there, file := pair(t)
	tokens := signIns(t, 5, userEmail, userPassword, here, there)
	other := signIns(t, 1, adminEmail, adminPassword, here)[0]
	for _, token := range append(tokens, other) { // both have it in memory
		if !isIn(t, here, token) || !isIn(t, there, token) {
			t.Fatal("not logged in")
		}
	}
	out := must(t, file, "revoke", "--", sessionID(tokens[0])[:8])
	if !strings.Contains(out, sessionID(tokens[0])) || !strings.Contains(out, "user 2") {
		t.Errorf("revoke says %q", out)
	}
	endsAtBoth(t, tokens[0], here, there)
	fails(t, file, "no such session", "revoke", "--", sessionID(tokens[0]))

	// More than one: not without being sure.
	fails(t, file, "would end 4 sessions, and there is no terminal to ask on; add --yes", "revoke-user", "2")
	fails(t, file, "would end 3 sessions", "revoke-user", "2", "--except", sessionID(tokens[1]))
	fails(t, file, "--except: no such session", "revoke-user", "2", "--yes", "--except", sessionID(other)[:42])
	fails(t, file, "nothing was done", "revoke-user", "2", "--yes", "--except", "zzzzzzzz")
	for _, token := range tokens[1:] {
		if !isIn(t, here, token) || !isIn(t, there, token) {
			t.Fatal("a session has ended although nothing was to be done")
		}
	}
	type ended struct {
		UserID      string
		Ended, Kept int
	}
	got := parsed[ended](t, file, "revoke-user", "2", "--yes", "--except", sessionID(tokens[1]), "--except", sessionID(tokens[2])[:8],
		"--except", sessionID(tokens[0])) // which has ended and keeps nobody alive
	if got != (ended{"2", 2, 2}) {
		t.Errorf("revoke-user: %+v", got)
	}
	for _, token := range tokens[3:] {
		endsAtBoth(t, token, here, there)
	}
	// One is left to end beside the one that stays: nothing to ask.
	if out := must(t, file, "revoke-user", "2", "--except", sessionID(tokens[1])); !strings.Contains(out, "1 session ended, 1 session kept") {
		t.Errorf("revoke-user says %q", out)
	}
	endsAtBoth(t, tokens[2], here, there)
	for _, token := range []string{tokens[1], other} {
		if !isIn(t, here, token) || !isIn(t, there, token) {
			t.Error("a session that was to stay has ended")
		}
	}
	if n := sp.indexHolds(t); n != 2 {
		t.Errorf("%d sessions are left, want 2", n)
	}
}

// Redis is away: one clear line, and nothing half done.
func TestSessionsCLIWithoutRedis(t *testing.T) {
	t.Parallel()
	sp := ownSpace(t, testredis.Persistent())
	g := start(t, baseConfig(whoApp(t), sp.section()), withUsers())
	tokens, file := signIns(t, 2, userEmail, userPassword, g), filepath.Join(g.dir, "gatehouse.yaml")
	sp.server.Kill()
	to := filepath.Join(t.TempDir(), "sessions.jsonl")
	away := [][]string{
		{"list", "--user", "2"}, {"show", "--", sessionID(tokens[0])}, {"revoke", "--", sessionID(tokens[0])}, {"revoke-user", "2", "--yes"}, {"stats"}, {"stats", "--json"},
		{"audit"}, {"audit", "--repair"}, {"export"}, {"export", "--output", to},
	}
	parallel(4, len(away), func(i int) { fails(t, file, "cannot ask Redis at "+sp.server.Addr, away[i]...) })
	if _, err := os.Stat(to); err == nil {
		t.Error("a file was left behind")
	}
	sp.server.Restart()
	eventually(t, "the gateway to find Redis again", func() bool {
		return holder(t, g, tokens[0]).get("/account").StatusCode == 200 && holder(t, g, tokens[1]).get("/account").StatusCode == 200
	})
	if list := parsed[[]cliSession](t, file, "list", "--user", "2"); len(list) != 2 {
		t.Errorf("%d sessions are left", len(list))
	}
	embedded := filepath.Join(t.TempDir(), "embedded.yaml")
	writeFile(t, filepath.Join(filepath.Dir(embedded), "users.yaml"), usersYAML())
	writeFile(t, embedded, baseConfig("http://127.0.0.1:1", "redis: {addresses: [embedded]}\n"))
	fails(t, embedded, "redis.addresses is embedded", "stats")
	if out, code := runCommand(t, "", "sessions", "stats"); code != 1 || !strings.Contains(out, "--config FILE") {
		t.Errorf("without a config: exit %d, %s", code, out)
	}
	if out, code := runCommand(t, "", "sessions", "lst"); code != 1 || !strings.Contains(out, "unknown command") {
		t.Errorf("a mistyped subcommand: exit %d, %s", code, out)
	}
}

// While sessions move, those of the application's own table are listed, shown and ended as well.
func TestSessionsCLIWhileSessionsMove(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	o.row(7, "token-of-the-application-0")
	o.row(7, "token-of-the-application-1")
	o.row(8, "token-of-the-application-2")
	said.secret("token-of-the-application")
	list := parsed[[]cliSession](t, o.file(), "list", "--user", "7")
	if len(list) != 2 || list[0].Store != "database" || list[0].Email != "user7@example.com" {
		t.Fatalf("%+v", list)
	}
	if s := parsedShow(t, o.file(), list[0].ID[:8]); s.ID != list[0].ID || s.Store != "database" {
		t.Errorf("%+v", s)
	}
	must(t, o.file(), "revoke", "--", list[0].ID[:8])
	if n := o.count("SELECT count(*) FROM sessions WHERE user_id = 7"); n != "1" {
		t.Errorf("%s rows of the user are left, want 1", n)
	}
	must(t, o.file(), "revoke-user", "7", "--yes")
	if n := o.count("SELECT count(*) FROM sessions"); n != "1" {
		t.Errorf("%s rows are left, want the other user's", n)
	}
	type covered struct {
		Sessions int
		Covers   string
	}
	for _, name := range []string{"stats", "audit"} {
		if c := parsed[covered](t, o.file(), name); c.Sessions != 0 || !strings.Contains(c.Covers, "not those that are only in the application's table") {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
