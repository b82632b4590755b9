package password

import (
	"crypto/md5" // #nosec G501 -- the format is what others have stored
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"hash"
	"regexp"

	cryptbase64 "github.com/go-crypt/x/base64"
)

// Bounds of phpass, as logarithms of the number of rounds. The program itself allows up to 30.
// WordPress and phpBB take 13 or less, Drupal 15 or 16.
const (
	minPhpass = 7
	maxPhpass = 20 // some seconds
)

// drupalSum is how much Drupal keeps of the 86 characters of a SHA-512, to fit a column.
const drupalSum = 43

// The logarithm of the rounds, eight characters of salt, the sum.
var (
	phpassForm = regexp.MustCompile(`^\$[PH]\$([./0-9A-Za-z])([./0-9A-Za-z]{8})([./0-9A-Za-z]{22})$`)
	drupalForm = regexp.MustCompile(`^\$S\$([./0-9A-Za-z])([./0-9A-Za-z]{8})([./0-9A-Za-z]{43})$`)
)

type phpassHash struct {
	name      string // Phpass or PhpassSHA512
	rounds    int    // the logarithm of their number
	salt, sum []byte
}

// parsePhpass reads the portable hashes of phpass: $P$, which phpBB calls $H$.
func parsePhpass(text string) (Hash, error) {
	return phpassOf(Phpass, phpassForm.FindStringSubmatch(text), "$P$ and 31 characters of ./0-9A-Za-z")
}

// parseDrupal reads Drupal's variant with SHA-512.
func parseDrupal(text string) (Hash, error) {
	return phpassOf(PhpassSHA512, drupalForm.FindStringSubmatch(text), "$S$ and 52 characters of ./0-9A-Za-z")
}

func phpassOf(name string, m []string, form string) (Hash, error) {
	if m == nil {
		return Hash{}, damaged(name, form)
	}
	rounds := cryptNumber(m[1])
	if rounds < minPhpass || rounds > maxPhpass {
		return Hash{}, fmt.Errorf("2^%d rounds of %s are out of range; use 2^%d to 2^%d", rounds, name, minPhpass, maxPhpass)
	}
	return Hash{digest: phpassHash{name: name, rounds: int(rounds), salt: []byte(m[2]), sum: []byte(m[3])}}, nil
}

func (p phpassHash) scheme() string { return p.name }

// weak: rounds of MD5 stretch little, and Drupal's own count of SHA-512 is a fraction of what OWASP asks.
func (phpassHash) weak() bool     { return true }
func (p phpassHash) cost() string { return fmt.Sprintf("%s rounds=%d", p.name, 1<<p.rounds) }

func (p phpassHash) matches(password string) bool {
	spellings, function, length := phpassSpellings, md5.New, len(p.sum)
	if p.name == PhpassSHA512 {
		spellings, function, length = drupalSpellings, sha512.New, drupalSum
	}
	found := false
	for _, s := range spellings(password) {
		key, whole := bounded(s)
		sum := cryptbase64.EncodeCrypt(p.stretch(function(), key))[:length]
		if subtle.ConstantTimeCompare(sum, p.sum) == 1 && whole {
			found = true
		}
	}
	return found
}

// stretch is H(… H(H(salt, password), password) …, password).
func (p phpassHash) stretch(h hash.Hash, password []byte) []byte {
	h.Write(p.salt)
	h.Write(password)
	sum := h.Sum(nil)
	for range 1 << p.rounds {
		h.Reset()
		h.Write(sum)
		h.Write(password)
		sum = h.Sum(sum[:0])
	}
	return sum
}
