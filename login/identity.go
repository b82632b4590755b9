package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse/config"
	"gatehouse/session"
)

// Where an identity is read from, as it stands in the config.
const (
	fromHeader = "header"
	fromJSON   = "json"
	fromWhoami = "whoami"
)

// maxUserID bounds a user ID, in bytes.
const maxUserID = 256

// errIdentity: the application's answer does not say in one plain way who has logged in.
var errIdentity = errors.New("login: the identity cannot be read")

// IdentityHeaders are the headers in which the application tells the gateway who has logged in
// (identity: from: header). They are for the gateway alone and never reach the browser (I09), in
// answers to logins and in all others.
func IdentityHeaders(cfg config.LoginApp) []string {
	if cfg.Identity.From != fromHeader {
		return nil
	}
	f := cfg.Identity.Fields
	var names []string
	for _, name := range []string{f.UserID, f.Email, f.Name, f.Role, f.EmailVerified} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// checkIdentity finds what is missing in the config.
func checkIdentity(cfg config.AppIdentity) error {
	switch {
	case cfg.From != fromHeader && cfg.From != fromJSON && cfg.From != fromWhoami:
		return fmt.Errorf("login.app.identity.from is %q: write header, json or whoami", cfg.From)
	case cfg.Fields.UserID == "":
		return errors.New("login.app.identity.fields.userId is missing: it names the field that holds the user's ID")
	case cfg.From == fromWhoami && !strings.HasPrefix(cfg.WhoamiPath, "/"):
		return errors.New("login.app.identity.whoami_path is missing: a path of the application that tells who is logged in, such as /api/me")
	}
	return nil
}

// identityFromHeader reads the user out of an answer's headers.
func identityFromHeader(h http.Header, f config.IdentityFields) (session.User, error) {
	return readUser(f, func(name string) (any, bool, error) {
		lines := h.Values(name)
		switch {
		case len(lines) == 0:
			return nil, false, nil
		case len(lines) > 1: // which one is meant, ours or one that somebody slipped in?
			return nil, false, fmt.Errorf("%w: the header %s is there %d times", errIdentity, name, len(lines))
		case !utf8.ValidString(lines[0]):
			return nil, false, fmt.Errorf("%w: the header %s is not UTF-8", errIdentity, name)
		}
		return lines[0], true, nil
	})
}

// identityFromJSON reads the user out of a JSON object (I02).
func identityFromJSON(text []byte, f config.IdentityFields) (session.User, error) {
	object, err := parseObject(text)
	if err != nil {
		return session.User{}, fmt.Errorf("%w: %w", errIdentity, err)
	}
	return readUser(f, func(path string) (any, bool, error) {
		v, ok := lookUp(object, path)
		return v, ok, nil
	})
}

// readUser builds a user out of the configured fields. get says whether there is one and its value.
func readUser(f config.IdentityFields, get func(name string) (any, bool, error)) (session.User, error) {
	id, ok, err := get(f.UserID)
	if err != nil {
		return session.User{}, err
	}
	if !ok {
		return session.User{}, fmt.Errorf("%w: there is no field %s", errIdentity, f.UserID)
	}
	var u session.User
	if u.ID, err = userID(id); err != nil {
		return session.User{}, fmt.Errorf("%w (field %s)", err, f.UserID)
	}
	for _, a := range []struct {
		name string
		into *string
	}{{f.Email, &u.Email}, {f.Name, &u.Name}, {f.Role, &u.Role}} {
		if err := readText(a.name, a.into, get); err != nil {
			return session.User{}, err
		}
	}
	if f.EmailVerified == "" {
		return u, nil
	}
	v, _, err := get(f.EmailVerified)
	if err != nil {
		return session.User{}, err
	}
	text, _ := scalarText(v)
	// Whatever else stands there is no proof that the address was verified.
	u.EmailVerified = text == "true" || text == "1"
	return u, nil
}

// readText reads an attribute that may be missing. A list or an object is an error: of several
// roles none can be chosen.
func readText(name string, into *string, get func(name string) (any, bool, error)) error {
	if name == "" {
		return nil
	}
	v, ok, err := get(name)
	if err != nil || !ok || v == nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*into = v
	case json.Number:
		*into = v.String()
	default:
		return fmt.Errorf("%w: the field %s is neither text nor a number", errIdentity, name)
	}
	return nil
}

// userID gives the one text that stands for a user. Two users must never share one, and one user
// must never have two: 1, 1.0 and 1e0 would be three, so numbers are integers written plainly.
func userID(v any) (string, error) {
	switch v := v.(type) {
	case json.Number:
		text := v.String()
		if text == "-0" || strings.Trim(strings.TrimPrefix(text, "-"), "0123456789") != "" || len(text) > maxUserID {
			return "", fmt.Errorf("%w: the user ID is a number, but no plain integer", errIdentity)
		}
		return text, nil
	case string:
		switch {
		case v == "":
			return "", fmt.Errorf("%w: the user ID is empty", errIdentity)
		case len(v) > maxUserID:
			return "", fmt.Errorf("%w: the user ID is longer than %d bytes", errIdentity, maxUserID)
		case strings.TrimSpace(v) != v, strings.ContainsFunc(v, isUnsafe):
			return "", fmt.Errorf("%w: the user ID holds white space at its ends or characters that cannot be printed", errIdentity)
		}
		return v, nil
	default:
		return "", fmt.Errorf("%w: the user ID is neither text nor a number", errIdentity)
	}
}

// isUnsafe: control characters, and U+FFFD, which stands for bytes that were something else and
// would make different IDs equal.
func isUnsafe(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
