package appsession

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"regexp"
	"strings"
)

const (
	// marshalVersion begins everything Ruby's Marshal writes.
	marshalVersion = "\x04\x08"
	// railsPrivate is Rack::Session::SessionId::ID_VERSION and the colons behind it.
	railsPrivate = "2::"
	// deviseSaltLength is how much of the encrypted_password column Devise keeps in the session: bcrypt's
	// version, cost and salt.
	deviseSaltLength = 29
)

// RailsUser gives the user ID at path in the data column of activerecord-session_store, whichever of its
// serializers wrote it: marshal (base64 of Ruby's Marshal; the bytes themselves are taken too) or json.
// Path is for instance user_id, or warden.user.user.key, 0, 0 for Devise. Symbols and strings are the same
// to it; a hash that has both is ambiguous there, and only there. "" when nobody is logged in or data is
// empty. ErrMalformed, ErrTooLarge, ErrUser.
func RailsUser(data []byte, path []string) (userID string, err error) {
	session, err := railsSession(data)
	if err != nil {
		return "", err
	}
	return userAt(session, path)
}

// DeviseIdentity is what Devise keeps in a session.
type DeviseIdentity struct {
	// UserID is the primary key of the user as text; "" when nobody is logged in.
	UserID string
	// Salt is the beginning of the encrypted_password column at the time of the login. A changed password
	// changes it, which is how Devise ends the user's other sessions: MatchesPassword.
	Salt string
}

// DeviseSession is RailsUser for applications with Devise: it finds the user and the salt in
// warden.user.<scope>.key. scope is Devise's; "user" unless the model is named differently. Errors as RailsUser.
func DeviseSession(data []byte, scope string) (DeviseIdentity, error) {
	session, err := railsSession(data)
	if err != nil {
		return DeviseIdentity{}, err
	}
	key := "warden.user." + scope + ".key"
	userID, err := userAt(session, []string{key, "0", "0"})
	if err != nil || userID == "" {
		return DeviseIdentity{}, err
	}
	salt, err := userAt(session, []string{key, "1"})
	if err != nil {
		return DeviseIdentity{}, err
	}
	return DeviseIdentity{UserID: userID, Salt: salt}, nil
}

// MatchesPassword reports whether Devise would still take the session, given what stands in the user's
// encrypted_password column now. False without a salt. A model with an authenticatable_salt of its own
// cannot be judged by this.
func (id DeviseIdentity) MatchesPassword(encryptedPassword string) bool {
	if id.Salt == "" || len(encryptedPassword) < deviseSaltLength {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(id.Salt), []byte(encryptedPassword[:deviseSaltLength])) == 1
}

// RailsPrivateID is what stands in the session_id column for a token of the cookie, since Rack 2.0.8 and
// activerecord-session_store 2: "2::" and the token's SHA-256 in hexadecimal digits.
//
// Who also looks for the token itself, as older versions wrote it, must refuse tokens that
// IsRailsPrivateID: else whoever reads the table could send what stands in it.
func RailsPrivateID(publicID string) string {
	sum := sha256.Sum256([]byte(publicID))
	return railsPrivate + hex.EncodeToString(sum[:])
}

var railsPrivateForm = regexp.MustCompile(`^[0-9]+::`)

// IsRailsPrivateID reports whether a token has the form of a private ID: digits and two colons. Rails
// takes no such token from a cookie.
func IsRailsPrivateID(token string) bool { return railsPrivateForm.MatchString(token) }

// railsSession tells the forms apart: Marshal begins with its version, JSON with a brace, and base64
// of Marshal with BAh.
func railsSession(data []byte) (any, error) {
	if len(data) > MaxPayload {
		return nil, ErrTooLarge
	}
	if bytes.HasPrefix(data, []byte(marshalVersion)) {
		return parseMarshal(string(data))
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return nil, nil
	}
	if text[0] == '{' {
		return parseJSON([]byte(text))
	}
	decoded, err := base64Strict.DecodeString(text) // which ignores line ends, and Ruby's encode64 writes some
	if err != nil || !bytes.HasPrefix(decoded, []byte(marshalVersion)) {
		return nil, malformed("it is neither what Ruby's Marshal writes nor a JSON object")
	}
	return parseMarshal(string(decoded))
}
