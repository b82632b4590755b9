package session

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// SchemaVersion is the `v` of the records this version writes. It reads this and older ones.
	SchemaVersion = 1
	// MaxRecordSize bounds a record's JSON without Sealed, in bytes.
	MaxRecordSize = 4096
	// MaxUserAgent is where UserAgent is cut, in bytes.
	MaxUserAgent = 256
	// MaxSealedSize bounds Sealed, in bytes of JSON.
	MaxSealedSize = 64 << 10
)

// User is who a session belongs to, as the login backend told it.
type User struct {
	// ID names the user: not empty, valid UTF-8. Digits only are the same user whether an
	// application wrote them as a JSON number or as a string.
	ID            string
	Email         string
	Name          string
	EmailVerified bool
	Role          string
}

// Record is a session as Redis holds it (design: Sessions). JSON, camelCase, times RFC 3339 in
// UTC with milliseconds. A Record that was read from a store is shared: never change it, Clone it.
type Record struct {
	Version int
	ID      ID
	User
	CreatedAt    time.Time
	LastAccessed time.Time
	// ExpiresAt is the absolute limit. Nothing moves it.
	ExpiresAt time.Time
	// Backend that vouched for the user: file, app or database; "" for a session the application made.
	Backend   string
	IP        string
	UserAgent string
	// Sealed holds secrets such as the application's cookies, encrypted under a key derived from the
	// token, which the store never sees (seal.go).
	Sealed []byte
	// Database says, of a record in Redis, what it has to do with the application's table (migration.go):
	// "" nothing, DatabaseCopy, or DatabaseMoved.
	Database string
	// Alias is the row a session came over from when its old token is too weak to be good for longer than
	// it takes the browser to have the new one; hashed (keyspace.alias).
	Alias string
	// Unknown are fields of other versions. They survive a rewrite.
	Unknown map[string]json.RawMessage

	// raw is the text the record was read from: what a compare-and-set compares with.
	raw string
	// born: by a login at the gateway, in the application's table.
	born bool
	// row is the id column of a session the application made, while it is read from there.
	row string
}

// The values of Record.Database.
const (
	// DatabaseCopy is a copy of a row, which still is what counts. Also a session on its way over, whose
	// row is not marked yet.
	DatabaseCopy = "copy"
	// DatabaseMoved has come over: its row is marked and counts no more.
	DatabaseMoved = "moved"
)

// Key is where the record is found.
func (r *Record) Key() Key {
	return Key{Tag: TagOf(r.User.ID), ID: r.ID, Database: r.born, Row: r.row}
}

// Clone gives a copy that may be changed. It still remembers the text it was read from.
func (r *Record) Clone() *Record {
	c := *r
	c.Sealed = slices.Clone(r.Sealed)
	c.Unknown = maps.Clone(r.Unknown)
	return &c
}

// timeLayout is RFC 3339 with exactly three digits of fraction. Texts of one length compare like the times.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// wireRecord is the record's JSON as it is written. What is read goes through decodeRecord.
type wireRecord struct {
	Version       int             `json:"v"`
	ID            string          `json:"id"`
	UserID        json.RawMessage `json:"userId"`
	Email         string          `json:"email"`
	Name          string          `json:"name"`
	EmailVerified bool            `json:"emailVerified"`
	Role          string          `json:"role"`
	CreatedAt     string          `json:"createdAt"`
	LastAccessed  string          `json:"lastAccessed"`
	ExpiresAt     string          `json:"expiresAt"`
	Backend       string          `json:"backend,omitempty"`
	Database      string          `json:"database,omitempty"`
	Born          bool            `json:"born,omitempty"`
	Alias         string          `json:"alias,omitempty"`
	IP            string          `json:"ip,omitempty"`
	UserAgent     string          `json:"userAgent,omitempty"`
	Sealed        []byte          `json:"sealed,omitempty"`
}

// encodeRecord gives the record's text. ErrTooLarge when it passes MaxRecordSize without Sealed or
// Sealed passes MaxSealedSize; ErrInvalidUser when the user ID cannot be written so that the
// same ID is read again.
func encodeRecord(r *Record) (string, error) {
	if !validUserID(r.User.ID) {
		return "", ErrInvalidUser
	}
	w := wireRecord{
		Version: max(r.Version, SchemaVersion), ID: r.ID.String(), UserID: encodeUserID(r.User.ID),
		Email: r.Email, Name: r.Name, EmailVerified: r.EmailVerified, Role: r.Role,
		CreatedAt: formatTime(r.CreatedAt), LastAccessed: formatTime(r.LastAccessed), ExpiresAt: formatTime(r.ExpiresAt),
		Backend: r.Backend, Database: r.Database, Born: r.born, Alias: r.Alias, IP: r.IP, UserAgent: cutUserAgent(r.UserAgent),
	}
	text, err := json.Marshal(w)
	if err != nil {
		return "", err
	}
	// Fields of other versions go behind ours, in a fixed order: the same record is always the same text.
	for _, name := range slices.Sorted(maps.Keys(r.Unknown)) {
		label, err := json.Marshal(name)
		if err != nil {
			return "", err
		}
		text = append(text[:len(text)-1], ',')
		text = append(append(text, label...), ':')
		text = append(append(text, r.Unknown[name]...), '}')
	}
	if len(text) > MaxRecordSize {
		return "", ErrTooLarge
	}
	if len(r.Sealed) > 0 {
		sealed, err := json.Marshal(r.Sealed)
		if err != nil {
			return "", err
		}
		if len(sealed) > MaxSealedSize {
			return "", ErrTooLarge
		}
		text = append(text[:len(text)-1], `,"sealed":`...)
		text = append(append(text, sealed...), '}')
	}
	return string(text), nil
}

// validUserID: a key is made of the ID's bytes and the record names it in JSON, which replaces
// what is not UTF-8; an ID that changes on the way could become another user's.
func validUserID(id string) bool {
	return id != "" && utf8.ValidString(id)
}

// encodeUserID writes a canonical integer below 2^53 as a number, as applications with
// integer keys expect it, and all else as a string: 2^53 and above lose digits in readers that take
// numbers for floats (JavaScript, Lua), and "007" is not the user 7.
func encodeUserID(id string) json.RawMessage {
	if canonicalInteger(id) {
		return json.RawMessage(id)
	}
	text, err := json.Marshal(id)
	if err != nil { // a string always can be written
		panic(err)
	}
	return text
}

// maxExactInteger is 2^53: below it every integer is exact as a float.
const maxExactInteger = "9007199254740992"

func canonicalInteger(s string) bool {
	if s == "" || len(s) > len(maxExactInteger) || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) < len(maxExactInteger) || s < maxExactInteger
}

// cutUserAgent bounds what a client can make Redis keep, without splitting a character.
func cutUserAgent(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxUserAgent {
		return s
	}
	end := MaxUserAgent
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
