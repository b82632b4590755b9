package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// Sizes of the parts of a token, in bytes and in base64url characters.
const (
	secretBytes = 32
	tagBytes    = 8
	secretChars = 43
	// What stands between tag and secret says where the session was born, so that those in
	// Redis never cost the database a question. Both are characters of a cookie value (RFC 6265).
	bornInRedis    = '.'
	bornInDatabase = '~'
	tagChars       = 11
	// TokenLength is the length of every token: tag, dot, secret.
	TokenLength = tagChars + 1 + secretChars
)

// encoding is strict: of the several texts that lenient decoders take for the same bytes only
// one is a token, so a session cannot be named in two ways.
var encoding = base64.RawURLEncoding.Strict()

// Tag is base64url of the first 8 bytes of the SHA-256 of the user ID. It is no secret and no
// proof of anything: it only makes all keys of a user fall into one Redis Cluster slot.
type Tag string

// TagOf gives a user's tag.
func TagOf(userID string) Tag {
	sum := sha256.Sum256([]byte(userID))
	return Tag(encoding.EncodeToString(sum[:tagBytes]))
}

// ID is the SHA-256 of a token: what Redis, logs and lists may know of it.
type ID [sha256.Size]byte

// String is the ID in base64url, as it stands in the record and in Redis's keys.
func (id ID) String() string { return encoding.EncodeToString(id[:]) }

// Short is the first eight characters, for logs.
func (id ID) Short() string { return id.String()[:8] }

// IsZero reports whether id is no ID at all.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads what String gives.
func ParseID(s string) (ID, bool) {
	var id ID
	if len(s) != encoding.EncodedLen(len(id)) {
		return ID{}, false
	}
	n, err := encoding.Decode(id[:], []byte(s))
	return id, err == nil && n == len(id)
}

// Key is how a session is found: by ID, in the slot of its user, and in which store.
type Key struct {
	Tag Tag
	ID  ID
	// Database: the session was born in the application's table, by a login at the gateway.
	Database bool
	// Row is the id column of a session the application itself made; "" for all others. It may be the
	// application's token in plain text: never log it.
	Row string
}

// NewToken makes the value of a new session's cookie: <tag>.<secret>, the secret being 32 bytes
// of the system's randomness (OWASP asks for at least 64 bits).
func NewToken(userID string) string { return newToken(userID, bornInRedis) }

// NewDatabaseToken is NewToken for a session that is born in the application's table: <tag>~<secret>.
func NewDatabaseToken(userID string) string { return newToken(userID, bornInDatabase) }

func newToken(userID string, born byte) string {
	var secret [secretBytes]byte
	rand.Read(secret[:]) // never fails: it ends the program when there is no randomness
	return string(TagOf(userID)) + string(born) + encoding.EncodeToString(secret[:])
}

// ParseToken gives the key of a token, or false for anything that is not exactly of a token's
// form, so that junk costs no question to the store.
func ParseToken(token string) (Key, bool) {
	if len(token) != TokenLength || token[tagChars] != bornInRedis && token[tagChars] != bornInDatabase {
		return Key{}, false
	}
	// On the stack: this runs for every request, and a conversion would make garbage each time.
	var text [TokenLength]byte
	copy(text[:], token)
	var buf [secretBytes + 1]byte
	if n, err := encoding.Decode(buf[:], text[:tagChars]); err != nil || n != tagBytes {
		return Key{}, false
	}
	if n, err := encoding.Decode(buf[:], text[tagChars+1:]); err != nil || n != secretBytes {
		return Key{}, false
	}
	return Key{Tag: Tag(token[:tagChars]), ID: sha256.Sum256(text[:]), Database: token[tagChars] == bornInDatabase}, true
}
