//go:build linux

package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// sessionsOf makes n sessions of user 42 in a Redis, and gives a config file for it.
func sessionsOf(t *testing.T, server *testredis.Server, n int) (file string) {
	t.Helper()
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{server.Addr}, Timeout: 5 * time.Second}, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := session.NewManager(store, config.Default().Session, config.Outage{}, session.Options{})
	defer m.Close(context.Background())
	for range n {
		began, err := m.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.Create(t.Context(), session.Login{User: session.User{ID: "42"}, Backend: "file", Began: began}); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(t.TempDir(), "gatehouse.yaml")
	text := fmt.Sprintf("upstream: http://127.0.0.1:1\nrules: [{path: /public, access: public}]\nlogin: {backend: file, file: {path: users.yaml}}\nredis: {addresses: [%q], timeout: 3s}\n", server.Addr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// On a terminal it asks before more than one session ends, and only yes is yes.
func TestRevokeUserAsksOnTheTerminal(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	for _, tt := range []struct {
		answer   string
		sessions int
		asked    bool
		says     string
	}{
		{"", 3, true, "no session was ended"},
		{"no", 3, true, "no session was ended"},
		{"y", 3, true, "3 sessions ended"},
		{"", 1, false, "1 session ended"},
		{"", 0, false, "0 sessions ended"},
	} {
		server.Do(t, "FLUSHALL")
		file := sessionsOf(t, server, tt.sessions)
		person, program := openTerminal(t)
		if _, err := person.WriteString(tt.answer + "\n"); err != nil {
			t.Fatal(err)
		}
		var printed bytes.Buffer
		cmd := newSessionsCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(&printed)
		cmd.SetErr(&printed)
		cmd.SetIn(program)
		cmd.SetArgs([]string{"revoke-user", "42", "--config", file})
		err := cmd.ExecuteContext(t.Context())
		said := printed.String()
		if err != nil {
			said += err.Error()
		}
		if !strings.Contains(said, tt.says) || strings.Contains(said, "[y/N]") != tt.asked {
			t.Errorf("%q with %d sessions: %s", tt.answer, tt.sessions, said)
		}
		if left, _ := ptrTo(server.Do(t, "KEYS", "session:*")).AsStrSlice(); len(left) != map[bool]int{true: tt.sessions}[err != nil] {
			t.Errorf("%q with %d sessions: %d are left", tt.answer, tt.sessions, len(left))
		}
	}
}

// A bar is drawn on a terminal, and nowhere else.
func TestScansDrawABarOnTheTerminal(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	file := sessionsOf(t, server, 5)
	server.Do(t, "EVAL", "for i = 1, 3000 do redis.call('SET', 'other:' .. i, 'x') end", "0") // more than one step
	for _, name := range []string{"stats", "audit", "export"} {
		person, program := openTerminal(t)
		var out, plain bytes.Buffer
		for _, errs := range []any{program, &plain} {
			cmd := newSessionsCommand()
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetOut(&out)
			if terminal, ok := errs.(*os.File); ok {
				cmd.SetErr(terminal)
			} else {
				cmd.SetErr(&plain)
			}
			cmd.SetArgs([]string{name, "--config", file})
			if err := cmd.ExecuteContext(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if drawn := readScreen(t, person); !strings.Contains(drawn, "%") || !strings.Contains(drawn, "ing ") || !strings.Contains(drawn, "keys/s") {
			t.Errorf("%s draws %q", name, drawn)
		}
		if strings.Contains(plain.String()+out.String(), "%") {
			t.Errorf("%s draws into a pipe: %q", name, plain.String()+out.String())
		}
	}
}
