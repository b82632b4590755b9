package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Bounds of bcrypt.
const (
	minCost = 4
	maxCost = 16 // some seconds
)

// bcryptForm: version, cost, 22 characters of salt, 31 of hash, in bcrypt's own base64. $2a, $2b and
// $2y name bug fixes of other implementations and are one algorithm; $2x (a broken one) is none of them.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

type bcryptHash struct {
	name   string // Bcrypt, BcryptSHA256 or BcryptWordPress
	rounds int    // the logarithm of their number
	text   []byte
}

func parseBcrypt(text string) (Hash, error) { return bcryptOf(Bcrypt, text) }

// parseDjangoBcrypt reads bcrypt$$2b$12$…
func parseDjangoBcrypt(text string) (Hash, error) {
	return bcryptOf(Bcrypt, strings.TrimPrefix(text, "bcrypt$"))
}

// parseDjangoBcryptSHA256 reads bcrypt_sha256$$2b$12$…
func parseDjangoBcryptSHA256(text string) (Hash, error) {
	return bcryptOf(BcryptSHA256, strings.TrimPrefix(text, "bcrypt_sha256$"))
}

// parseWordPress reads $wp$2y$10$…
func parseWordPress(text string) (Hash, error) {
	return bcryptOf(BcryptWordPress, strings.TrimPrefix(text, "$wp"))
}

func bcryptOf(name, text string) (Hash, error) {
	m := bcryptForm.FindStringSubmatch(text)
	if m == nil {
		return Hash{}, errors.New("the bcrypt hash is damaged; it is 60 characters long: $2b$12$ and 53 of ./A-Za-z0-9")
	}
	cost, _ := strconv.Atoi(m[1])
	if cost < minCost || cost > maxCost {
		return Hash{}, fmt.Errorf("bcrypt cost %d is out of range; use %d to %d", cost, minCost, maxCost)
	}
	return Hash{digest: bcryptHash{name: name, rounds: cost, text: []byte(text)}}, nil
}

func (b bcryptHash) scheme() string { return b.name }
func (b bcryptHash) weak() bool     { return b.rounds < owaspBcrypt }
func (b bcryptHash) cost() string   { return fmt.Sprintf("%s cost=%d", b.name, b.rounds) }

func (b bcryptHash) matches(password string) bool {
	found := false
	for _, key := range b.keys(password) {
		if bcrypt.CompareHashAndPassword(b.text, key) == nil {
			found = true
		}
	}
	return found
}

// keys are what bcrypt gets of a password.
func (b bcryptHash) keys(password string) (keys [][]byte) {
	switch b.name {
	case BcryptSHA256:
		sum := sha256.Sum256([]byte(password))
		return [][]byte{[]byte(hex.EncodeToString(sum[:]))}
	case BcryptWordPress:
		for _, p := range wordPressSpellings(password) {
			mac := hmac.New(sha512.New384, []byte("wp-sha384"))
			mac.Write([]byte(p))
			keys = append(keys, []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))))
		}
		return keys
	}
	return [][]byte{[]byte(password)}
}
