// Package password hashes passwords for the user file and compares passwords with hashes, also
// with hashes that other programs made.
//
// Passwords are bytes here: nothing is trimmed, folded or normalised. NIST SP 800-63B suggests
// NFKC, but a hash that another program made stands for exactly the bytes it was given, and a
// normalised password would not match it. Browsers send what was typed in UTF-8, nearly always in NFC.
// WordPress and Drupal are the exception: they change a password before they hash it, and so does
// this package for their hashes.
package password

import (
	"crypto/rand"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Bounds of new passwords.
const (
	// MinLength is the fewest characters (NIST SP 800-63B section 5.1.1.2).
	MinLength = 8
	// MaxLength is the most bytes: enough for any passphrase.
	MaxLength = 1024
)

// ErrTooShort and ErrTooLong are the errors of [Check].
var (
	ErrTooShort = fmt.Errorf("the password is too short: use at least %d characters", MinLength)
	ErrTooLong  = fmt.Errorf("the password is too long: use at most %d bytes", MaxLength)
	errNotUTF8  = errors.New("the password is no valid UTF-8: no browser could send it; type it again in a UTF-8 terminal")
)

// Params are the parameters of argon2id and argon2i.
type Params struct {
	// Memory in KiB.
	Memory uint32
	// Time is the number of passes.
	Time uint32
	// Threads in parallel.
	Threads uint8
}

// Default gives OWASP's parameters (Password Storage Cheat Sheet: m=19456, t=2, p=1).
func Default() Params { return Params{Memory: 19456, Time: 2, Threads: 1} }

// Sizes of what New makes, in bytes.
const (
	saltSize = 16
	keySize  = 32
)

// Check says whether a new password will do: [ErrTooShort], [ErrTooLong], or not UTF-8.
func Check(password string) error {
	switch {
	case len(password) > MaxLength:
		return ErrTooLong
	case !utf8.ValidString(password):
		return errNotUTF8
	case utf8.RuneCountInString(password) < MinLength:
		return ErrTooShort
	}
	return nil
}

// New hashes a password with a fresh salt and gives the text for the user file, in PHC format:
// $argon2id$v=19$m=19456,t=2,p=1$salt$key. It does not judge the password; see [Check].
func New(password string, p Params) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, p.Time, p.Memory, p.Threads, keySize)
	return formatArgon2id(p, salt, key)
}
