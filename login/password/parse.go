package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Bounds of parameters that are accepted from a file. Whoever writes the file decides what each
// attempt to log in costs; a slip of the pen there (m in bytes, bcrypt cost 31) would stop the gateway.
const (
	maxMemory  = 1 << 20 // KiB: 1 GiB
	maxTime    = 64
	maxWork    = 4 << 20 // KiB × passes: some seconds
	maxThreads = 64
	minSalt    = 8
	maxSalt    = 64
	minKey     = 16
	maxKey     = 64
	minCost    = 4
	maxCost    = 16 // some seconds
)

// bcryptForm: version, cost, 22 characters of salt, 31 of hash, in bcrypt's own base64. $2a, $2b and
// $2y name bug fixes of other implementations and are one algorithm; $2x (a broken one) is none of them.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

// phc is base64 as PHC strings have it. Strict: no second text for the same bytes.
var phc = base64.RawStdEncoding.Strict()

// Parse reads a hash: argon2id in PHC format or bcrypt. The error says what is wrong and what would
// be right, and never repeats the hash.
func Parse(text string) (Hash, error) {
	switch {
	case text == "":
		return Hash{}, errors.New("the hash is empty; set a password with: gatehouse users passwd")
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2id(text)
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	}
	return Hash{}, errors.New("this is no hash that can be checked; it must begin with $argon2id$ (PHC format) or $2a$, $2b$, $2y$ (bcrypt)")
}

func parseBcrypt(text string) (Hash, error) {
	m := bcryptForm.FindStringSubmatch(text)
	if m == nil {
		return Hash{}, errors.New("the bcrypt hash is damaged; it is 60 characters long: $2b$12$ and 53 of ./A-Za-z0-9")
	}
	if cost, _ := strconv.Atoi(m[1]); cost < minCost || cost > maxCost {
		return Hash{}, fmt.Errorf("bcrypt cost %d is out of range; use %d to %d", cost, minCost, maxCost)
	}
	return Hash{scheme: Bcrypt, text: []byte(text)}, nil
}

func parseArgon2id(text string) (Hash, error) {
	parts := strings.Split(text, "$") // "", argon2id, v=19, m=…,t=…,p=…, salt, key
	if len(parts) != 6 {
		return Hash{}, errors.New("the argon2id hash is damaged; its form is $argon2id$v=19$m=19456,t=2,p=1$salt$key")
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return Hash{}, fmt.Errorf("argon2id version %.8q is not known; only v=19 is", parts[2])
	}
	params, err := parseParams(parts[3])
	if err != nil {
		return Hash{}, err
	}
	salt, err := phc.DecodeString(parts[4])
	if err != nil || len(salt) < minSalt || len(salt) > maxSalt {
		return Hash{}, fmt.Errorf("the salt of the argon2id hash is damaged; it is %d to %d bytes in base64 without =", minSalt, maxSalt)
	}
	key, err := phc.DecodeString(parts[5])
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return Hash{}, fmt.Errorf("the key of the argon2id hash is damaged; it is %d to %d bytes in base64 without =", minKey, maxKey)
	}
	return Hash{scheme: Argon2id, params: params, salt: salt, key: key}, nil
}

// parseParams reads m=19456,t=2,p=1, in this order, as the PHC format has it.
func parseParams(text string) (Params, error) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return Params{}, fmt.Errorf("argon2id parameters %.40q are not of the form m=19456,t=2,p=1", text)
	}
	var values [3]uint64
	for i, name := range [...]string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
			return Params{}, fmt.Errorf("argon2id parameters %.40q are not of the form m=19456,t=2,p=1", text)
		}
		values[i] = n
	}
	m, t, p := values[0], values[1], values[2]
	switch {
	case p < 1 || p > maxThreads:
		return Params{}, fmt.Errorf("argon2id p=%d is out of range; use 1 to %d", p, maxThreads)
	case m < 8*p || m > maxMemory:
		return Params{}, fmt.Errorf("argon2id m=%d (KiB) is out of range; use %d to %d, which is 1 GiB", m, 8*p, maxMemory)
	case t < 1 || t > maxTime:
		return Params{}, fmt.Errorf("argon2id t=%d is out of range; use 1 to %d", t, maxTime)
	case m*t > maxWork:
		return Params{}, fmt.Errorf("argon2id m=%d with t=%d takes too long; m × t may be %d at most", m, t, maxWork)
	}
	return Params{Memory: uint32(m), Time: uint32(t), Threads: uint8(p)}, nil
}

func formatArgon2id(p Params, salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.Memory, p.Time, p.Threads, phc.EncodeToString(salt), phc.EncodeToString(key))
}
