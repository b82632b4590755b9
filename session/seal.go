package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
)

// Sealing keeps secrets such as the application's own cookies in the session without trusting Redis
// with them. The key comes out of the token, which only the browser holds and Redis never sees:
// whoever reads Redis, or a backup of it, reads no cookie of the application. AES-256-GCM with a
// random nonce; the session ID is authenticated beside it, so a sealed text moved into another
// record does not open there.

// sealInfo separates this key from any other that may ever be derived from a token (RFC 5869).
const sealInfo = "gatehouse/sealed/v1"

var errSealed = errors.New("session: sealed secrets do not open with this token")

func sealer(token string) (cipher.AEAD, error) {
	// No salt: the token is 32 random bytes already, and each key belongs to one session.
	key, err := hkdf.Key(sha256.New, []byte(token), nil, sealInfo, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal gives nonce and ciphertext; nothing for no secrets.
func seal(token string, id ID, secrets []byte) ([]byte, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	aead, err := sealer(token)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(secrets)+aead.Overhead())
	rand.Read(nonce) // never fails
	return aead.Seal(nonce, nonce, secrets, id[:]), nil
}

func unseal(token string, id ID, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	aead, err := sealer(token)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errSealed
	}
	secrets, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], id[:])
	if err != nil {
		return nil, errSealed
	}
	return secrets, nil
}
