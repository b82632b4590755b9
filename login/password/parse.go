package password

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Sizes that are accepted, in bytes.
const (
	minSalt = 8
	maxSalt = 64
	minKey  = 16
	maxKey  = 64
	// maxTextSalt is for salts that are hashed as the text they stand in the hash as.
	maxTextSalt = 128
	// maxHash is the longest hash of any scheme, with room.
	maxHash = 1024
)

// ErrUnusable is what [Parse] says of a text that programs write to say that there is no password:
// nothing, Django's "!" and random letters, and "!" or "*" of /etc/shadow. Whoever logs in with such an
// account must be refused after as much work as for any other (see [Hash.Decoy]).
var ErrUnusable = errors.New("the hash is empty or locked: nobody can log in with it; set a password with: gatehouse users passwd")

var errUnknown = errors.New("this is no hash that can be checked; it must begin with $argon2id$ (PHC format) or $2a$, $2b$, $2y$ (bcrypt), " +
	"or be argon2i, scrypt, PBKDF2, or a hash of Django, Werkzeug, ASP.NET Identity, passlib, WordPress, Drupal, phpBB, htpasswd, or crypt's $5$ or $6$")

// parsers are the schemes by what their hashes begin with. No prefix is the beginning of a later one.
var parsers = []struct {
	prefix string
	parse  func(text string) (Hash, error)
}{
	{"$argon2id$", parseArgon2},
	{"$argon2i$", parseArgon2},
	{"argon2$argon2i", parseDjangoArgon2},
	{"$2", parseBcrypt},
	{"bcrypt_sha256$", parseDjangoBcryptSHA256},
	{"bcrypt$", parseDjangoBcrypt},
	{"$wp$2", parseWordPress},
	{"$scrypt$", parseScrypt},
	{"scrypt:", parseWerkzeugScrypt},
	{"scrypt$", parseDjangoScrypt},
	{"$7$", parseCryptScrypt},
	{"$pbkdf2", parsePasslibPBKDF2},
	{"pbkdf2:", parseWerkzeugPBKDF2},
	{"pbkdf2_", parseDjangoPBKDF2},
	{"$P$", parsePhpass},
	{"$H$", parsePhpass},
	{"$S$", parseDrupal},
	{"$5$", parseSHACrypt},
	{"$6$", parseSHACrypt},
	{"$1$", parseMD5Crypt},
	{"$apr1$", parseMD5Crypt},
	{"A", parseASPNET}, // base64 of a byte 0x00 or 0x01
}

// refused are hashes that are known and yet not checked, by what they begin with.
var refused = []struct{ prefix, reason string }{
	{"$y$", "yescrypt, the $y$ of Debian's /etc/shadow, is not supported; set the password anew with another method, such as: mkpasswd -m sha512crypt -R 500000"},
	{"$gy$", "gost-yescrypt is not supported; set the password anew with another method"},
	{"{SHA}", "{SHA} of htpasswd -s is one round of SHA-1 without a salt and is not accepted; set the password anew with: htpasswd -B"},
	{"{", "LDAP's hashes, such as {SSHA}, are one round without stretching and are not accepted; set the password anew"},
	{"$argon2d$", "argon2d is not meant for passwords and is not supported; set the password anew"},
	{"argon2$argon2d$", "argon2d is not meant for passwords and is not supported; set the password anew"},
	{"$bcrypt-sha256$", "passlib's bcrypt-sha256 is not supported; set the password anew"},
	{"$md5", "SunMD5 is not supported; set the password anew"},
	{"$sha1$", "sha1crypt is not supported; set the password anew"},
	{"sha1$", "one round of SHA-1 is not accepted; set the password anew"},
	{"md5$", "one round of MD5 is not accepted; set the password anew"},
	{"sha256$", "one round of SHA-256 is not accepted; set the password anew"},
	{"crypt$", "DES crypt is not accepted; set the password anew"},
	{"U$", "an MD5 hash that Drupal 7 hashed again when it was upgraded is not supported; set the password anew"},
}

// Parse reads a hash that this or another program made. The schemes are those of [Hash.Scheme], in the
// forms of the programs that are named there. Parameters are bounded: whoever writes the hash decides what
// each attempt to log in costs, and a slip of the pen (memory in bytes, bcrypt cost 31) would stop the
// gateway. Errors: [ErrUnusable], or one that says what is wrong and what would be right; none repeats
// the hash.
func Parse(text string) (Hash, error) {
	if text == "" || text[0] == '!' || text[0] == '*' {
		return Hash{}, ErrUnusable
	}
	if len(text) > maxHash {
		return Hash{}, fmt.Errorf("this is longer than any hash; %d characters are the most", maxHash)
	}
	for _, p := range parsers {
		if strings.HasPrefix(text, p.prefix) {
			h, err := p.parse(text)
			if err == nil {
				h.text = text
			}
			return h, err
		}
	}
	for _, r := range refused {
		if strings.HasPrefix(text, r.prefix) {
			return Hash{}, errors.New(r.reason)
		}
	}
	if raw, err := hex.DecodeString(text); err == nil && len(raw) >= 16 {
		return Hash{}, errors.New("this looks like one round of MD5 or SHA without a salt, which is not accepted; set the password anew")
	}
	return Hash{}, errUnknown
}

// base64 as PHC strings, passlib and Django have it.
var (
	phc    = base64.RawStdEncoding.Strict()
	padded = base64.StdEncoding.Strict()
	ab64   = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding).Strict()
)

// decode reads base64 of least to most bytes. Strict: no second text for the same bytes, so no line
// ends either, which the standard library leaves out silently.
func decode(encoding *base64.Encoding, text string, least, most int) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	raw, err := encoding.DecodeString(text)
	return raw, err == nil && len(raw) >= least && len(raw) <= most
}

// decodeHex reads hexadecimal in small letters.
func decodeHex(text string, least, most int) ([]byte, bool) {
	raw, err := hex.DecodeString(text)
	return raw, err == nil && len(raw) >= least && len(raw) <= most && hex.EncodeToString(raw) == text
}

// decimal reads a number as programs write it: no sign, no leading zero, 32 bits.
func decimal(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return n, err == nil && strconv.FormatUint(n, 10) == text
}

// decimals reads fields like m=19456,t=2,p=1, in the order of names.
func decimals(text, names string) ([]uint64, bool) {
	fields, want := strings.Split(text, ","), strings.Split(names, ",")
	if len(fields) != len(want) {
		return nil, false
	}
	values := make([]uint64, len(fields))
	for i, field := range fields {
		digits, named := strings.CutPrefix(field, want[i]+"=")
		n, ok := decimal(digits)
		if !named || !ok {
			return nil, false
		}
		values[i] = n
	}
	return values, true
}

// textSalt reads a salt that is hashed as it stands.
func textSalt(text string) ([]byte, bool) {
	return []byte(text), len(text) >= 1 && len(text) <= maxTextSalt
}

// damaged is the error of a hash that does not have the form of its scheme.
func damaged(scheme, form string) error {
	return fmt.Errorf("the %s hash is damaged; its form is %s", scheme, form)
}
