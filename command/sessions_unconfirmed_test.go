//go:build linux

package command

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// A revocation that Redis refuses at first is tried on, and told as what it came to.
func TestRevokeThatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		args   []string
		allow  bool // Redis comes round
		says   string
		exists bool
	}{
		{"confirmed later", []string{"revoke-user", "42"}, true, "what was to end has ended", false},
		{"never confirmed", []string{"revoke-user", "42"}, false, "it may have been done or not", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := testredis.Start(t)
			file := sessionsOf(t, server, 1)
			server.Do(t, "ACL", "SETUSER", "weak", "on", ">secret", "~*", "&*", "+@all", "-incr")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, bytes.Replace(text, []byte("redis: {"), []byte("redis: {username: weak, password: secret, "), 1), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd, printed := newSessionsCommand(), &screen{}
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetOut(printed)
			cmd.SetErr(printed)
			cmd.SetArgs(append(tt.args, "--config", file))
			done := make(chan error, 1)
			go func() { done <- cmd.ExecuteContext(t.Context()) }()
			if tt.allow {
				for deadline := time.Now().Add(10 * time.Second); len(denials(t, server)) == 0; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("Redis has refused nothing, so this shows nothing")
					}
				}
				server.Do(t, "ACL", "SETUSER", "weak", "+incr")
			}
			err = <-done
			said := printed.String()
			if err != nil {
				said += err.Error()
			}
			if !strings.Contains(said, tt.says) || (err == nil) != tt.allow || strings.Contains(said, "secret") {
				t.Errorf("%v: %s", err, said)
			}
			if left, _ := ptrTo(server.Do(t, "KEYS", "session:*")).AsStrSlice(); (len(left) == 1) != tt.exists {
				t.Errorf("%d sessions are left", len(left))
			}
		})
	}
}

func denials(t *testing.T, server *testredis.Server) []string {
	t.Helper()
	all, err := ptrTo(server.Do(t, "ACL", "LOG")).ToArray()
	if err != nil {
		t.Fatal(err)
	}
	var denied []string
	for _, d := range all {
		fields, _ := d.AsStrMap()
		denied = append(denied, fields["object"])
	}
	return denied
}

func ptrTo[T any](v T) *T { return &v }
