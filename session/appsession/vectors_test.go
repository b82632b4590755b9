package appsession_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/session/appsession"
)

// vector is a case that one of the programs in testdata wrote. What may be no text is base64.
type vector struct {
	Name string
	// Kind: cookie, json, django, rails, devise, php or private.
	Kind string
	// Of a cookie. Want is the token, empty when it must be refused.
	Scheme, Cookie, Value string
	Secrets               []string
	// Of a payload. Want is the user ID; Error: it must be refused.
	Data  []byte
	Path  []string
	Want  string
	Error bool
	// Of a payload that holds a trace of the password: the column then, and another value of it.
	Password, OtherPassword string
	Backend                 string
}

// tools are the programs in testdata, each in its folder, and what they run with.
var tools = []struct {
	folder, program string
	args            []string
}{
	{"express", "node", []string{"make.js"}},
	{"django", "/usr/bin/python3", []string{"make.py"}}, // Debian's, which has python3-django
	{"laravel", "php", []string{"-d", "display_errors=stderr", "make.php"}},
	{"rails", "ruby", []string{"make.rb"}},
	{"php", "php", []string{"-d", "display_errors=stderr", "make.php"}},
}

// TestVectors: what the tools wrote when their vectors.json was made.
func TestVectors(t *testing.T) {
	t.Parallel()
	for _, tool := range tools {
		t.Run(tool.folder, func(t *testing.T) {
			t.Parallel()
			check(t, committed(t, tool.folder))
		})
	}
}

// TestLive: what the tools write now, with new keys, tokens and times.
func TestLive(t *testing.T) {
	t.Parallel()
	for _, tool := range tools {
		t.Run(tool.folder, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join("testdata", tool.folder)
			if tool.folder == "express" {
				folder = install(t, folder)
			}
			made := parse(t, run(t, folder, tool.program, tool.args...))
			check(t, made)
			if !slices.EqualFunc(made, committed(t, tool.folder), func(a, b vector) bool { return a.Name == b.Name }) {
				t.Errorf("vectors.json has other cases than %v write: make it anew", tool.args)
			}
		})
	}
}

func committed(t testing.TB, folder string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", folder, "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func parse(t testing.TB, text []byte) (vectors []vector) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 10 {
		t.Fatalf("only %d cases", len(vectors))
	}
	return vectors
}

// run gives what a program prints.
func run(t *testing.T, folder, program string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is not installed: run make test", program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v (is everything installed? run make test)\n%s", program, args, err, &stderr)
	}
	return out
}

// install puts the packages of the lock file beside a copy of the script.
func install(t *testing.T, from string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "make.js"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	return folder
}

func check(t *testing.T, vectors []vector) {
	t.Helper()
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			switch v.Kind {
			case "cookie":
				checkCookie(t, v)
			case "private":
				if got := appsession.RailsPrivateID(v.Value); got != v.Want {
					t.Errorf("%s, want %s", got, v.Want)
				}
			default:
				checkPayload(t, v)
			}
		})
	}
}

func checkCookie(t *testing.T, v vector) {
	t.Helper()
	cookie, err := appsession.NewCookie(v.Scheme, v.Cookie, v.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	if token, ok := cookie.Token(v.Value); token != v.Want || ok != (v.Want != "") {
		t.Errorf("%q, %v, want %q", token, ok, v.Want)
	}
}

func checkPayload(t *testing.T, v vector) {
	t.Helper()
	var got string
	var err error
	switch v.Kind {
	case "json":
		got, err = appsession.JSONUser(v.Data, v.Path)
	case "rails":
		got, err = appsession.RailsUser(v.Data, v.Path)
	case "php":
		got, err = appsession.PHPUser(string(v.Data), v.Path)
	case "django":
		got, err = checkDjango(t, v)
	case "devise":
		var id appsession.DeviseIdentity
		id, err = appsession.DeviseSession(v.Data, "user")
		got = id.UserID
		if !id.MatchesPassword(v.Password) || id.MatchesPassword(v.OtherPassword) || id.MatchesPassword("") {
			t.Error("the wrong passwords match")
		}
	default:
		t.Fatalf("unknown kind %q", v.Kind)
	}
	if got != v.Want || (err != nil) != v.Error {
		t.Errorf("%q, %v, want %q, an error: %v", got, err, v.Want, v.Error)
	}
}

func checkDjango(t *testing.T, v vector) (string, error) {
	t.Helper()
	got, err := appsession.DjangoUser(string(v.Data), v.Secrets)
	id, sameErr := appsession.DjangoSession(string(v.Data), v.Secrets)
	if id.UserID != got || (err == nil) != (sameErr == nil) {
		t.Errorf("DjangoSession says %q, %v, DjangoUser %q, %v", id.UserID, sameErr, got, err)
	}
	if id.Backend != v.Backend {
		t.Errorf("backend %q, want %q", id.Backend, v.Backend)
	}
	if v.Password != "" && !id.MatchesPassword(v.Password, v.Secrets) {
		t.Error("the password it was made with does not match")
	}
	if id.MatchesPassword(v.OtherPassword, v.Secrets) || id.MatchesPassword(v.Password, nil) || id.MatchesPassword(v.Password, []string{"another"}) {
		t.Error("matches with another password, or another key")
	}
	return got, err
}
