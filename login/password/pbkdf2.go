package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" // #nosec G505 -- the format is what others have stored
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"hash"
	"strings"
)

// maxIterations bounds the iterations of PBKDF2, times the blocks that the key is made of: some
// seconds. Django 6.0 takes 1,200,000.
const maxIterations = 5_000_000

// prf is a hash that PBKDF2 is used with.
type prf struct {
	name string
	new  func() hash.Hash
	size int
	// owasp is how many iterations are enough; 0 for none.
	owasp uint64
}

var prfs = map[string]prf{
	"sha1":   {PBKDF2SHA1, sha1.New, sha1.Size, 0},
	"sha256": {PBKDF2SHA256, sha256.New, sha256.Size, owaspPBKDF2SHA256},
	"sha512": {PBKDF2SHA512, sha512.New, sha512.Size, owaspPBKDF2SHA512},
}

type pbkdf2Hash struct {
	prf        string // a key of prfs
	iterations int
	salt, key  []byte
}

// parseDjangoPBKDF2 reads pbkdf2_sha256$260000$salt$base64.
func parseDjangoPBKDF2(text string) (Hash, error) {
	const form = "pbkdf2_sha256$iterations$salt$key"
	parts := strings.Split(text, "$")
	name := strings.TrimPrefix(parts[0], "pbkdf2_")
	f, known := prfs[name]
	if len(parts) != 4 || !known {
		return Hash{}, damaged("PBKDF2", form)
	}
	iterations, okNumber := decimal(parts[1])
	salt, okSalt := textSalt(parts[2])
	key, okKey := decode(padded, parts[3], f.size, f.size)
	if !okNumber || !okSalt || !okKey {
		return Hash{}, damaged("PBKDF2", form)
	}
	return newPBKDF2(name, iterations, salt, key)
}

// parseWerkzeugPBKDF2 reads pbkdf2:sha256:260000$salt$hex.
func parseWerkzeugPBKDF2(text string) (Hash, error) {
	const form = "pbkdf2:sha256:iterations$salt$key"
	parts := strings.Split(text, "$")
	method := strings.Split(parts[0], ":")
	if len(parts) != 3 || len(method) != 3 {
		return Hash{}, damaged("PBKDF2", form)
	}
	f, known := prfs[method[1]]
	iterations, okNumber := decimal(method[2])
	salt, okSalt := textSalt(parts[1])
	key, okKey := decodeHex(parts[2], f.size, f.size)
	if !known || !okNumber || !okSalt || !okKey {
		return Hash{}, damaged("PBKDF2", form)
	}
	return newPBKDF2(method[1], iterations, salt, key)
}

// parsePasslibPBKDF2 reads $pbkdf2-sha256$29000$salt$key; $pbkdf2$ is that with SHA-1.
func parsePasslibPBKDF2(text string) (Hash, error) {
	const form = "$pbkdf2-sha256$iterations$salt$key"
	parts := strings.Split(text, "$")
	name, ok := "sha1", parts[1] == "pbkdf2"
	if !ok {
		name, ok = strings.CutPrefix(parts[1], "pbkdf2-")
	}
	f, known := prfs[name]
	if !ok || !known || len(parts) != 5 {
		return Hash{}, damaged("PBKDF2", form)
	}
	iterations, okNumber := decimal(parts[2])
	salt, okSalt := decode(ab64, parts[3], minSalt, maxSalt)
	key, okKey := decode(ab64, parts[4], f.size, f.size)
	if !okNumber || !okSalt || !okKey {
		return Hash{}, damaged("PBKDF2", form)
	}
	return newPBKDF2(name, iterations, salt, key)
}

func newPBKDF2(name string, iterations uint64, salt, key []byte) (Hash, error) {
	h := pbkdf2Hash{prf: name, iterations: int(iterations), salt: salt, key: key}        // #nosec G115 -- bounded by the next line
	if most := maxIterations / h.blocks(); iterations < 1 || iterations > uint64(most) { // #nosec G115 -- a constant by a small number
		return Hash{}, fmt.Errorf("%d iterations of PBKDF2 are out of range; use 1 to %d", iterations, most)
	}
	return Hash{digest: h}, nil
}

// blocks is how often the iterations are done for a key of this length.
func (p pbkdf2Hash) blocks() int {
	size := prfs[p.prf].size
	return (len(p.key) + size - 1) / size
}

func (p pbkdf2Hash) scheme() string { return prfs[p.prf].name }

func (p pbkdf2Hash) weak() bool {
	least := prfs[p.prf].owasp
	return least == 0 || uint64(p.iterations) < least // #nosec G115 -- positive, it was parsed so
}

func (p pbkdf2Hash) cost() string {
	return fmt.Sprintf("%s iterations=%d,blocks=%d", p.scheme(), p.iterations, p.blocks())
}

func (p pbkdf2Hash) matches(password string) bool {
	key, err := pbkdf2.Key(prfs[p.prf].new, password, p.salt, p.iterations, len(p.key))
	// The error is of FIPS 140 mode, which knows neither short salts nor short keys.
	return err == nil && subtle.ConstantTimeCompare(key, p.key) == 1
}
