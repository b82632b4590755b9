package password

// The ways a hash can be made, as [Hash.Scheme] names them.
const (
	Argon2id = "argon2id"
	Argon2i  = "argon2i"
	// Bcrypt also is what PHP, Laravel, Rails and Django's BCryptPasswordHasher make.
	Bcrypt = "bcrypt"
	// BcryptSHA256 is Django's BCryptSHA256PasswordHasher: bcrypt of the SHA-256 in hexadecimal.
	BcryptSHA256 = "bcrypt-sha256"
	// BcryptWordPress is WordPress 6.8's $wp$: bcrypt of a SHA-384 HMAC in base64.
	BcryptWordPress = "bcrypt-wordpress"
	Scrypt          = "scrypt"
	PBKDF2SHA1      = "pbkdf2-sha1"
	PBKDF2SHA256    = "pbkdf2-sha256"
	PBKDF2SHA512    = "pbkdf2-sha512"
	// SHA256Crypt and SHA512Crypt are $5$ and $6$ of Unix crypt.
	SHA256Crypt = "sha256crypt"
	SHA512Crypt = "sha512crypt"
	// MD5Crypt is $1$ of Unix crypt.
	MD5Crypt = "md5crypt"
	// APR1 is $apr1$, what Apache's htpasswd makes unless told otherwise.
	APR1 = "apr1"
	// Phpass is $P$ and $H$: WordPress before 6.8, phpBB, and many a PHP program.
	Phpass = "phpass"
	// PhpassSHA512 is $S$: Drupal 7 to 10.0.
	PhpassSHA512 = "phpass-sha512" // #nosec G101 -- the name of a format
)

// Hash is a parsed password hash, ready to be compared with. The zero Hash matches nothing, but
// takes no time either; see [Hash.Decoy]. A Hash is immutable and safe for concurrent use.
type Hash struct {
	digest digest
	// never is set in a decoy: it does the work and says no.
	never bool
	// text is what Parse has read.
	text string
}

// digest is a hash of one scheme.
type digest interface {
	scheme() string
	// matches does the whole work whatever the password is, and compares in constant time.
	matches(password string) bool
	// weak is [Hash.Weak].
	weak() bool
	// cost is [Hash.Cost].
	cost() string
}

// Matches reports whether the password is the one the hash was made of. It always does the whole
// work and compares in constant time.
//
// bcrypt reads the first 72 bytes of a password and no more. So did the program that made the hash,
// and so does this: a longer password matches when its first 72 bytes do. A NUL byte in a password is
// a byte like others here. PHP's password_verify stops reading there, but since PHP 8 password_hash
// refuses such passwords, as Python's bcrypt and crypt(3) do: no hash needs what PHP does.
//
// With the schemes that hash the password anew in each of their rounds (crypt's and phpass'), one
// longer than [MaxLength] never matches: its length would decide how long the gateway works.
func (h Hash) Matches(password string) bool {
	return h.digest != nil && h.digest.matches(password) && !h.never
}

// Scheme is one of the names above, or "" for the zero Hash.
func (h Hash) Scheme() string {
	if h.digest == nil {
		return ""
	}
	return h.digest.scheme()
}

// Weak reports whether the password should be hashed anew when it is next seen, because the hash is
// weaker than OWASP's Password Storage Cheat Sheet asks for: argon2 and scrypt below all of its
// parameters, argon2i with fewer than three passes, bcrypt below cost 10, PBKDF2 below its number of
// iterations or with SHA-1, sha256crypt and sha512crypt below the number for PBKDF2 with the same hash
// (OWASP does not name them), and md5crypt, apr1 and phpass always. The zero Hash is not weak.
func (h Hash) Weak() bool { return h.digest != nil && h.digest.weak() }

// Cost names the scheme and its parameters, such as "bcrypt cost=12". Two hashes of the same Cost take
// the same time to check. It shows nothing of the password and may stand in a log. "" for the zero
// Hash.
func (h Hash) Cost() string {
	if h.digest == nil {
		return ""
	}
	return h.digest.cost()
}

// Decoy gives a hash that takes as long to check as this one and that no password matches, for
// accounts that do not exist (L04). Of the zero Hash, which stands for an account without a password,
// it is what [New] would make with [Default].
func (h Hash) Decoy() Hash {
	if h.digest == nil {
		d := argon2Hash{name: Argon2id, params: Default(), salt: make([]byte, saltSize), key: make([]byte, keySize)}
		h.digest, h.text = d, formatArgon2id(d.params, d.salt, d.key)
	}
	h.never = true
	return h
}

// Text is what [Parse] makes the same hash of, to check it elsewhere. It is as secret as the hash. "" for the zero Hash.
func (h Hash) Text() string { return h.text }

// IsDecoy reports whether the hash is one that no password matches, whatever Text's hash does.
func (h Hash) IsDecoy() bool { return h.never }

// String hides the hash from logs and dumps: it can be attacked at leisure.
func (h Hash) String() string { return "[" + h.Scheme() + " hash]" }

// GoString hides the hash from %#v.
func (h Hash) GoString() string { return h.String() }
