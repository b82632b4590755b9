package password_test

import (
	"os"
	"strings"
	"testing"

	"gatehouse/login/password"
)

// vector is a hash that another program made.
type vector struct{ tool, scheme, password, hash string }

// parseVectors reads lines of tool, scheme, password and hash, with tabs between them.
func parseVectors(t *testing.T, text string) (all []vector) {
	t.Helper()
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("%d fields in %q", len(f), line)
		}
		all = append(all, vector{f[0], f[1], f[2], f[3]})
	}
	return all
}

// committed are the vectors of the repository: what make-vectors.sh printed once, and what the programs'
// own tests and documents hold.
func committed(t *testing.T) []vector {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"testdata/vectors.tsv", "testdata/published.tsv"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(raw)
	}
	return parseVectors(t, text.String())
}

// slow is the password of the hashes that programs made with their defaults.
const slow = "correct horse battery staple"

// checkVector: the right password matches, another does not.
func checkVector(t *testing.T, v vector) {
	t.Helper()
	h, err := password.Parse(v.hash)
	if err != nil {
		t.Errorf("%s, %s: %v", v.tool, v.hash, err)
		return
	}
	if h.Scheme() != v.scheme {
		t.Errorf("%s, %s: scheme %q, want %q", v.tool, v.hash, h.Scheme(), v.scheme)
	}
	if !h.Matches(v.password) {
		t.Errorf("%s, %s: %q does not match", v.tool, v.hash, v.password)
	}
	if wrong := "X" + v.password; v.password != slow && h.Matches(wrong) {
		t.Errorf("%s, %s: %q matches", v.tool, v.hash, wrong)
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	all := committed(t)
	seen := map[string]bool{}
	for _, v := range all {
		seen[v.scheme] = true
		checkVector(t, v)
	}
	for _, scheme := range []string{
		password.Argon2id, password.Argon2i, password.Bcrypt, password.BcryptSHA256, password.BcryptWordPress,
		password.Scrypt, password.PBKDF2SHA1, password.PBKDF2SHA256, password.PBKDF2SHA512, password.SHA256Crypt,
		password.SHA512Crypt, password.MD5Crypt, password.APR1, password.Phpass, password.PhpassSHA512,
	} {
		if !seen[scheme] {
			t.Errorf("no vector of %s", scheme)
		}
		delete(seen, scheme)
	}
	if len(seen) > 0 {
		t.Errorf("vectors of schemes that this test does not know: %v", seen)
	}
}
