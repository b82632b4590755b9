package appsession

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- signatures as Django makes them
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
)

// The salts under which Django signs. They keep a text signed for one purpose from serving another.
const (
	djangoSalt       = "django.contrib.sessions.SessionStore" + "signer"
	djangoLegacySalt = "django.contrib.sessions" + "SessionStore"
	djangoHashSalt   = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
)

// djangoEncoding is base64url without padding, in the one text Django writes for some bytes.
var djangoEncoding = base64.RawURLEncoding.Strict()

// DjangoIdentity is what django.contrib.auth keeps in a session.
type DjangoIdentity struct {
	// UserID is the primary key of the user as text; "" when nobody is logged in.
	UserID string
	// AuthHash is an HMAC of the password column at the time of the login. A changed password changes it,
	// which is how Django ends the user's other sessions: MatchesPassword.
	AuthHash string
	// Backend is the dotted path of the class that vouched for the user. Django refuses the session when
	// AUTHENTICATION_BACKENDS no longer names it.
	Backend string
}

// DjangoUser is DjangoSession for those who only want the user ID. They miss that the password was changed.
func DjangoUser(data string, secretKeys []string) (userID string, err error) {
	id, err := DjangoSession(data, secretKeys)
	return id.UserID, err
}

// DjangoSession reads session_data of a row of django_session: what django.core.signing.dumps writes since
// Django 3.1, compressed or not, and the base64 of "hash:json" of older ones, which Django up to 3.2 still
// reads. secretKeys are SECRET_KEY and, after a rotation, SECRET_KEY_FALLBACKS. Only JSONSerializer is
// read: a pickle is a program.
//
// The signature's time is not looked at, nor does Django: a session ends by the column expire_date.
//
// Nobody is logged in without a user ID or without a backend; then the identity is empty.
// ErrSignature, ErrMalformed, ErrTooLarge, ErrUser, ErrNoKey.
func DjangoSession(data string, secretKeys []string) (DjangoIdentity, error) {
	if err := usableKeys(secretKeys); err != nil {
		return DjangoIdentity{}, err
	}
	if len(data) > MaxPayload {
		return DjangoIdentity{}, ErrTooLarge
	}
	// Base64 knows no colon, so the older form cannot have one.
	read := djangoLegacy
	if strings.Contains(data, ":") {
		read = djangoSigned
	}
	text, err := read(data, secretKeys)
	if err != nil {
		return DjangoIdentity{}, err
	}
	object, err := parseJSON(text)
	if err != nil {
		return DjangoIdentity{}, fmt.Errorf("%w (Django's SESSION_SERIALIZER must be JSONSerializer)", err)
	}
	userID, err := userAt(object, []string{"_auth_user_id"})
	backend, _ := object.members["_auth_user_backend"].(string)
	if err != nil || userID == "" || backend == "" {
		return DjangoIdentity{}, err
	}
	authHash, _ := object.members["_auth_user_hash"].(string)
	return DjangoIdentity{UserID: userID, AuthHash: authHash, Backend: backend}, nil
}

// MatchesPassword reports whether Django would still take the session, given what stands in the user's
// password column now. False without an AuthHash or a secret key. An application whose user model has a
// get_session_auth_hash of its own cannot be judged by this.
func (id DjangoIdentity) MatchesPassword(passwordColumn string, secretKeys []string) bool {
	if id.AuthHash == "" || usableKeys(secretKeys) != nil {
		return false
	}
	for _, key := range secretKeys {
		for _, algorithm := range []func() hash.Hash{sha256.New, sha1.New} { // since 3.1, and before
			sum := hex.EncodeToString(saltedHMAC(algorithm, djangoHashSalt, key, passwordColumn))
			if hmac.Equal([]byte(id.AuthHash), []byte(sum)) {
				return true
			}
		}
	}
	return false
}

// usableKeys: anybody can sign with an empty key.
func usableKeys(keys []string) error {
	for _, key := range keys {
		if key == "" {
			return ErrNoKey
		}
	}
	if len(keys) == 0 {
		return ErrNoKey
	}
	return nil
}

// djangoSigned reads <base64url of JSON>:<time>:<signature>; a dot in front says that the JSON is compressed.
func djangoSigned(data string, keys []string) ([]byte, error) {
	colon := strings.LastIndexByte(data, ':')
	signed, signature := data[:colon], []byte(data[colon+1:])
	if !anyKey(keys, func(key string) bool {
		sum := saltedHMAC(sha256.New, djangoSalt, key, signed)
		return hmac.Equal(signature, []byte(djangoEncoding.EncodeToString(sum)))
	}) {
		return nil, ErrSignature
	}
	encoded, _, timed := strings.Cut(signed, ":")
	encoded, compressed := strings.CutPrefix(encoded, ".")
	text, err := djangoEncoding.DecodeString(encoded)
	if err != nil || !timed {
		return nil, malformed("its signature is right, but it is not what django.core.signing writes")
	}
	if compressed {
		return inflate(text)
	}
	return text, nil
}

// inflate unpacks at most one byte more than MaxPayload, which parseJSON then refuses: what is signed can
// be a bomb all the same, if a user can fill the session.
func inflate(data []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, malformed("it cannot be decompressed")
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxPayload+1))
	if err != nil {
		return nil, malformed("it cannot be decompressed")
	}
	return text, nil
}

// djangoLegacy reads base64 of <HMAC-SHA1 in hexadecimal digits>:<JSON>.
func djangoLegacy(data string, keys []string) ([]byte, error) {
	decoded, err := base64Strict.DecodeString(data)
	if err != nil {
		return nil, malformed("it is neither signed as Django does it since 3.1 nor base64 as before")
	}
	signature, text, ok := bytes.Cut(decoded, []byte(":"))
	if !ok {
		return nil, malformed("it carries no signature")
	}
	if !anyKey(keys, func(key string) bool {
		sum := saltedHMAC(sha1.New, djangoLegacySalt, key, string(text))
		return hmac.Equal(signature, []byte(hex.EncodeToString(sum)))
	}) {
		return nil, ErrSignature
	}
	return text, nil
}

func anyKey(keys []string, signs func(key string) bool) bool {
	for _, key := range keys {
		if signs(key) {
			return true
		}
	}
	return false
}

// saltedHMAC is django.utils.crypto.salted_hmac: the key is the hash of salt and secret.
func saltedHMAC(algorithm func() hash.Hash, salt, secret, text string) []byte {
	key := algorithm()
	key.Write([]byte(salt + secret))
	mac := hmac.New(algorithm, key.Sum(nil))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
