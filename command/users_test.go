package command

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runUsers runs a users subcommand on a file and gives what it printed.
func runUsers(t *testing.T, file, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := newUsersCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetArgs(append(args, "--file", file))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestUsers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.yaml")
	steps := []struct {
		args  string
		stdin string
		want  string // in the output, or in the error when it begins with "error:"
	}{
		{"list", "", "error:gatehouse users add"},
		{"add --email ada@example.com --role admin --password-stdin", "correct-horse-1\n", "id 1"},
		{"add --email uma@example.com --id u-7 --name Uma --email-verified --password-stdin", "correct-horse-2", "X-User-Id: u-7"},
		{"add --email ADA@example.com --password-stdin", "correct-horse-3\n", "error:users passwd"},
		{"add --email new@example.com --id u-7 --password-stdin", "correct-horse-3\n", "error:uma@example.com"},
		{"add --email new@example.com --password-stdin", "short\n", "error:8"},
		{"add --email new@example.com", "correct-horse-3\n", "error:--password-stdin"},
		{"add --password-stdin", "correct-horse-3\n", "error:email"},
		{"list", "", "uma@example.com"},
		{"passwd --email Uma@Example.com --password-stdin", "battery-staple-2\n", "new password"},
		{"passwd --email nobody@example.com --password-stdin", "battery-staple-2\n", "error:users list"},
		{"remove --email nobody@example.com", "", "error:users list"},
		{"remove --email ada@example.com", "", "removed ada@example.com (id 1)"},
		{"add --email ada@example.com --password-stdin", "correct-horse-1\n", "id 2"},
	}
	for _, step := range steps {
		out, err := runUsers(t, file, step.stdin, strings.Fields(step.args)...)
		if want, fails := strings.CutPrefix(step.want, "error:"); fails {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", step.args, err, want)
			}
		} else if err != nil || !strings.Contains(out, step.want) {
			t.Errorf("%s: %q, %v, want %q", step.args, out, err, step.want)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "$argon2id$v=19$m=19456,t=2,p=1$"); n != 2 {
		t.Errorf("%d argon2id hashes with OWASP's parameters in\n%s", n, text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of hashes is %v, %v", info.Mode(), err)
	}
}

func TestUsersListAsJSON(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.yaml")
	if _, err := runUsers(t, file, "correct-horse-1\n", "add", "--email", "ada@example.com", "--role", "admin", "--password-stdin"); err != nil {
		t.Fatal(err)
	}
	out, err := runUsers(t, file, "", "list", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(list) != 1 || list[0]["email"] != "ada@example.com" || list[0]["role"] != "admin" || strings.Contains(out, "$argon2id$") {
		t.Errorf("%s", out)
	}
}
