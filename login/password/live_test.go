package password_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/login/password"
)

// python is Debian's: another one first in PATH does not have Debian's modules.
const python = "/usr/bin/python3"

// run runs a program and gives what it printed. A missing program is an error, not a reason to skip.
func run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is not installed; run: make test", name)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &stderr)
	}
	return string(out)
}

var makeVectors = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("testdata/make-vectors.sh").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", errors.New(string(exit.Stderr))
	}
	return string(out), err
})

// fresh are hashes that the programs have just made.
func fresh(t *testing.T) []vector {
	t.Helper()
	out, err := makeVectors()
	if err != nil {
		t.Fatalf("make-vectors.sh: %v", err)
	}
	return parseVectors(t, out)
}

// TestFreshVectors: hashes with the salts of today match too, and vectors.tsv is what the script makes.
func TestFreshVectors(t *testing.T) {
	t.Parallel()
	all := fresh(t)
	for _, v := range all {
		if v.password != slow { // TestVectors checks the like of those
			checkVector(t, v)
		}
	}
	raw, err := os.ReadFile("testdata/vectors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if want, got := kinds(parseVectors(t, string(raw))), kinds(all); !maps.Equal(got, want) {
		t.Errorf("vectors.tsv is not of this make-vectors.sh; run: ./make-vectors.sh > vectors.tsv\ngot  %v\nwant %v", got, want)
	}
}

// kinds counts the vectors of each program and scheme, whatever the program's version.
func kinds(all []vector) map[string]int {
	count := map[string]int{}
	for _, v := range all {
		program, _, _ := strings.Cut(v.tool, " ")
		count[program+" "+v.scheme]++
	}
	return count
}

// guesses are passwords close to a password: what a comparison that trims, cuts, folds or stops too early
// would let pass.
func guesses(p string) []string {
	all := []string{p, p + " ", " " + p, strings.ToUpper(p), "X" + p, p + "X", strings.TrimSpace(p), strings.ReplaceAll(p, "ü", "u\u0308"),
		strings.ReplaceAll(p, `\`, ""), ""}
	for _, n := range []int{8, 71, 72, 73} {
		if n < len(p) {
			all = append(all, strings.ToValidUTF8(p[:n], ""))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// changes says whether the programs of a scheme change passwords before they hash them. Gatehouse has to
// accept each of several such programs, so it may accept more than the one that is asked.
func changes(scheme string) bool {
	return scheme == password.Phpass || scheme == password.PhpassSHA512 || scheme == password.BcryptWordPress
}

// TestSameVerdicts asks the programs and Gatehouse about the same guesses.
func TestSameVerdicts(t *testing.T) {
	t.Parallel()
	var vectors []vector
	for _, v := range fresh(t) {
		if strings.ContainsAny(v.password, "ü9'") && !strings.HasSuffix(v.tool, "command line") {
			vectors = append(vectors, v)
		}
	}
	for _, program := range []struct {
		name  string
		args  []string
		least int
	}{
		{"php", []string{"testdata/verify.php"}, 50},
		{python, []string{"testdata/verify.py"}, 90},
	} {
		t.Run(filepath.Base(program.name), func(t *testing.T) {
			t.Parallel()
			if asked := sameVerdicts(t, vectors, program.name, program.args...); asked < program.least {
				t.Errorf("it knew only %d hashes", asked)
			}
		})
	}
}

// sameVerdicts compares and gives the number of hashes that the program knew.
func sameVerdicts(t *testing.T, vectors []vector, program string, args ...string) (known int) {
	t.Helper()
	var questions strings.Builder
	for _, v := range vectors {
		for _, guess := range guesses(v.password) {
			questions.WriteString(v.hash + "\t" + hex.EncodeToString([]byte(guess)) + "\n")
		}
	}
	answers := strings.Fields(run(t, questions.String(), program, args...))
	for _, v := range vectors {
		h, err := password.Parse(v.hash)
		if err != nil {
			t.Fatal(err)
		}
		if answers[0] != "-" {
			known++
		}
		for _, guess := range guesses(v.password) {
			theirs, ours := answers[0] == "1", h.Matches(guess)
			unknown := answers[0] == "-"
			answers = answers[1:]
			if unknown || ours && changes(v.scheme) {
				continue
			}
			if ours != theirs {
				t.Errorf("%s for %q: %q matches %v here and %v there", v.hash, v.password, guess, ours, theirs)
			}
		}
	}
	if len(answers) > 0 {
		t.Errorf("%d answers too many", len(answers))
	}
	return known
}

// PHP reads a password up to a NUL byte, and makes no hashes of passwords with one. Gatehouse follows
// it in the second, and therefore need not in the first.
func TestPHPStopsAtNUL(t *testing.T) {
	t.Parallel()
	hash := strings.TrimSpace(run(t, "", "php", "-r", `echo password_hash("secret", PASSWORD_BCRYPT, ["cost" => 4]);`))
	h, err := password.Parse(hash)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches("secret") || h.Matches("secret\x00more") {
		t.Error("wrong about PHP's bcrypt hash here")
	}
	if got := run(t, hash, "php", "-r", `echo password_verify("secret\0more", fgets(STDIN)) ? "yes" : "no";`); got != "yes" {
		t.Errorf("password_verify says %s", got)
	}
	refused := `try { echo password_hash("secret\0more", PASSWORD_BCRYPT); } catch (ValueError $e) { echo "refused"; }`
	if got := run(t, "", "php", "-r", refused); got != "refused" {
		t.Errorf("password_hash says %s", got)
	}
}

// TestHtpasswdAgrees: htpasswd can also check.
func TestHtpasswdAgrees(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("htpasswd"); err != nil {
		t.Fatal("htpasswd is not installed; run: make test")
	}
	asked := 0
	for _, v := range fresh(t) {
		if !strings.HasPrefix(v.tool, "htpasswd") || !strings.ContainsAny(v.password, "ü9") {
			continue
		}
		file := filepath.Join(t.TempDir(), "htpasswd")
		if err := os.WriteFile(file, []byte("user:"+v.hash+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := password.Parse(v.hash)
		if err != nil {
			t.Fatal(err)
		}
		for _, guess := range guesses(v.password) {
			theirs := exec.CommandContext(t.Context(), "htpasswd", "-v", "-b", file, "user", guess).Run() == nil
			if ours := h.Matches(guess); ours != theirs {
				t.Errorf("%s: %q matches %v here and %v there", v.hash, guess, ours, theirs)
			}
			asked++
		}
	}
	if asked < 40 {
		t.Errorf("asked only %d times", asked)
	}
}

// TestOthersReadOurs: what Gatehouse writes when it hashes a password anew, the application still reads.
func TestOthersReadOurs(t *testing.T) {
	t.Parallel()
	const secret, wrong = "Grüße 🐎 aus Köln", "Grüsse aus Köln"
	ours := password.New(secret, password.Default())
	questions := ours + "\t" + hex.EncodeToString([]byte(secret)) + "\n" + ours + "\t" + hex.EncodeToString([]byte(wrong)) + "\n"
	if got := run(t, questions, "php", "testdata/verify.php"); got != "1\n0\n" {
		t.Errorf("PHP says %q", got)
	}
	questions += strings.ReplaceAll(questions, ours, "argon2"+ours) // passlib, then Django
	if got := run(t, questions, python, "testdata/verify.py"); got != "1\n0\n1\n0\n" {
		t.Errorf("passlib and Django say %q", got)
	}
}
