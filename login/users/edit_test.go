package users_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/login/users"
)

// edit applies f to a file and saves it.
func edit(t *testing.T, path string, f func(e *users.Editor) error) {
	t.Helper()
	e, err := users.Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f(e); err != nil {
		t.Fatal(err)
	}
	if err := e.Save(); err != nil {
		t.Fatal(err)
	}
}

func add(entry users.Entry) func(*users.Editor) error {
	return func(e *users.Editor) error { _, err := e.Add(entry); return err }
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAddMakesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	edit(t, path, add(users.Entry{Email: "ada@example.com", Name: "Ada: #1", Role: "no", EmailVerified: true, PasswordHash: bcryptHash}))
	edit(t, path, add(users.Entry{ID: "007", Email: "bob@example.com", Name: "12", PasswordHash: bcryptHash}))
	want := `users:
  - id: 1
    email: ada@example.com
    name: 'Ada: #1'
    role: no
    email_verified: true
    password_hash: ` + bcryptHash + `
  - id: "007"
    email: bob@example.com
    name: "12"
    email_verified: false
    password_hash: ` + bcryptHash + `
`
	if got := read(t, path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
}

func TestEditsKeepTheRest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	put(t, path, string(file(good)))
	edit(t, path, add(users.Entry{Email: "new@example.com", PasswordHash: bcryptHash}))
	edit(t, path, func(e *users.Editor) error { _, err := e.SetPassword(" USER@example.com", hash); return err })
	edit(t, path, func(e *users.Editor) error { _, err := e.Remove("big@example.com"); return err })
	got := read(t, path)
	for _, text := range []string{"# who may log in\n", "# the second one\n", "disabled: true # until May\n", `id: "u-2"`, "email: Admin@Example.com\n"} {
		if !strings.Contains(got, text) {
			t.Errorf("%q is gone from\n%s", text, got)
		}
	}
	set, err := users.Parse([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, u := range set.All() {
		ids = append(ids, u.ID)
	}
	if strings.Join(ids, " ") != "1 u-2 2" {
		t.Errorf("order %v", ids)
	}
	if u, _ := set.Find("user@example.com"); !u.Hash.Matches("correct-horse-1") || !u.Disabled {
		t.Error("the new password is not set, or disabled is lost")
	}
	if u, _ := set.Find("admin@example.com"); !u.Hash.Matches("correct-horse-1") || u.Name != "Ada Admin" {
		t.Error("another user changed")
	}
}

func TestCommentsOfAnEmptyFileStay(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"# our users\n# ask Ada\n", "# our users\nusers: []\n", "# our users\nusers:\n"} {
		path := filepath.Join(t.TempDir(), "users.yaml")
		put(t, path, text)
		edit(t, path, add(users.Entry{Email: "a@example.com", PasswordHash: bcryptHash}))
		if got := read(t, path); !strings.HasPrefix(got, "# our users\n") || !strings.Contains(got, "  - id: 1\n") {
			t.Errorf("%q became\n%s", text, got)
		}
	}
}

// The removed user's sessions live on for a while, and the application keeps their data: a new user
// with their ID would get both.
func TestRemovedIDsAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	for _, email := range []string{"a@example.com", "b@example.com"} {
		edit(t, path, add(users.Entry{Email: email, PasswordHash: bcryptHash}))
	}
	remove := func(email string) {
		edit(t, path, func(e *users.Editor) error { _, err := e.Remove(email); return err })
	}
	remove("a@example.com")
	if got := read(t, path); strings.Contains(got, "next_id") {
		t.Errorf("next_id is written although the IDs in the file tell it:\n%s", got)
	}
	remove("b@example.com")
	edit(t, path, add(users.Entry{Email: "c@example.com", PasswordHash: bcryptHash}))
	remove("c@example.com")
	edit(t, path, add(users.Entry{Email: "d@example.com", PasswordHash: bcryptHash}))
	e, err := users.Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	if u, _ := e.Users().Find("d@example.com"); u.ID != "4" {
		t.Errorf("the fourth user has the ID %s of a removed one:\n%s", u.ID, read(t, path))
	}
}

func TestEditErrors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	put(t, path, string(file(good)))
	for _, tt := range []struct {
		name string
		do   func(*users.Editor) error
		want error
		says string
	}{
		{"email taken", add(users.Entry{Email: "ADMIN@example.com ", PasswordHash: hash}), users.ErrExists, "Admin@Example.com with id 1"},
		{"id taken", add(users.Entry{ID: "u-2", Email: "x@example.com", PasswordHash: hash}), users.ErrExists, "user@example.com"},
		{"no email", add(users.Entry{Email: "x", PasswordHash: hash}), nil, `email "x" is none`},
		{"line end in name", add(users.Entry{Email: "x@example.com", Name: "a\nb", PasswordHash: hash}), nil, "control character"},
		{"no UTF-8", add(users.Entry{Email: "x@example.com", Name: "a\xff", PasswordHash: hash}), nil, "UTF-8"},
		{"no hash", add(users.Entry{Email: "x@example.com"}), nil, "hash is empty"},
		{"passwd of nobody", func(e *users.Editor) error { _, err := e.SetPassword("x@example.com", hash); return err }, users.ErrUnknown, "x@example.com"},
		{"remove nobody", func(e *users.Editor) error { _, err := e.Remove("x@example.com"); return err }, users.ErrUnknown, "x@example.com"},
	} {
		e, err := users.Edit(path)
		if err != nil {
			t.Fatal(err)
		}
		err = tt.do(e)
		if err == nil || !strings.Contains(err.Error(), tt.says) || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "users:") {
			t.Errorf("%s: names a line of a text nobody has seen: %v", tt.name, err)
		}
	}
	if read(t, path) != string(file(good)) {
		t.Error("a refused edit changed the file")
	}
	put(t, path, "users:\n  - {id: 1}\n")
	if _, err := users.Edit(path); err == nil || !strings.Contains(err.Error(), "users.yaml:2: email is missing") {
		t.Errorf("editing a bad file: %v", err)
	}
}

func TestConcurrentChangeIsDetected(t *testing.T) {
	t.Parallel()
	one := "users:\n" + entry("1", "a@example.com")
	for _, tt := range []struct{ name, before, meanwhile string }{
		{"edited", one, one + "# x\n"},
		{"deleted", one, ""},
		{"made", "", one},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "users.yaml")
		if tt.before != "" {
			put(t, path, tt.before)
		}
		e, err := users.Edit(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Add(users.Entry{Email: "b@example.com", PasswordHash: bcryptHash}); err != nil {
			t.Fatal(err)
		}
		if tt.meanwhile == "" {
			os.Remove(path)
		} else {
			put(t, path, tt.meanwhile)
		}
		if err := e.Save(); !errors.Is(err, users.ErrChanged) {
			t.Errorf("%s: %v, want ErrChanged", tt.name, err)
		}
		if tt.meanwhile != "" && read(t, path) != tt.meanwhile {
			t.Errorf("%s: the other change is lost", tt.name)
		}
		left, err := filepath.Glob(filepath.Join(dir, ".users.yaml*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind %v %v", tt.name, left, err)
		}
	}
}

func TestSaveKeepsRightsAndLinks(t *testing.T) {
	t.Parallel()
	for before, want := range map[os.FileMode]os.FileMode{0o640: 0o640, 0o644: 0o640, 0o666: 0o640, 0o400: 0o600} {
		dir := t.TempDir()
		real, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "users.yaml")
		put(t, real, "users: []\n")
		if err := errors.Join(os.Chmod(real, before), os.Symlink("real.yaml", link)); err != nil {
			t.Fatal(err)
		}
		edit(t, link, add(users.Entry{Email: "a@example.com", PasswordHash: bcryptHash}))
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%o: the link was replaced", before)
		}
		info, err := os.Stat(real)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want || !strings.Contains(read(t, real), "a@example.com") {
			t.Errorf("%o became %o, want %o", before, info.Mode().Perm(), want)
		}
	}
}
