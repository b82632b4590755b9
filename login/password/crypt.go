package password

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"

	"github.com/go-crypt/x/crypt"
)

// Bounds of the rounds of sha256crypt and sha512crypt. crypt(3) itself allows 999,999,999; passlib
// takes 656,000.
const (
	minRounds     = 1000
	maxRounds     = 1_000_000 // some seconds with the longest password
	defaultRounds = 5000      // where the hash does not say
)

// Salts are what can stand in a line of /etc/shadow or .htpasswd, as they are hashed as they stand.
var (
	shaCryptForm = regexp.MustCompile(`^\$([56])\$(?:rounds=([1-9][0-9]{0,8})\$)?([!-#%-9;-~]{1,16})\$([./0-9A-Za-z]{43}|[./0-9A-Za-z]{86})$`)
	md5CryptForm = regexp.MustCompile(`^(\$1\$|\$apr1\$)([!-#%-9;-~]{1,8})\$([./0-9A-Za-z]{22})$`)
)

type shaCryptHash struct {
	name      string // SHA256Crypt or SHA512Crypt
	rounds    int
	salt, sum []byte
}

// parseSHACrypt reads $5$salt$sum and $6$salt$sum, with or without rounds=5000$ before the salt.
func parseSHACrypt(text string) (Hash, error) {
	const form = "$6$rounds=500000$salt$sum, with up to 16 characters of salt and 86 of sum (43 with $5$)"
	h := shaCryptHash{name: SHA256Crypt, rounds: defaultRounds}
	length := 43
	if text[1] == '6' {
		h.name, length = SHA512Crypt, 86
	}
	m := shaCryptForm.FindStringSubmatch(text)
	if m == nil || len(m[4]) != length {
		return Hash{}, damaged(h.name, form)
	}
	if m[2] != "" {
		rounds, ok := decimal(m[2])
		if !ok || rounds < minRounds || rounds > maxRounds {
			return Hash{}, fmt.Errorf("%s rounds=%d is out of range; use %d to %d", h.name, rounds, minRounds, maxRounds)
		}
		h.rounds = int(rounds)
	}
	h.salt, h.sum = []byte(m[3]), []byte(m[4])
	return Hash{digest: h}, nil
}

func (s shaCryptHash) scheme() string { return s.name }
func (s shaCryptHash) cost() string   { return fmt.Sprintf("%s rounds=%d", s.name, s.rounds) }

func (s shaCryptHash) weak() bool {
	if s.name == SHA256Crypt {
		return s.rounds < owaspPBKDF2SHA256
	}
	return s.rounds < owaspPBKDF2SHA512
}

func (s shaCryptHash) matches(password string) bool {
	function := sha256.New
	if s.name == SHA512Crypt {
		function = sha512.New
	}
	key, whole := bounded(password)
	sum := crypt.KeySHACrypt(function, key, s.salt, s.rounds)
	return subtle.ConstantTimeCompare(sum, s.sum) == 1 && whole
}

type md5CryptHash struct {
	magic     string // $1$ or $apr1$, which is hashed too
	salt, sum []byte
}

func parseMD5Crypt(text string) (Hash, error) {
	m := md5CryptForm.FindStringSubmatch(text)
	if m == nil {
		return Hash{}, errors.New("the md5crypt hash is damaged; its form is $1$salt$sum or $apr1$salt$sum, with up to 8 characters of salt and 22 of sum")
	}
	return Hash{digest: md5CryptHash{magic: m[1], salt: []byte(m[2]), sum: []byte(m[3])}}, nil
}

func (m md5CryptHash) scheme() string {
	if m.magic == "$apr1$" {
		return APR1
	}
	return MD5Crypt
}

func (md5CryptHash) weak() bool     { return true }
func (m md5CryptHash) cost() string { return m.scheme() }

func (m md5CryptHash) matches(password string) bool {
	key, whole := bounded(password)
	return subtle.ConstantTimeCompare(md5Crypt(key, m.salt, m.magic), m.sum) == 1 && whole
}
