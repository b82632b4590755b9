package password

import (
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"

	cryptbase64 "github.com/go-crypt/x/base64"
	"golang.org/x/crypto/scrypt"
)

// maxScrypt bounds N × r × p: 128 bytes of memory for each N × r make 1 GiB, and it takes some seconds.
const maxScrypt = 1 << 23

type scryptHash struct {
	n, r, p   int
	salt, key []byte
	// crypt tells that key is the text of $7$.
	crypt bool
}

// parseScrypt reads the PHC form, which passlib has too: $scrypt$ln=16,r=8,p=1$salt$key.
func parseScrypt(text string) (Hash, error) {
	const form = "$scrypt$ln=17,r=8,p=1$salt$key"
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return Hash{}, damaged(Scrypt, form)
	}
	values, ok := decimals(parts[2], "ln,r,p")
	salt, okSalt := decode(phc, parts[3], minSalt, maxSalt)
	key, okKey := decode(phc, parts[4], minKey, maxKey)
	if !ok || !okSalt || !okKey {
		return Hash{}, damaged(Scrypt, form)
	}
	return newScrypt(scryptHash{salt: salt, key: key}, powerOfTwo(values[0]), values[1], values[2])
}

// parseWerkzeugScrypt reads scrypt:32768:8:1$salt$hex.
func parseWerkzeugScrypt(text string) (Hash, error) {
	const form = "scrypt:32768:8:1$salt$key"
	parts := strings.Split(text, "$")
	method := strings.Split(parts[0], ":")
	if len(parts) != 3 || len(method) != 4 {
		return Hash{}, damaged(Scrypt, form)
	}
	n, okN := decimal(method[1])
	r, okR := decimal(method[2])
	p, okP := decimal(method[3])
	salt, okSalt := textSalt(parts[1])
	key, okKey := decodeHex(parts[2], minKey, maxKey)
	if !okN || !okR || !okP || !okSalt || !okKey {
		return Hash{}, damaged(Scrypt, form)
	}
	return newScrypt(scryptHash{salt: salt, key: key}, n, r, p)
}

// parseDjangoScrypt reads scrypt$16384$salt$8$1$base64 (Django 4.0).
func parseDjangoScrypt(text string) (Hash, error) {
	const form = "scrypt$16384$salt$8$5$key"
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return Hash{}, damaged(Scrypt, form)
	}
	n, okN := decimal(parts[1])
	salt, okSalt := textSalt(parts[2])
	r, okR := decimal(parts[3])
	p, okP := decimal(parts[4])
	key, okKey := decode(padded, parts[5], minKey, maxKey)
	if !okN || !okR || !okP || !okSalt || !okKey {
		return Hash{}, damaged(Scrypt, form)
	}
	return newScrypt(scryptHash{salt: salt, key: key}, n, r, p)
}

// cryptScryptForm: the logarithm of N, r and p of 30 bits each, a salt that is hashed as it stands, 32
// bytes of key; all in crypt's base64.
var cryptScryptForm = regexp.MustCompile(`^\$7\$([./0-9A-Za-z])([./0-9A-Za-z]{5})([./0-9A-Za-z]{5})([./0-9A-Za-z]{1,86})\$([./0-9A-Za-z]{43})$`)

// parseCryptScrypt reads crypt(3)'s $7$.
func parseCryptScrypt(text string) (Hash, error) {
	m := cryptScryptForm.FindStringSubmatch(text)
	if m == nil {
		return Hash{}, damaged(Scrypt, "$7$, 11 characters of parameters, salt, $, 43 characters of key, all of ./0-9A-Za-z")
	}
	return newScrypt(scryptHash{salt: []byte(m[4]), key: []byte(m[5]), crypt: true},
		powerOfTwo(cryptNumber(m[1])), cryptNumber(m[2]), cryptNumber(m[3]))
}

// cryptDigits are the digits of crypt's base64 by their value.
const cryptDigits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// cryptNumber reads digits of crypt's base64, the lowest first.
func cryptNumber(text string) (n uint64) {
	for i := range len(text) {
		n |= uint64(strings.IndexByte(cryptDigits, text[i])) << (6 * i) // #nosec G115 -- the digits were looked at above
	}
	return n
}

// powerOfTwo gives 2^n; 0, which is out of range, where that would be too much anyway.
func powerOfTwo(n uint64) uint64 {
	if n > 32 {
		return 0
	}
	return 1 << n
}

func newScrypt(h scryptHash, n, r, p uint64) (Hash, error) {
	if n < 2 || n&(n-1) != 0 || r < 1 || p < 1 || n > maxScrypt/r/p {
		return Hash{}, fmt.Errorf("scrypt N=%d, r=%d, p=%d are out of range; N is a power of two above 1, and N × r × p may be %d at most", n, r, p, maxScrypt)
	}
	h.n, h.r, h.p = int(n), int(r), int(p) // #nosec G115 -- bounded above
	return Hash{digest: h}, nil
}

func (scryptHash) scheme() string { return Scrypt }
func (s scryptHash) weak() bool   { return !enough(owaspScrypt, uint64(s.n*s.r), uint64(s.p)) } // #nosec G115 -- positive, they were parsed so
func (s scryptHash) cost() string { return fmt.Sprintf("scrypt N=%d,r=%d,p=%d", s.n, s.r, s.p) }

func (s scryptHash) matches(password string) bool {
	size := len(s.key)
	if s.crypt {
		size = 32
	}
	key, err := scrypt.Key([]byte(password), s.salt, s.n, s.r, s.p, size)
	if err != nil {
		return false // cannot be: the parameters are in range
	}
	if s.crypt {
		key = cryptbase64.EncodeCrypt(key)
	}
	return subtle.ConstantTimeCompare(key, s.key) == 1
}
