// Package appsession reads what applications' frameworks wrote: their session cookies and the payloads
// of their sessions, so that people who are logged in at the application need not log in again at the
// gateway. All of it is pure functions over bytes; it asks no database and serves no request.
//
// Payloads come out of the application's own table and are believed to be its own, but an old or
// half-written row must neither crash the gateway nor name the wrong user: readers are strict, bounded in
// size and depth, and refuse whatever could be understood in two ways. No class named in a payload is ever
// looked up, no object is made: Ruby's Marshal and PHP's unserialize are known for running code that way.
//
// No error holds a payload, a token or a secret.
package appsession

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxCookie bounds a cookie's value, in bytes; browsers keep no more.
	MaxCookie = 4 << 10
	// MaxPayload bounds a session's payload, in bytes, and what a compressed one unpacks to.
	MaxPayload = 1 << 20
	// maxDepth bounds nesting: no user ID lies deeper, and the readers are recursive.
	maxDepth = 64
	// maxUserID bounds a user ID, in bytes, as the gateway's logins do.
	maxUserID = 256
)

var (
	// ErrMalformed: the payload is not of the framework's form.
	ErrMalformed = errors.New("appsession: the session's payload cannot be read")
	// ErrSignature: the payload is signed by none of the secret keys.
	ErrSignature = errors.New("appsession: the session's payload is signed by none of the given secret keys")
	// ErrTooLarge: the payload has more than MaxPayload bytes.
	ErrTooLarge = fmt.Errorf("appsession: the session's payload has more than %d bytes", MaxPayload)
	// ErrUser: something stands where the user ID should, but it is no user ID.
	ErrUser = errors.New("appsession: the session's payload does not say in one plain way who is logged in")
	// ErrNoKey: there is no secret key to check the payload's signature with.
	ErrNoKey = errors.New("appsession: no secret key is given, and without one no payload can be believed")
)

var (
	errDeep  = fmt.Errorf("%w: it is nested more than %d deep", ErrMalformed, maxDepth)
	errTwice = malformed("a name stands twice in it")
)

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// Besides nil, bool and string a payload holds these. Lists and tables are pointers, because Ruby's may
// contain themselves.
type (
	// integer is the text of a whole number, so that no digit is lost.
	integer string
	// other is a value that can be no user ID, named for people.
	other string
	list  struct{ items []any }
	table struct{ members map[string]any }
)

// add puts a member in, unless the name is taken.
func (t *table) add(name string, v any) bool {
	if _, twice := t.members[name]; twice {
		return false
	}
	if t.members == nil {
		t.members = map[string]any{}
	}
	t.members[name] = v
	return true
}

// userAt follows path, names of members and positions in lists (from 0), to the user ID. "" where nobody
// is logged in: the path ends early, or at null, false or an empty text, which is what applications leave
// behind at logout.
func userAt(v any, path []string) (string, error) {
	if len(path) == 0 {
		return "", errors.New("appsession: the path to the user ID is empty: name the member of the payload that holds it")
	}
	for i, step := range path {
		switch container := v.(type) {
		case nil:
			return "", nil
		case *table:
			v = container.members[step]
		case *list:
			at, err := strconv.Atoi(step)
			if err != nil || strconv.Itoa(at) != step || at < 0 || at >= len(container.items) {
				return "", nil
			}
			v = container.items[at]
		default:
			if v == false || v == "" {
				return "", nil
			}
			return "", fmt.Errorf("%w: %s is neither a list nor has it members", ErrUser, where(path[:i]))
		}
	}
	id, err := userText(v)
	if err != nil {
		return "", fmt.Errorf("%w: %s %w", ErrUser, where(path), err)
	}
	return id, nil
}

func where(path []string) string { return strconv.Quote(strings.Join(path, ".")) }

// userText gives the one text that stands for a user: two users must never share one. What breaks logs,
// headers and Redis's keys is refused as the gateway's logins refuse it.
func userText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case bool:
		if v {
			return "", errors.New("is true or false, not a user ID")
		}
		return "", nil
	case integer:
		if len(v) > maxUserID {
			return "", fmt.Errorf("is longer than %d bytes", maxUserID)
		}
		return string(v), nil
	case string:
		switch {
		case len(v) > maxUserID:
			return "", fmt.Errorf("is longer than %d bytes", maxUserID)
		case !utf8.ValidString(v), strings.TrimSpace(v) != v, strings.ContainsFunc(v, isUnsafe):
			return "", errors.New("holds white space at its ends, or characters that cannot be printed")
		}
		return v, nil
	case other:
		return "", fmt.Errorf("is %s, not a user ID", string(v))
	default:
		return "", errors.New("is a list or has members, it is not a user ID")
	}
}

// isUnsafe: control characters, and U+FFFD, which stands for bytes that were something else and
// would make different IDs equal.
func isUnsafe(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// isInteger reports whether text is a whole number in the one way to write it: no sign but -, no leading
// zero, no fraction, no exponent.
func isInteger(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" || text == "-0" {
		return false
	}
	return digits[0] != '0' || len(digits) == 1
}
