package password_test

import (
	"strings"
	"testing"

	"gatehouse/login/password"
)

// quick are the smallest parameters argon2id has: for tests that are not about strength.
var quick = password.Params{Memory: 8, Time: 1, Threads: 1}

// Hashes made by other programs: the argon2 reference implementation, PHP, libxcrypt.
const (
	argonReference = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	phpManual      = "$2y$07$usesomesillystringfore2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi"
)

func TestForeignHashes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, hash, password, scheme string }{
		{"argon2 reference", argonReference, "password", password.Argon2id},
		{"PHP manual 2y", phpManual, "rasmuslerdorf", password.Bcrypt},
		{"the same as 2a", strings.Replace(phpManual, "2y", "2a", 1), "rasmuslerdorf", password.Bcrypt},
		{"the same as 2b", strings.Replace(phpManual, "2y", "2b", 1), "rasmuslerdorf", password.Bcrypt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := password.Parse(tt.hash)
			if err != nil {
				t.Fatal(err)
			}
			if h.Scheme() != tt.scheme {
				t.Errorf("scheme %q, want %q", h.Scheme(), tt.scheme)
			}
			if !h.Matches(tt.password) {
				t.Error("the right password does not match")
			}
			for _, wrong := range []string{"", tt.password + " ", strings.ToUpper(tt.password), tt.password[1:]} {
				if h.Matches(wrong) {
					t.Errorf("%q matches", wrong)
				}
			}
		})
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	text := password.New("Grüße 🐎", password.Default())
	if !strings.HasPrefix(text, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s does not have OWASP's parameters", text)
	}
	h, err := password.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches("Grüße 🐎") || h.Matches("Grusse 🐎") {
		t.Error("does not match what it was made of, or more than that")
	}
	if one, two := password.New("a", quick), password.New("a", quick); one == two {
		t.Error("two hashes of one password are the same: no fresh salt")
	}
	parts := strings.Split(text, "$")
	if len(parts[4]) != 22 || len(parts[5]) != 43 { // 16 and 32 bytes
		t.Errorf("salt %d and key %d characters long", len(parts[4]), len(parts[5]))
	}
}

// The two forms of ü are different bytes, and stay so: hashes made elsewhere are of those bytes.
func TestBytesAreLeftAlone(t *testing.T) {
	t.Parallel()
	h, err := password.Parse(password.New("gr\u00fcn-gr\u00fcn", quick))
	if err != nil {
		t.Fatal(err)
	}
	if h.Matches("gru\u0308n-gru\u0308n") {
		t.Error("a decomposed spelling matches")
	}
}

func TestBcryptReads72Bytes(t *testing.T) {
	t.Parallel()
	// libxcrypt's hash of 80 times x.
	h, err := password.Parse("$2y$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q")
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{71: false, 72: true, 80: true, 4000: true} {
		if got := h.Matches(strings.Repeat("x", n)); got != want {
			t.Errorf("%d times x: matches %v, want %v", n, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{"seven", "1234567", password.ErrTooShort},
		{"eight", "12345678", nil},
		{"eight characters, not bytes", "üüüüüüüü", nil},
		{"four characters of two bytes", "üüüü", password.ErrTooShort},
		{"empty", "", password.ErrTooShort},
		{"longest", strings.Repeat("x", 1024), nil},
		{"too long", strings.Repeat("x", 1025), password.ErrTooLong},
		{"spaces are characters", "        ", nil},
	} {
		if err := password.Check(tt.password); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := password.Check("Gr\xfc\xdfe aus K\xf6ln"); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("Latin-1: %v", err)
	}
}
