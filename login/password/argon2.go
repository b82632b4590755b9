package password

import (
	"crypto/subtle"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Bounds of argon2.
const (
	maxMemory  = 1 << 20 // KiB: 1 GiB
	maxTime    = 64
	maxWork    = 4 << 20 // KiB × passes: some seconds
	maxThreads = 64
)

// argon2Version is the only one that x/crypto computes: 0x13.
const argon2Version = "v=19"

type argon2Hash struct {
	name      string // Argon2id or Argon2i
	params    Params
	salt, key []byte
}

// parseDjangoArgon2 reads Django's form: argon2 before the PHC string.
func parseDjangoArgon2(text string) (Hash, error) {
	text = strings.TrimPrefix(text, "argon2")
	if !strings.HasPrefix(text, "$argon2id$") && !strings.HasPrefix(text, "$argon2i$") {
		return Hash{}, damaged("argon2", "argon2$argon2id$v=19$m=102400,t=2,p=8$salt$key")
	}
	return parseArgon2(text)
}

func parseArgon2(text string) (Hash, error) {
	parts := strings.Split(text, "$") // "", argon2id, v=19, m=…,t=…,p=…, salt, key
	name := parts[1]
	if len(parts) == 5 && strings.HasPrefix(parts[2], "m=") {
		return Hash{}, fmt.Errorf("an %s hash without a version is of version 16 (before 2016), which is not supported; only v=19 is", name)
	}
	if len(parts) != 6 {
		return Hash{}, damaged(name, "$"+name+"$v=19$m=19456,t=2,p=1$salt$key")
	}
	if parts[2] != argon2Version {
		return Hash{}, fmt.Errorf("this version of %s is not known; only v=19 is", name)
	}
	values, ok := decimals(parts[3], "m,t,p")
	if !ok {
		return Hash{}, fmt.Errorf("%s parameters are not of the form m=19456,t=2,p=1", name)
	}
	params, err := argon2Params(name, values[0], values[1], values[2])
	if err != nil {
		return Hash{}, err
	}
	salt, ok := decode(phc, parts[4], minSalt, maxSalt)
	if !ok {
		return Hash{}, fmt.Errorf("the salt of the %s hash is damaged; it is %d to %d bytes in base64 without =", name, minSalt, maxSalt)
	}
	key, ok := decode(phc, parts[5], minKey, maxKey)
	if !ok {
		return Hash{}, fmt.Errorf("the key of the %s hash is damaged; it is %d to %d bytes in base64 without =", name, minKey, maxKey)
	}
	return Hash{digest: argon2Hash{name: name, params: params, salt: salt, key: key}}, nil
}

func argon2Params(name string, m, t, p uint64) (Params, error) {
	switch {
	case p < 1 || p > maxThreads:
		return Params{}, fmt.Errorf("%s p=%d is out of range; use 1 to %d", name, p, maxThreads)
	case m < 8*p || m > maxMemory:
		return Params{}, fmt.Errorf("%s m=%d (KiB) is out of range; use %d to %d, which is 1 GiB", name, m, 8*p, maxMemory)
	case t < 1 || t > maxTime:
		return Params{}, fmt.Errorf("%s t=%d is out of range; use 1 to %d", name, t, maxTime)
	case m*t > maxWork:
		return Params{}, fmt.Errorf("%s m=%d with t=%d takes too long; m × t may be %d at most", name, m, t, maxWork)
	}
	return Params{Memory: uint32(m), Time: uint32(t), Threads: uint8(p)}, nil
}

func formatArgon2id(p Params, salt, key []byte) string {
	return fmt.Sprintf("$argon2id$%s$m=%d,t=%d,p=%d$%s$%s",
		argon2Version, p.Memory, p.Time, p.Threads, phc.EncodeToString(salt), phc.EncodeToString(key))
}

func (a argon2Hash) scheme() string { return a.name }

func (a argon2Hash) matches(password string) bool {
	derive := argon2.IDKey
	if a.name == Argon2i {
		derive = argon2.Key
	}
	key := derive([]byte(password), a.salt, a.params.Time, a.params.Memory, a.params.Threads, uint32(len(a.key))) // #nosec G115 -- as long as the key was read, at most a few hundred bytes
	return subtle.ConstantTimeCompare(key, a.key) == 1
}

// weak: with fewer than three passes argon2i can be computed with a fraction of its memory (RFC 9106
// section 7.2 and the papers it names).
func (a argon2Hash) weak() bool {
	if a.name == Argon2i && a.params.Time < 3 {
		return true
	}
	return !enough(owaspArgon2, uint64(a.params.Memory), uint64(a.params.Time))
}

func (a argon2Hash) cost() string {
	return fmt.Sprintf("%s m=%d,t=%d,p=%d", a.name, a.params.Memory, a.params.Time, a.params.Threads)
}
