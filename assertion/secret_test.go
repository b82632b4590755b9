package assertion

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
)

// The secret follows its file; what is no secret changes nothing, and the log never holds one.
func TestSecretFollowsItsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	now := time.Now()
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(3 * time.Second)
	}
	first, second := strings.Repeat("first-", 6), strings.Repeat("second", 6)
	write(first + "\n")
	var log bytes.Buffer
	s, err := NewSecret(config.IdentitySecretHeader{SecretFile: file, Secret: config.Secret(first)}, func() time.Time { return now }, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{{first + "\n", first}, {"", first}, {"short", first}, {second + " \r\n", second}, {"two words " + first, second}, {first, first}} {
		write(step.text)
		for range 3 {
			if got := s.Value(); got != step.want {
				t.Errorf("with %q the secret is %q", step.text, got)
			}
		}
	}
	said := log.String()
	if strings.Count(said, "read anew") != 2 || strings.Count(said, `"level":"error"`) != 3 || strings.Contains(said, first) || strings.Contains(said, second) {
		t.Errorf("the log says %s", said)
	}
}

func TestSecretOfTheSettings(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("x", config.MinIdentitySecret)
	if s, err := NewSecret(config.IdentitySecretHeader{Name: "X"}, time.Now, zerolog.Nop()); s != nil || err != nil {
		t.Errorf("without one: %v, %v", s, err)
	}
	s, err := NewSecret(config.IdentitySecretHeader{Secret: config.Secret(" " + good + " ")}, time.Now, zerolog.Nop())
	if err != nil || s.Value() != good {
		t.Fatalf("%v, %v", s, err)
	}
	for _, bad := range []config.IdentitySecretHeader{{Secret: "hunter2"}, {SecretFile: "/none/secret"}} {
		_, err := NewSecret(bad, time.Now, zerolog.Nop())
		if err == nil || !strings.HasPrefix(err.Error(), "identity_secret_header.secret") || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}
