package appsession

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- signatures as Laravel made them
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	laravelKeyPrefix = "base64:"
	// laravelTokenLength is the length of Laravel's session IDs, letters and digits. Its session store takes
	// no others.
	laravelTokenLength = 40
	// laravelMark: HMAC-SHA1 in hexadecimal digits and a bar, what CookieValuePrefix puts before the value.
	laravelMark = 2*sha1.Size + 1
)

// base64Strict refuses the further texts that lenient decoders take for the same bytes.
var base64Strict = base64.StdEncoding.Strict()

type laravelKey struct {
	secret []byte
	block  cipher.Block
	gcm    cipher.AEAD
	mark   string
}

type laravelKeyring []laravelKey

// laravelEnvelope is what Illuminate's Encrypter writes, as base64 of JSON. iv, value and tag are base64.
type laravelEnvelope struct {
	IV    string `json:"iv"`
	Value string `json:"value"`
	MAC   string `json:"mac"`
	Tag   string `json:"tag"`
}

func laravelKeys(name string, secrets []string) (laravelKeyring, error) {
	ring := make(laravelKeyring, len(secrets))
	for i, text := range secrets {
		secret := []byte(text)
		if encoded, ok := strings.CutPrefix(text, laravelKeyPrefix); ok {
			var err error
			if secret, err = base64.StdEncoding.DecodeString(encoded); err != nil {
				// The cause would tell a character of the secret and where it stands.
				return nil, fmt.Errorf("appsession: secret %d of the application's cookie begins with %s, but what follows is no base64", i+1, laravelKeyPrefix)
			}
		}
		if len(secret) != 16 && len(secret) != 32 {
			return nil, fmt.Errorf("appsession: secret %d of the application's cookie has %d bytes, Laravel's keys have 16 or 32: write the whole APP_KEY, with %s if it begins so",
				i+1, len(secret), laravelKeyPrefix)
		}
		block, err := aes.NewCipher(secret)
		if err != nil {
			return nil, err
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		mac := hmac.New(sha1.New, secret)
		mac.Write([]byte(name + "v2"))
		ring[i] = laravelKey{secret: secret, block: block, gcm: gcm, mark: hex.EncodeToString(mac.Sum(nil)) + "|"}
	}
	return ring, nil
}

// open decrypts a cookie and gives the session ID in it.
func (ring laravelKeyring) open(value string) (string, bool) {
	value, _ = unquote(value)
	text, err := base64Strict.DecodeString(value)
	if err != nil {
		return "", false
	}
	var envelope laravelEnvelope
	if json.Unmarshal(text, &envelope) != nil {
		return "", false
	}
	for _, key := range ring {
		if plain, ok := key.decrypt(envelope); ok {
			return ring.token(plain)
		}
	}
	return "", false
}

// decrypt: an envelope with a tag is AES-GCM, one without AES-CBC with an HMAC over it. Nothing is
// decrypted, and no padding looked at, before the HMAC is right (padding oracle).
func (k laravelKey) decrypt(e laravelEnvelope) (string, bool) {
	iv, err := base64Strict.DecodeString(e.IV)
	if err != nil {
		return "", false
	}
	if e.Tag != "" {
		sealed, err := base64Strict.DecodeString(e.Value)
		tag, tagErr := base64Strict.DecodeString(e.Tag)
		if err != nil || tagErr != nil || len(tag) != k.gcm.Overhead() || len(iv) != k.gcm.NonceSize() {
			return "", false
		}
		plain, err := k.gcm.Open(nil, iv, append(sealed, tag...), nil)
		return string(plain), err == nil
	}
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(e.IV + e.Value))
	if !hmac.Equal([]byte(e.MAC), []byte(hex.EncodeToString(mac.Sum(nil)))) {
		return "", false
	}
	text, err := base64Strict.DecodeString(e.Value)
	if err != nil || len(iv) != aes.BlockSize || len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return "", false
	}
	cipher.NewCBCDecrypter(k.block, iv).CryptBlocks(text, text)
	return unpad(text)
}

// unpad cuts PKCS #7 padding.
func unpad(text []byte) (string, bool) {
	n := int(text[len(text)-1])
	if n == 0 || n > aes.BlockSize {
		return "", false
	}
	for _, b := range text[len(text)-n:] {
		if int(b) != n {
			return "", false
		}
	}
	return string(text[:len(text)-n]), true
}

// token takes the session ID out of what was encrypted: since Laravel 7 behind a mark that binds it to the
// cookie's name, so that the value of another encrypted cookie cannot be put here; in older ones alone; in
// the oldest as a serialised PHP string.
func (ring laravelKeyring) token(plain string) (string, bool) {
	if strings.HasPrefix(plain, "s:") {
		r := &phpReader{data: plain}
		v, err := r.value(0)
		text, ok := v.(string)
		if err != nil || !ok || r.data != "" {
			return "", false
		}
		plain = text
	}
	if len(plain) == laravelMark+laravelTokenLength {
		if !ring.marked(plain[:laravelMark]) {
			return "", false
		}
		plain = plain[laravelMark:]
	}
	if len(plain) != laravelTokenLength || strings.ContainsFunc(plain, notAlphanumeric) {
		return "", false
	}
	return plain, true
}

// marked: the mark may be that of another key than the one the cookie was encrypted with, after a rotation.
func (ring laravelKeyring) marked(mark string) bool {
	for _, key := range ring {
		if hmac.Equal([]byte(mark), []byte(key.mark)) {
			return true
		}
	}
	return false
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
