package password

import (
	"os"
	"strings"
	"testing"
)

// tooMuch says which parameter of a hash would let a hostile row stop the gateway. The figures are
// written out, apart from the constants that the parsers use.
func tooMuch(h Hash) string {
	switch d := h.digest.(type) {
	case argon2Hash:
		p := d.params
		if p.Memory > 1<<20 || uint64(p.Memory)*uint64(p.Time) > 1<<22 || p.Threads < 1 || p.Time < 1 || len(d.key) > 64 {
			return "argon2"
		}
	case bcryptHash:
		if d.rounds < 4 || d.rounds > 16 {
			return "bcrypt"
		}
	case scryptHash:
		if d.n < 2 || d.r < 1 || d.p < 1 || d.n > 1<<23 || d.r > 1<<23 || d.p > 1<<23 || d.n*d.r > 1<<23 || d.n*d.r*d.p > 1<<23 || len(d.key) > 64 {
			return "scrypt"
		}
	case pbkdf2Hash:
		if d.iterations < 1 || d.iterations*d.blocks() > 5_000_000 || len(d.key) < 16 || len(d.key) > 64 {
			return "PBKDF2"
		}
	case phpassHash:
		if d.rounds < 7 || d.rounds > 20 {
			return "phpass"
		}
	case shaCryptHash:
		if d.rounds < 1000 || d.rounds > 1_000_000 || len(d.salt) > 16 {
			return "SHA crypt"
		}
	case md5CryptHash:
		if len(d.salt) > 8 {
			return "md5crypt"
		}
	case nil:
	default:
		return "a scheme that this test does not know"
	}
	return ""
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("scrypt:8388608:1:1$salt$" + strings.Repeat("0", 64))
	f.Add("!locked")
	for _, p := range parsers {
		f.Add(p.prefix)
	}
	for _, r := range refused {
		f.Add(r.prefix)
	}
	for _, name := range []string{"testdata/vectors.tsv", "testdata/published.tsv"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			f.Add(strings.TrimSuffix(line[strings.LastIndexByte(line, '\t')+1:], "\n"))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if (err == nil) != (h.Scheme() != "") {
			t.Fatalf("%q: error %v with scheme %q", text, err, h.Scheme())
		}
		if what := tooMuch(h); what != "" {
			t.Fatalf("%q: %s out of bounds", text, what)
		}
		if err == nil && h.Decoy().Cost() != h.Cost() {
			t.Fatalf("%q: the decoy costs something else", text)
		}
		if err != nil {
			repeats(t, err.Error(), text)
		}
	})
}

// repeats fails when an error shows a part of the hash that is longer than a number can be.
func repeats(t *testing.T, message, text string) {
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("$:,=", r) }) {
		if len(part) > 20 && strings.Contains(message, part) {
			t.Fatalf("the error %q repeats %q", message, part)
		}
	}
}

// TestPrefixes: a parser behind a shorter prefix would never be reached.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	for i, first := range parsers {
		for _, later := range parsers[i+1:] {
			if strings.HasPrefix(later.prefix, first.prefix) {
				t.Errorf("%q stands behind %q", later.prefix, first.prefix)
			}
		}
		for _, r := range refused {
			if strings.HasPrefix(r.prefix, first.prefix) {
				t.Errorf("%q is refused, but begins with %q", r.prefix, first.prefix)
			}
		}
	}
	for i, first := range refused {
		for _, later := range refused[i+1:] {
			if strings.HasPrefix(later.prefix, first.prefix) {
				t.Errorf("%q stands behind %q", later.prefix, first.prefix)
			}
		}
	}
}
