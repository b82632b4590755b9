package users_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"gatehouse/login/users"
)

// journal collects log lines of a goroutine that may still run.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

// take gives what was logged since the last take.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.buf.Reset()
	return j.buf.String()
}

func entry(id, email string) string {
	return "  - {id: " + id + ", email: " + email + ", password_hash: " + bcryptHash + "}\n"
}

// put writes a file the way careful programs do.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) (*users.File, *journal) {
	t.Helper()
	logged := &journal{}
	f, err := users.Open(path, zerolog.New(logged))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, logged
}

// look looks as often as it takes for a change to count.
func look(f *users.File) {
	f.Refresh()
	f.Refresh()
}

// has reports what the file's users are, by Find.
func has(f *users.File, emails ...string) bool {
	for _, email := range emails {
		if _, ok := f.Users().Find(email); !ok {
			return false
		}
	}
	return f.Users().Len() == len(emails)
}

func TestFileFollowsChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	put(t, path, "users:\n"+entry("1", "a@example.com"))
	f, logged := open(t, path)
	if !has(f, "a@example.com") {
		t.Fatal("the first version is not there")
	}
	// Each step follows the last one within the same tick of the clock.
	for _, step := range []struct{ name, text, logs string }{
		{"a user more", "users:\n" + entry("1", "a@example.com") + entry("2", "b@example.com"), "was read"},
		{"same size, same time", "users:\n" + entry("1", "a@example.com") + entry("2", "c@example.com"), "was read"},
		{"same content", "users:\n" + entry("1", "a@example.com") + entry("2", "c@example.com"), ""},
		{"none on purpose", "users: []\n", "was read"},
	} {
		put(t, path, step.text)
		look(f)
		want := []string{}
		for _, line := range strings.Split(step.text, "\n") {
			if _, rest, ok := strings.Cut(line, "email: "); ok {
				want = append(want, rest[:strings.Index(rest, ",")])
			}
		}
		if !has(f, want...) {
			t.Errorf("%s: %d users, want %v", step.name, f.Users().Len(), want)
		}
		if got := logged.take(); step.logs == "" && got != "" || !strings.Contains(got, step.logs) {
			t.Errorf("%s: logged %q, want %q", step.name, got, step.logs)
		}
	}
}

func TestFileKeepsTheLastGoodVersion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	good := "users:\n" + entry("1", "a@example.com")
	put(t, path, good)
	f, logged := open(t, path)
	for _, step := range []struct {
		name string
		do   func()
		says []string
	}{
		{"broken YAML", func() { put(t, path, good+"  - {id: 2\n") }, []string{"users.yaml:3:", "no YAML", "stay in force"}},
		{"unknown key", func() { put(t, path, good+"user: 1\n") }, []string{`users.yaml:3: unknown key`, "did you mean users?", "stay in force"}},
		{"half written", func() { put(t, path, "") }, []string{"is empty", "stay in force"}},
		{"deleted", func() { os.Remove(path) }, []string{"cannot be read any more", "stay in force"}},
		{"a folder instead", func() { os.Mkdir(path, 0o700) }, nil}, // still unreadable: said already
	} {
		step.do()
		look(f)
		got := logged.take()
		for _, words := range step.says {
			if !strings.Contains(got, words) {
				t.Errorf("%s: logged %q, which does not say %q", step.name, got, words)
			}
		}
		if !has(f, "a@example.com") {
			t.Errorf("%s: the last good version is gone", step.name)
		}
		f.Refresh()
		if again := logged.take(); again != "" {
			t.Errorf("%s: said twice: %s", step.name, again)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put(t, path, "users:\n"+entry("7", "new@example.com"))
	look(f)
	if !has(f, "new@example.com") || !strings.Contains(logged.take(), "was read") {
		t.Error("the file is not read when it comes back")
	}
}

// An edit in place keeps inode and size, and on coarse clocks also the time.
func TestFileSeesEditsInPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	put(t, path, "users:\n"+entry("1", "a@example.com"))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := open(t, path)
	if err := os.WriteFile(path, []byte("users:\n"+entry("1", "z@example.com")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	look(f)
	if !has(f, "z@example.com") {
		t.Error("an edit with the same inode, size and time was missed")
	}
}

// Scripts write a file as they go, and the beginning of a user file is one with fewer users, or with one who is not
// disabled yet: nobody may be logged out, or in, because the gateway looked in between.
func TestFileHalfWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	first := "users:\n" + entry("1", "a@example.com")
	put(t, path, first+entry("2", "b@example.com"))
	f, logged := open(t, path)
	if err := f.Close(); err != nil { // the looks are the test's alone
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct{ name, text string }{
		{"half", first},
		{"broken", first + "  - {id: 2, em"},
		{"more", first + entry("2", "b@example.com") + "# and"},
		{"as before", first + entry("2", "b@example.com")},
		{"half again", first},
		{"as before, again", first + entry("2", "b@example.com")},
		{"unchanged", first + entry("2", "b@example.com")},
	} {
		write(step.text)
		f.Refresh()
		if got := logged.take(); got != "" || !has(f, "a@example.com", "b@example.com") {
			t.Errorf("%s: %d users, logged %q", step.name, f.Users().Len(), got)
		}
	}
	write(first)
	f.Refresh()
	os.Remove(path)
	f.Refresh()
	write(first)
	f.Refresh()
	if !has(f, "a@example.com", "b@example.com") {
		t.Error("what was seen before the file was missing counts as seen twice")
	}
	// A file that was copied with its old times looks settled from the beginning.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	look(f)
	if !has(f, "a@example.com") {
		t.Error("a file that stays as it is is not read")
	}
	write(first + entry("3", "c@example.com"))
	if err := os.Chtimes(path, old, old.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	look(f)
	if !has(f, "a@example.com", "c@example.com") {
		t.Error("a file with old times is not read")
	}
}

func TestFileIsPolled(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	path := filepath.Join(t.TempDir(), "users.yaml")
	f, logged := open(t, path)
	if got := logged.take(); !strings.Contains(got, "does not exist") || !strings.Contains(got, "gatehouse users add") {
		t.Errorf("a missing file is announced with %q", got)
	}
	if f.Users().Len() != 0 {
		t.Error("users out of nowhere")
	}
	put(t, path, "users:\n"+entry("1", "a@example.com"))
	for deadline := time.Now().Add(10 * time.Second); !has(f, "a@example.com"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file that was made later is not read by itself")
		}
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	put(t, bad, "users:\n  - {id: 1}\n")
	_, err := users.Open(bad, zerolog.Nop())
	var invalid *users.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "bad.yaml:2: email is missing") {
		t.Errorf("bad file: %v", err)
	}
	if _, err := users.Open(dir, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("folder: %v", err)
	}
}
