package assertion

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/config"
)

// keySet is what a key file holds. The first key signs, all are published: a key that is going to sign is known to
// the applications before the first assertion it has signed, and one that has signed until the last has expired.
type keySet struct {
	signer jose.Signer
	ids    []string // the first signs
	jwks   []byte
}

// parseKeys reads PEM private keys, PKCS #8 or SEC 1. One that cannot be read makes the whole file bad: were it left
// out, the next key would sign before anybody knows it.
func parseKeys(text []byte, cfg config.Assertion) (*keySet, error) {
	const begin = "-----BEGIN "
	blocks := bytes.Count(text, []byte(begin))
	set := &keySet{}
	var public jose.JSONWebKeySet
	var number int
	for ; ; blocks-- {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" {
			continue // openssl ecparam -genkey puts the curve's name in front of the key
		}
		number++
		key, err := parseKey(block)
		if err != nil {
			return nil, fmt.Errorf("key %d %w", number, err)
		}
		if number == 1 {
			if set.signer, err = newSigner(key, cfg); err != nil {
				return nil, err
			}
		}
		if !slices.Contains(set.ids, key.KeyID) { // of two with one kid, verifiers can use neither
			set.ids = append(set.ids, key.KeyID)
			public.Keys = append(public.Keys, key.Public())
		}
	}
	// pem.Decode passes over what it cannot read.
	if blocks != 0 {
		return nil, errors.New("holds a PEM block that is cut off or damaged; write it anew, into another file that is then renamed")
	}
	if number == 0 {
		return nil, fmt.Errorf("holds no PEM private key; make one with `%s`", cfg.KeyCommand())
	}
	var err error
	if set.jwks, err = json.Marshal(public); err != nil {
		return nil, err
	}
	set.jwks = append(set.jwks, '\n')
	return set, nil
}

// parseKey reads one private key. Its kid is its thumbprint (RFC 7638), the same in every replica.
func parseKey(block *pem.Block) (jose.JSONWebKey, error) {
	private, err := parsePrivate(block)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	key := jose.JSONWebKey{Key: private, Use: "sig"}
	switch private := private.(type) {
	case ed25519.PrivateKey:
		key.Algorithm = config.AlgorithmEdDSA
	case *ecdsa.PrivateKey:
		if private.Curve != elliptic.P256() {
			return key, fmt.Errorf("is on the curve %s, and ES256 needs P-256", private.Curve.Params().Name)
		}
		key.Algorithm = config.AlgorithmES256
	default:
		return key, errors.New("is neither an Ed25519 nor a P-256 key")
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return key, err
}

func parsePrivate(block *pem.Block) (private any, err error) {
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("is encrypted; take the passphrase off with `openssl pkey -in FILE -out assertion.pem`")
	case block.Type == "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("is a PEM block %q; private keys are needed, PRIVATE KEY or EC PRIVATE KEY", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return private, nil
}

// newSigner takes the first key, which must be of the configured algorithm: applications are told to accept no other.
func newSigner(key jose.JSONWebKey, cfg config.Assertion) (jose.Signer, error) {
	if key.Algorithm != cfg.Algorithm {
		return nil, fmt.Errorf("key 1, which signs, is for %s, and assertion.algorithm is %s; make another with `%s`, or set assertion.algorithm: %s",
			key.Algorithm, cfg.Algorithm, cfg.KeyCommand(), key.Algorithm)
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
}

// sign gives the compact form of a JWS (RFC 7515).
func (k *keySet) sign(payload []byte) (string, error) {
	signed, err := k.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("assertion: cannot sign: %w", err)
	}
	return signed.CompactSerialize()
}

// Check reports whether the key file can be used, and how many keys it holds.
func Check(cfg config.Assertion) (keys int, err error) {
	text, _, err := readFile(cfg.KeyFile)
	if err != nil {
		return 0, fmt.Errorf("%w; make a key with `%s`, or correct the path", err, cfg.KeyCommand())
	}
	set, err := parseKeys(text, cfg)
	if err != nil {
		return 0, err
	}
	return len(set.ids), nil
}
