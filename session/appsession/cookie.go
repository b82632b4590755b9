package appsession

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// The schemes of NewCookie.
const (
	SchemePlain   = "plain"
	SchemeExpress = "express"
	SchemeLaravel = "laravel"
)

// Cookie reads the application's session cookie. It is immutable and safe for concurrent use.
type Cookie struct {
	unwrap func(value string) (string, bool)
}

// NewCookie takes how the cookie is protected, its name, and the application's secrets, each of which is
// tried, so that they can be rotated.
//
//	plain    the value is the token (Django, Rails, PHP and most others); secrets are not looked at
//	express  express-session: s:<token>.<signature>; secrets as they were given to it
//	laravel  EncryptCookies: secrets are APP_KEYs, with "base64:" in front or as they are, of 16 or 32 bytes
//
// Errors: an unknown scheme, no name, a secret that is missing or cannot be one; they never quote it.
func NewCookie(scheme, name string, secrets []string) (*Cookie, error) {
	if name == "" {
		return nil, errors.New("appsession: the application's cookie has no name")
	}
	if scheme == SchemePlain {
		return &Cookie{unwrap: unquote}, nil
	}
	if scheme != SchemeExpress && scheme != SchemeLaravel {
		return nil, fmt.Errorf("appsession: unknown scheme %q of the application's cookie: write plain, express or laravel", scheme)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("appsession: the scheme %s of the application's cookie needs the application's secret", scheme)
	}
	for i, secret := range secrets {
		if secret == "" { // a signature under it can be made by everybody
			return nil, fmt.Errorf("appsession: secret %d of the application's cookie is empty", i+1)
		}
	}
	if scheme == SchemeLaravel {
		keys, err := laravelKeys(name, secrets)
		if err != nil {
			return nil, err
		}
		return &Cookie{unwrap: keys.open}, nil
	}
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		keys[i] = []byte(secret)
	}
	return &Cookie{unwrap: func(value string) (string, bool) { return unsign(value, keys) }}, nil
}

// Token verifies and unwraps one cookie value, as it stands in the Cookie header, and gives the session's
// token as the application knows it. False for whatever the application would not take, for more than
// MaxCookie bytes, and for a token that is not of visible ASCII characters: others are in no framework's
// tokens, and databases compare them in ways of their own (NUL is an error, é may equal e, trailing
// spaces may not count).
func (c *Cookie) Token(value string) (token string, ok bool) {
	if value == "" || len(value) > MaxCookie {
		return "", false
	}
	token, ok = c.unwrap(value)
	if !ok || token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", false
	}
	return token, true
}

// unquote undoes what frameworks do to put a value into a header: quotation marks around it, and %XX. A +
// stays: those that read it as a space write it as %2B. A % that begins no %XX stays too, as in browsers.
func unquote(value string) (string, bool) {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	if text, err := url.PathUnescape(value); err == nil && utf8.ValidString(text) {
		value = text
	}
	return value, true
}

// unsign undoes cookie-signature: s:<token>.<HMAC-SHA256, base64 without padding>.
func unsign(value string, keys [][]byte) (string, bool) {
	value, _ = unquote(value)
	signed, ok := strings.CutPrefix(value, "s:")
	dot := strings.LastIndexByte(signed, '.')
	if !ok || dot < 0 {
		return "", false
	}
	token, signature := signed[:dot], []byte(signed[dot+1:])
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(token))
		// The texts are compared, not the bytes: lenient base64 has several texts for the same bytes.
		if hmac.Equal(signature, []byte(base64.RawStdEncoding.EncodeToString(mac.Sum(nil)))) {
			return token, true
		}
	}
	return "", false
}
