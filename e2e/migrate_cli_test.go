package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/testpostgres"
	"gatehouse/internal/testredis"
)

// operator has an application with sessions in a database, and the command line.
type operator struct {
	t        *testing.T
	database string
	redis    *testredis.Server
	app      string
	dir      string
	// tokens are what no command may print; printed is what they have.
	tokens  []string
	printed []string
}

const operatorsSchema = `CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, name text, email_verified boolean DEFAULT true, role text DEFAULT 'user', password_hash text);
CREATE TABLE sessions (id text PRIMARY KEY, user_id int NOT NULL REFERENCES users(id), expires_at timestamptz NOT NULL, cart text);`

const operatorsPassword = "correct-horse-9"

func newOperator(t *testing.T) *operator {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(operatorsPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{t: t, database: testpostgres.NewDatabase(t), redis: testredis.Start(t), app: startApp(t, nil).url, dir: t.TempDir()}
	o.sql(operatorsSchema + fmt.Sprintf("INSERT INTO users (id, email, name, password_hash) SELECT n, 'user' || n || '@example.com', 'User ' || n, '%s' FROM generate_series(1, 100) n", hash))
	o.write("legacy", 0)
	t.Cleanup(func() {
		for _, token := range o.tokens {
			for _, text := range o.printed {
				if strings.Contains(text, token) {
					t.Errorf("S04: the token %.8s... was printed:\n%s", token, text)
				}
			}
		}
	})
	return o
}

// newPrepared is newOperator, with the database as the migration needs it.
func newPrepared(t *testing.T) *operator {
	t.Helper()
	o := newOperator(t)
	o.must("prepare", "--apply")
	return o
}

func (o *operator) sql(statements string) {
	o.t.Helper()
	testpostgres.Exec(o.t, o.database, statements)
}

// count is the one number a query gives.
func (o *operator) count(query string) string {
	o.t.Helper()
	return testpostgres.Rows(o.t, o.database, query)[0][0]
}

func (o *operator) config(state string, percent int) string {
	return fmt.Sprintf(`upstream: %s
rules: [{path: /public, access: public}]
login: {backend: database, limits: {per_address: 6000/m, per_account: 6000/m, burst: 1000}}
session: {cookie: {secure: false}}
database: {url: "%s", timeout: 10s}
redis: {addresses: [%q], timeout: 3s}
migration: {state: %s, percent: %d}
admin: {listen: 127.0.0.1:0}
`, o.app, o.database, o.redis.Addr, state, percent)
}

func (o *operator) file() string { return filepath.Join(o.dir, "gatehouse.yaml") }

func (o *operator) write(state string, percent int) {
	o.t.Helper()
	writeFile(o.t, o.file(), o.config(state, percent))
}

// row makes a session as the application does.
func (o *operator) row(user int, token string) {
	o.t.Helper()
	o.tokens = append(o.tokens, token)
	o.sql(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at, cart) VALUES ('%s', %d, now() + interval '1 day', 'apples')", token, user))
}

// rows makes so many.
func (o *operator) rows(n int) {
	o.t.Helper()
	o.sql(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at) SELECT 'token-0123456789abcdef-' || n, n, now() + interval '1 day' FROM generate_series(1, %d) n", n))
	o.tokens = append(o.tokens, "token-0123456789abcdef-")
}

func (o *operator) command(args ...string) *exec.Cmd {
	return exec.Command(binary, append(append([]string{"migrate"}, args...), "--config", o.file())...)
}

// run runs `gatehouse migrate` to its end. stdin is what is answered.
func (o *operator) run(stdin string, args ...string) (out, problems string, code int) {
	o.t.Helper()
	cmd := o.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		o.t.Fatal(err)
	}
	o.printed = append(o.printed, stdout.String(), stderr.String())
	said.add(stdout.String() + stderr.String())
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// must is run, of what must succeed.
func (o *operator) must(args ...string) string {
	o.t.Helper()
	out, problems, code := o.run("", args...)
	if code != 0 {
		o.t.Fatalf("gatehouse migrate %v: exit code %d\n%s%s", args, code, out, problems)
	}
	return out
}

// refused is run, of what must fail and say so in these words.
func (o *operator) refused(says string, args ...string) {
	o.t.Helper()
	out, problems, code := o.run("", args...)
	if code != 1 || !strings.Contains(problems, says) || out != "" {
		o.t.Errorf("gatehouse migrate %v: exit code %d, want 1 and %q\n%s%s", args, code, says, out, problems)
	}
}

// json is must with --json, read.
func (o *operator) json(to any, args ...string) {
	o.t.Helper()
	out := o.must(append(args, "--json")...)
	o.read(out, to)
}

func (o *operator) read(out string, to any) {
	o.t.Helper()
	if err := json.Unmarshal([]byte(out), to); err != nil {
		o.t.Fatalf("no JSON: %v\n%s", err, out)
	}
}

// status is what `status --json` tells.
type status struct {
	Setting, File struct {
		State   string
		Percent int
	}
	Shared   *struct{ State, By string }
	Database *struct{ Live, Moved, Expired int }
	Redis    *struct{ Sessions, Moved, Copies int }
	LastHour map[string]int
	Errors   []string
	Next     string
	Safe     bool
	Why      []string
}

func (o *operator) status() (s status) {
	o.t.Helper()
	o.json(&s, "status")
	return s
}

func TestMigratePrepare(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for _, args := range [][]string{{"serve"}, {"check"}} {
		out, code := runCommand(t, "", append(args, "--config", o.file())...)
		if code != 1 || !strings.Contains(out, "migrated_at of sessions") || !strings.Contains(out, "gatehouse_epochs") || !strings.Contains(out, "gatehouse migrate prepare --apply") {
			t.Errorf("%v before it is prepared: exit code %d\n%s", args, code, out)
		}
	}
	statements := o.must("prepare")
	if o.count("SELECT count(*) FROM information_schema.columns WHERE column_name = 'migrated_at'") != "0" {
		t.Error("without --apply it has changed something")
	}
	var list []string
	if o.json(&list, "prepare"); strings.Join(list, ";\n")+";\n" != statements {
		t.Errorf("as JSON %q, as text %q", list, statements)
	}
	o.sql(statements)
	o.sql(statements) // twice is no error
	if out := o.must("prepare", "--apply"); !strings.Contains(out, "already") {
		t.Errorf("prepared by hand, and then: %s", out)
	}
	if out, code := runCommand(t, "", "check", "--config", o.file()); code != 0 || !strings.Contains(out, "ok       database.url: postgres") || !strings.Contains(out, "session.database") {
		t.Errorf("check: exit code %d\n%s", code, out)
	}
	g := start(t, o.config("legacy", 0), options{})
	if g.entries(map[string]any{"message": "listening", "migration": "legacy"}) == nil {
		t.Error("the gateway does not say which state it begins in")
	}
	other := newOperator(t)
	if out := other.must("prepare", "--apply"); !strings.Contains(out, "ready") {
		t.Errorf("applied: %s", out)
	}
	if out := other.must("prepare", "--apply"); !strings.Contains(out, "already") {
		t.Errorf("applied twice: %s", out)
	}
	var done any
	newOperator(t).json(&done, "prepare", "--apply")
	other.json(&done, "prepare", "--apply")
}

func TestMigrateNeedsSettings(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	if out, code := runCommand(t, "", "migrate", "status"); code != 1 || !strings.Contains(out, "--config FILE") {
		t.Errorf("without a file: exit code %d\n%s", code, out)
	}
	if out, code := runCommand(t, "", "migrate", "statsu"); code != 1 || !strings.Contains(out, "statsu") {
		t.Errorf("mistyped: exit code %d\n%s", code, out)
	}
	for _, name := range []string{"prepare", "status", "set", "backfill", "verify", "cleanup"} {
		if out, code := runCommand(t, "", "migrate", name, "--help"); code != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, "--json") {
			t.Errorf("%s --help: exit code %d\n%s", name, code, out)
		}
	}
	writeFile(t, o.file(), strings.ReplaceAll(o.config("legacy", 0), "migration:", "#"))
	o.refused("migration.state is not set", "status")
	o.write("tomorrow", 0)
	o.refused("migration.state", "status")
	// What is away is told, and is no reason to go on.
	o.redis.Kill()
	o.write("legacy", 0)
	if s := o.status(); s.Safe || s.Redis != nil || len(s.Errors) == 0 || !slices.Contains(s.Why, "Redis cannot be asked") {
		t.Errorf("without Redis: %+v", s)
	}
	o.refused("Redis cannot be asked", "set", "shadow")
	o.refused("session: store unavailable", "set", "shadow", "--force")
}

// TestMigrateStatus walks through all states, with one session that stays in the database.
func TestMigrateStatus(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	o.row(1, "stays-0123456789abcdef0123456789abcdef")
	o.sql("INSERT INTO sessions VALUES ('expired', 2, now() - interval '1 hour')")
	for i, c := range []struct {
		state, next string
		safe        bool
		why         string
	}{
		{"legacy", "shadow", true, ""},
		{"shadow", "canary", false, "no copy has been compared with its row"},
		{"canary", "primary", false, "no user's sessions are in Redis yet"},
		{"primary", "drain", true, ""}, // nobody has asked for the one session within the last hour
		{"drain", "done", false, "1 live sessions are only in the database"},
		{"done", "", false, ""},
	} {
		if i > 0 {
			o.must("set", c.state, "--force")
		}
		s := o.status()
		if s.Setting.State != c.state || s.File.State != "legacy" || s.Next != c.next || s.Safe != c.safe || !strings.HasPrefix(strings.Join(s.Why, "\n"), c.why) || (c.why == "") != (s.Why == nil) {
			t.Errorf("%s: %+v", c.state, s)
		}
		if (s.Shared != nil) != (i > 0) || i > 0 && (s.Shared.State != c.state || s.Shared.By == "") || s.Redis == nil || len(s.Errors) > 0 {
			t.Errorf("%s: %+v", c.state, s)
		}
		if s.Database == nil || c.state != "done" && (s.Database.Live != 1 || s.Database.Expired != 1 || s.Database.Moved != 0) {
			t.Errorf("%s: in the database %+v", c.state, s.Database)
		}
		text := o.must("status")
		for _, want := range []string{"state", c.state, "database", "redis", "last hour", "next", c.why} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", c.state, want, text)
			}
		}
		switch {
		case c.safe && !strings.Contains(text, "gatehouse migrate set "+c.next+" --config "+o.file()):
			t.Errorf("%s: it does not say how to go on\n%s", c.state, text)
		case c.why != "" && !strings.Contains(text, "NOT safe to go on to "+c.next):
			t.Errorf("%s: it does not say that it is not safe\n%s", c.state, text)
		}
	}
	var raw map[string]any
	o.json(&raw, "status")
	for name, value := range raw {
		if strings.ToLower(name[:1]) != name[:1] {
			t.Errorf("the field %s is not written as the others", name)
		}
		members, _ := value.(map[string]any)
		for name := range members {
			if strings.ToLower(name[:1]) != name[:1] {
				t.Errorf("the field %s is not written as the others", name)
			}
		}
	}
}

// TestMigrateLookingChangesNothing: also with a file that says done, as somebody writes who prepares the last step.
func TestMigrateLookingChangesNothing(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	o.rows(3)
	o.write("done", 0)
	for _, args := range [][]string{{"status"}, {"verify"}, {"status", "--json"}} {
		o.must(args...)
	}
	o.run("", "cleanup")
	o.run("", "backfill")
	if marked := o.count("SELECT count(*) FROM sessions WHERE migrated_at IS NOT NULL"); marked != "0" {
		t.Errorf("%s sessions have ended because somebody looked", marked)
	}
}

func TestMigrateSet(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	for _, c := range []struct {
		says string
		args []string
	}{
		{"is no state of the migration", []string{"set", "tomorrow"}},
		{"accepts 1 arg", []string{"set"}},
		{"use 0 to 100", []string{"set", "canary", "--percent", "101"}},
		{"use 0 to 100", []string{"set", "canary", "--percent", "-1"}},
		{"from legacy go to drain first", []string{"set", "done"}},
		{"from legacy go to drain first", []string{"set", "done", "--force"}},
	} {
		o.refused(c.says, c.args...)
	}
	if s := o.status(); s.Shared != nil {
		t.Errorf("what was refused was written: %+v", s.Shared)
	}
	back := o.must("set", "shadow")
	if !strings.Contains(back, "legacy to shadow") || !strings.Contains(back, "gatehouse migrate set legacy --config "+o.file()) {
		t.Errorf("set says %q", back)
	}
	o.refused("it is not safe to go on from shadow to canary", "set", "canary", "--percent", "5")
	o.must("set", "canary", "--percent", "5", "--force")
	if back := o.must("set", "shadow"); !strings.Contains(back, "canary 5 % to shadow") || !strings.Contains(back, "set canary --percent 5 --config") {
		t.Errorf("back from canary it says %q", back)
	}
	var shared struct {
		State   string
		Percent int
		Over    struct{ State string }
		By      string
	}
	o.json(&shared, "set", "canary", "--force")
	if shared.State != "canary" || shared.Percent != 5 || shared.Over.State != "legacy" || shared.By == "" {
		t.Errorf("without --percent it stays as it was: %+v", shared)
	}
	o.must("set", "primary", "--force")
	o.refused("from primary go to drain first, and from there to done", "set", "done", "--force")
	o.must("set", "drain")
	o.must("set", "done") // the table is empty
	for _, state := range []string{"legacy", "shadow", "canary", "primary"} {
		o.refused("from done go to drain first", "set", state, "--force")
	}
	for _, state := range []string{"drain", "primary", "canary", "shadow", "legacy"} {
		o.must("set", state) // back is never refused
		if s := o.status(); s.Setting.State != state {
			t.Errorf("set back to %s: %+v", state, s.Setting)
		}
	}
	o.must("set", "shadow")
	if out := o.must("set", "file"); !strings.Contains(out, "config file") {
		t.Errorf("set file says %q", out)
	}
	if s := o.status(); s.Shared != nil || s.Setting.State != "legacy" {
		t.Errorf("by the file: %+v", s)
	}
	var after struct {
		State   string
		Setting struct{ State string }
	}
	o.must("set", "shadow")
	if o.json(&after, "set", "file"); after.State+after.Setting.State != "legacy" {
		t.Errorf("set file tells %+v, and the file says legacy", after)
	}
}

// TestMigrateSetFileIsAStep: into what the file says, which may be a step forward.
func TestMigrateSetFileIsAStep(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	o.rows(3)
	o.write("drain", 0)
	o.must("set", "shadow")
	o.refused("it is not safe to go on from shadow to drain", "set", "file")
	o.must("set", "file", "--force")
}

// TestMigrateGatewaysFollow: what was said last holds, by the command or in the file.
func TestMigrateGatewaysFollow(t *testing.T) {
	t.Parallel()
	o := newPrepared(t)
	gateways := []*gateway{start(t, o.config("legacy", 0), options{}), start(t, o.config("legacy", 0), options{})}
	follow := func(state string, gateways ...*gateway) {
		t.Helper()
		began := time.Now()
		eventually(t, "the gateways to be in state "+state, func() bool {
			for _, g := range gateways {
				if g.metric(t, `gatehouse_migration_state{state="`+state+`"}`) != "1" {
					return false
				}
			}
			return true
		})
		t.Logf("in %s after %v", state, time.Since(began).Round(time.Millisecond))
	}
	stays := func(g *gateway, state string) {
		t.Helper()
		if g.metric(t, `gatehouse_migration_state{state="`+state+`"}`) != "1" {
			t.Errorf("it is not in state %s any more", state)
		}
	}
	for _, state := range []string{"shadow", "primary", "drain", "done", "drain", "legacy", "shadow"} {
		o.must("set", state, "--force")
		follow(state, gateways...)
	}
	g := gateways[0]
	file := filepath.Join(g.dir, "gatehouse.yaml")
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) { writeFile(t, file, strings.ReplaceAll(string(was), old, new)) }
	edit("state: legacy", "state: primary")
	follow("primary", g)
	stays(gateways[1], "shadow")
	edit("state: legacy", "state: tomorrow")
	g.logged(t, map[string]any{"level": "error", "message": "the config file has changed and is not valid; the settings stay as they are"})
	stays(g, "primary")
	if err := os.Remove(file); err != nil { // as editors do
		t.Fatal(err)
	}
	edit("state: legacy, percent: 0", "state: canary, percent: 40")
	follow("canary", g)
	if got := g.metric(t, "gatehouse_migration_canary_percent"); got != "40" {
		t.Errorf("%s per cent, want 40", got)
	}
	if g.entries(map[string]any{"level": "warn", "message": otherKeys}) != nil {
		t.Error("only the state was changed, and more is told")
	}
	edit("timeout: 3s}\nmigration: {state: legacy, percent: 0", "timeout: 2s}\nmigration: {state: canary, percent: 40")
	g.logged(t, map[string]any{"level": "warn", "message": otherKeys})
	stays(g, "canary")
	// What it is changed back to was said last as well.
	writeFile(t, file, string(was))
	follow("legacy", g)
}

const otherKeys = "the config file has changed in more than migration.state and migration.percent; the rest takes effect with the next start"
