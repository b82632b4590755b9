//go:build linux

package command

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// idsIn gives the IDs of the sessions in a Redis.
func idsIn(t *testing.T, server *testredis.Server) []string {
	t.Helper()
	names, err := ptrTo(server.Do(t, "KEYS", "session:*")).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, name := range names {
		ids = append(ids, name[strings.LastIndexByte(name, ':')+1:])
	}
	slices.Sort(ids)
	return ids
}

// sessionsRun runs a sessions command. stderr may be a terminal.
func sessionsRun(t *testing.T, stderr io.Writer, args ...string) (out string, err error) {
	t.Helper()
	cmd, printed := newSessionsCommand(), &screen{}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(printed)
	cmd.SetErr(stderr)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return printed.String(), err
}

// What a program is to read comes also when the store confirms late.
func TestRevokeThatIsConfirmedLateIsPrinted(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{true, false} {
		server := testredis.Start(t)
		file := sessionsOf(t, server, 3)
		ids := idsIn(t, server)
		args, ended := []string{"revoke", "--user", "42", "--json", "--config", file, "--", ids[0]}, 1
		if all {
			args, ended = []string{"revoke-user", "42", "--except=" + ids[0], "--yes", "--json", "--config", file}, 2
		}
		server.Do(t, "ACL", "SETUSER", "weak", "on", ">secret", "~*", "&*", "+@all", "-incr", "-del", "-unlink", "-zrem")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Replace(text, []byte("redis: {"), []byte("redis: {username: weak, password: secret, "), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		type result struct {
			out string
			err error
		}
		done, errs := make(chan result, 1), &screen{}
		go func() {
			out, err := sessionsRun(t, errs, args...)
			done <- result{out, err}
		}()
		for deadline := time.Now().Add(10 * time.Second); len(denials(t, server)) == 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("Redis has refused nothing, so this shows nothing")
			}
		}
		server.Do(t, "ACL", "SETUSER", "weak", "+@all")
		got := <-done
		var printed struct{ Ended int }
		if err := json.Unmarshal([]byte(got.out), &printed); err != nil || got.err != nil || printed.Ended != ended {
			t.Errorf("%v: %v, printed %q, said %q", args[0], got.err, got.out, errs)
		}
		if !strings.Contains(errs.String(), "what was to end has ended") || len(idsIn(t, server)) != 3-ended {
			t.Errorf("%v: said %q, left %v", args[0], errs, idsIn(t, server))
		}
	}
}

// Whose sessions an operator has ended is on record where standard error is kept; a person at a terminal reads the
// sentence alone.
func TestRevocationsLeaveAuditLines(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	file := sessionsOf(t, server, 3)
	ids := idsIn(t, server)
	kept := &screen{}
	for _, args := range [][]string{
		{"list", "--user", "42", "--config", file},
		{"revoke", "--user", "42", "--config", file, "--", ids[0]},
		{"revoke-user", "42", "--yes", "--config", file},
	} {
		if _, err := sessionsRun(t, kept, args...); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(kept.String()), "\n")
	for i, want := range []map[string]any{
		{"event": "revoke", "reason": "operator", "user": "42", "session": ids[0][:8]},
		{"event": "revoke", "reason": "all", "user": "42", "count": 2.0},
	} {
		var line map[string]any
		if len(lines) != 2 || json.Unmarshal([]byte(lines[i]), &line) != nil || line["type"] != "audit" || line["time"] == nil {
			t.Fatalf("written: %q", lines)
		}
		for key, value := range want {
			if line[key] != value {
				t.Errorf("line %d: %s is %v, want %v", i, key, line[key], value)
			}
		}
	}

	file = sessionsOf(t, server, 1)
	person, program := openTerminal(t)
	out, err := sessionsRun(t, program, "revoke-user", "42", "--json", "--config", file)
	program.WriteString("end of it\n")
	if shown := readScreen(t, person); err != nil || !strings.Contains(out, `"ended": 1`) || strings.Contains(shown, "audit") || !strings.Contains(shown, "end of it") {
		t.Errorf("%v: printed %q, the terminal shows %q", err, out, shown)
	}
}

// A session that was to stay and has ended meanwhile does not keep the others alive; a beginning may be mistyped.
func TestRevokeUserSparesWhatIsThere(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	file := sessionsOf(t, server, 3)
	ids, gone := idsIn(t, server), session.ID{7}.String()
	for _, except := range []string{gone[:42], gone[:8], session.NewToken("42")} {
		if out, err := sessionsRun(t, io.Discard, "revoke-user", "42", "--except="+except, "--yes", "--config", file); err == nil || !strings.Contains(err.Error(), "nothing was done") || strings.Contains(err.Error(), except) {
			t.Errorf("%d characters: %v %s", len(except), err, out)
		}
	}
	if len(idsIn(t, server)) != 3 {
		t.Fatalf("left: %v", idsIn(t, server))
	}
	out, err := sessionsRun(t, io.Discard, "revoke-user", "42", "--except="+gone, "--except="+ids[1], "--yes", "--json", "--config", file)
	if err != nil || !strings.Contains(out, `"ended": 2`) || !strings.Contains(out, `"kept": 1`) {
		t.Errorf("%v: %s", err, out)
	}
	if left := idsIn(t, server); !slices.Equal(left, ids[1:2]) {
		t.Errorf("left: %v, want %s", left, ids[1])
	}
}
