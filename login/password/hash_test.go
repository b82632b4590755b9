package password_test

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/login/password"
)

func parse(t *testing.T, text string) password.Hash {
	t.Helper()
	h, err := password.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return h
}

func TestWeakAndCost(t *testing.T) {
	t.Parallel()
	bcrypt := func(cost string) string { return strings.Replace(phpManual, "$07$", "$"+cost+"$", 1) }
	argon := func(scheme, params string) string { return "$" + scheme + "$v=19$" + params + "$" + salt + "$" + key }
	for _, tt := range []struct {
		hash string
		weak bool
		cost string
	}{
		{bcrypt("09"), true, "bcrypt cost=9"},
		{bcrypt("10"), false, "bcrypt cost=10"},
		{"bcrypt$" + bcrypt("10"), false, "bcrypt cost=10"},
		{"bcrypt_sha256$" + bcrypt("04"), true, "bcrypt-sha256 cost=4"},
		{"$wp" + bcrypt("10"), false, "bcrypt-wordpress cost=10"},
		{argon("argon2id", "m=19456,t=2,p=1"), false, "argon2id m=19456,t=2,p=1"},
		{argon("argon2id", "m=19455,t=2,p=1"), true, "argon2id m=19455,t=2,p=1"},
		{argon("argon2id", "m=65536,t=1,p=4"), false, "argon2id m=65536,t=1,p=4"},
		{argon("argon2id", "m=19456,t=1,p=1"), true, "argon2id m=19456,t=1,p=1"},
		{argon("argon2id", "m=7168,t=5,p=1"), false, "argon2id m=7168,t=5,p=1"},
		{argon("argon2id", "m=7167,t=64,p=1"), true, "argon2id m=7167,t=64,p=1"},
		{argon("argon2i", "m=65536,t=2,p=1"), true, "argon2i m=65536,t=2,p=1"},
		{argon("argon2i", "m=65536,t=4,p=1"), false, "argon2i m=65536,t=4,p=1"},
		{"argon2" + argon("argon2id", "m=102400,t=2,p=8"), false, "argon2id m=102400,t=2,p=8"},
		{"$scrypt$ln=17,r=8,p=1$" + salt + "$" + key, false, "scrypt N=131072,r=8,p=1"},
		{"$scrypt$ln=16,r=8,p=1$" + salt + "$" + key, true, "scrypt N=65536,r=8,p=1"},
		{"scrypt$16384$salt$8$5$" + key + "=", false, "scrypt N=16384,r=8,p=5"},
		{"scrypt:32768:8:1$salt$" + hexKey, true, "scrypt N=32768,r=8,p=1"},
		{"$7$CU..../....salt$" + crypt43, true, "scrypt N=16384,r=32,p=1"},
		{"pbkdf2_sha256$600000$salt$" + key + "=", false, "pbkdf2-sha256 iterations=600000,blocks=1"},
		{"pbkdf2_sha256$599999$salt$" + key + "=", true, "pbkdf2-sha256 iterations=599999,blocks=1"},
		{"pbkdf2:sha512:220000$salt$" + hexKey + hexKey, false, "pbkdf2-sha512 iterations=220000,blocks=1"},
		{"pbkdf2:sha512:219999$salt$" + hexKey + hexKey, true, "pbkdf2-sha512 iterations=219999,blocks=1"},
		{"$pbkdf2$2000000$" + salt + "$" + key[:26] + "A", true, "pbkdf2-sha1 iterations=2000000,blocks=1"},
		{aspnetV3, true, "pbkdf2-sha256 iterations=10000,blocks=1"},
		{"AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==", true, "pbkdf2-sha1 iterations=1000,blocks=2"},
		{"$5$salt$" + crypt43, true, "sha256crypt rounds=5000"},
		{"$5$rounds=600000$salt$" + crypt43, false, "sha256crypt rounds=600000"},
		{"$6$rounds=219999$salt$" + crypt43 + crypt43, true, "sha512crypt rounds=219999"},
		{"$6$rounds=220000$salt$" + crypt43 + crypt43, false, "sha512crypt rounds=220000"},
		{"$1$salt$" + crypt22, true, "md5crypt"},
		{"$apr1$salt$" + crypt22, true, "apr1"},
		{"$P$Bsaltsalt" + crypt22, true, "phpass rounds=8192"},
		{"$S$Dsaltsalt" + crypt43, true, "phpass-sha512 rounds=32768"},
	} {
		h := parse(t, tt.hash)
		if h.Weak() != tt.weak || h.Cost() != tt.cost {
			t.Errorf("%s: weak %v and cost %q, want %v and %q", tt.hash, h.Weak(), h.Cost(), tt.weak, tt.cost)
		}
		if !strings.HasPrefix(h.Cost(), h.Scheme()) {
			t.Errorf("%s: scheme %q is not in cost %q", tt.hash, h.Scheme(), h.Cost())
		}
	}
	if h := parse(t, password.New("correct horse", password.Default())); h.Weak() {
		t.Error("what Gatehouse makes is weak")
	}
}

// An account that does not exist must cost what another costs (L04).
func TestDecoy(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, v := range committed(t) {
		if v.password == slow {
			continue
		}
		h := parse(t, v.hash)
		decoy := h.Decoy()
		if decoy.Cost() != h.Cost() || decoy.Scheme() != h.Scheme() || decoy.Weak() != h.Weak() {
			t.Errorf("%s: decoy of %s costs %s", v.hash, h.Cost(), decoy.Cost())
		}
		if seen[v.scheme] {
			continue
		}
		seen[v.scheme] = true
		if decoy.Matches(v.password) || decoy.Decoy().Matches(v.password) {
			t.Errorf("%s: the decoy matches", v.hash)
		}
		if !h.Matches(v.password) {
			t.Errorf("%s: no longer matches after a decoy was made of it", v.hash)
		}
	}
}

func TestZeroHash(t *testing.T) {
	t.Parallel()
	var h password.Hash
	if h.Matches("") || h.Scheme() != "" || h.Cost() != "" || h.Weak() {
		t.Errorf("the zero hash is %s, %q", h, h.Cost())
	}
	decoy, first := h.Decoy(), parse(t, password.New("x", password.Default()))
	if decoy.Cost() != first.Cost() {
		t.Errorf("its decoy costs %q, a new user's hash %q", decoy.Cost(), first.Cost())
	}
	if decoy.Matches("") {
		t.Error("its decoy matches")
	}
}

// A body of 64 KiB, hashed anew in each of a million rounds, would take minutes.
func TestLongPasswords(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 4096)
	for _, hash := range []string{
		"$6$rounds=1000$salt$" + crypt43 + crypt43, "$1$salt$" + crypt22, "$P$5saltsalt" + crypt22, "$S$5saltsalt" + crypt43,
	} {
		if parse(t, hash).Matches(long) {
			t.Errorf("%s matches", hash)
		}
	}
	// PHP's and passlib's hashes of 1024 times x: those match, and none longer does.
	for _, hash := range []string{
		"$6$rounds=1000$saltsalt$kfhNnboKEkmlDIce5nx8vRNsCI0pRZT8cZ/ZG9lD97qNXq1uR00ijSK6p8JZyuBIEA3yOqqtNZIWT3pRMpqrT/",
		"$1$saltsalt$nEqiQl2Mia4omioXwA9a01",
	} {
		h := parse(t, hash)
		if !h.Matches(strings.Repeat("x", password.MaxLength)) {
			t.Errorf("%s: does not match the longest password", hash)
		}
		if h.Matches(strings.Repeat("x", password.MaxLength+1)) {
			t.Errorf("%s: matches a longer one that begins the same", hash)
		}
	}
	// Elsewhere the length costs nothing, and any will do.
	if h := parse(t, password.New(long, quick)); !h.Matches(long) || h.Matches(long[1:]) {
		t.Error("argon2id and a password of 64 KiB")
	}
}

// What was typed reaches the hash as WordPress and Drupal change it.
func TestChangedPasswords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scheme, tool, stored string
		match, not           []string
	}{
		{password.BcryptWordPress, "form", `it's "quoted" \ and $HOME`,
			[]string{` it's "quoted" \ and $HOME` + "\t\n"}, []string{`its quoted  and $HOME`}},
		{password.BcryptWordPress, "command line", `it's "quoted" \ and $HOME`,
			[]string{`it's "quoted" \ and $HOME `}, []string{`it\'s "quoted" \ and $HOME`}},
		{password.BcryptWordPress, "form", "  blanks at both ends  ",
			[]string{"blanks at both ends", "\vblanks at both ends"}, []string{"blanksatbothends", "\u00a0blanks at both ends"}},
		{password.Phpass, "form", `it's "quoted" \ and $HOME`,
			[]string{` it's "quoted" \ and $HOME`}, []string{`it's quoted \ and $HOME`}},
		{password.PhpassSHA512, "Drupal", "  blanks at both ends  ",
			[]string{"blanks at both ends", " blanks at both ends"}, []string{"blanks at both end"}},
	} {
		found := false
		for _, v := range committed(t) {
			if v.scheme != tt.scheme || v.password != tt.stored || !strings.HasSuffix(v.tool, tt.tool) {
				continue
			}
			found = true
			h := parse(t, v.hash)
			for _, guess := range tt.match {
				if !h.Matches(guess) {
					t.Errorf("%s, %s: %q does not match", v.tool, v.scheme, guess)
				}
			}
			for _, guess := range tt.not {
				if h.Matches(guess) {
					t.Errorf("%s, %s: %q matches", v.tool, v.scheme, guess)
				}
			}
		}
		if !found {
			t.Errorf("no vector of %s, %s", tt.tool, tt.scheme)
		}
	}
}

func TestHashIsHidden(t *testing.T) {
	t.Parallel()
	for hash, want := range map[string]string{argonReference: "[argon2id hash]", "$apr1$salt$" + crypt22: "[apr1 hash]"} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, parse(t, hash)); got != want {
				t.Errorf("%s gives %s", verb, got)
			}
		}
	}
}
