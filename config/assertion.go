package config

import (
	"strings"
	"time"
)

// Assertion is a signed statement of who the user is (a JWT, RFC 7519), sent with each request that has a
// session, for applications that do not trust a bare header. The keys it is verified with are at
// /.gatehouse/jwks.json.
type Assertion struct {
	// Header of the request that carries it. Default X-Gatehouse-Assertion. Only letters, digits and hyphens.
	Header string `mapstructure:"header"`
	// Algorithm of the signature: EdDSA (Ed25519, RFC 8037) or ES256 (ECDSA on P-256, RFC 7518). Default EdDSA.
	Algorithm string `mapstructure:"algorithm"`
	// KeyFile is a PEM file of private keys (PKCS #8, or SEC 1 for ES256). The first signs and must be of
	// Algorithm, all are published. It is read again when it changes. Default: none, there are no assertions.
	KeyFile string `mapstructure:"key_file" file:"true"`
	// Issuer is the claim iss. Default: public_url; one of the two is required.
	Issuer string `mapstructure:"issuer"`
	// Audience is the claim aud: the name of the application, which refuses assertions for others. Required.
	Audience string `mapstructure:"audience"`
	// Lifetime of an assertion, 10s to 1h. Default 60s. The application always gets one with at least half of it
	// left, if the session has that long; what has been copied is good for so long after a logout.
	Lifetime time.Duration `mapstructure:"lifetime"`
}

// Enabled reports whether assertions are made.
func (a Assertion) Enabled() bool { return a.KeyFile != "" }

// The values of Assertion.Algorithm, by their names in RFC 7518 and RFC 8037.
const (
	AlgorithmEdDSA = "EdDSA"
	AlgorithmES256 = "ES256"
)

// Bounds of Assertion.Lifetime. Under the first, clocks that differ a little would refuse every assertion; over the
// second, one that was copied outlives its session by too much.
const (
	MinAssertionLifetime = 10 * time.Second
	MaxAssertionLifetime = time.Hour
)

// IdentitySecretHeader is a header with a secret that the gateway and the application share, on every request
// that goes to the application, for applications that can only compare a string. Without it a request has not come
// through the gateway, and its identity headers are somebody's invention.
type IdentitySecretHeader struct {
	// Name of the header. Default X-Gatehouse-Secret. Only letters, digits and hyphens.
	Name string `mapstructure:"name"`
	// Secret, at least MinIdentitySecret characters of printable ASCII without spaces; better given by SecretFile or
	// GATEHOUSE_IDENTITY_SECRET_HEADER_SECRET. Spaces around it do not count. Default: none, there is no such header.
	Secret Secret `mapstructure:"secret"`
	// SecretFile holds the secret. It is read again when it changes.
	SecretFile string `mapstructure:"secret_file" file:"true"`
}

// Enabled reports whether the header is sent.
func (h IdentitySecretHeader) Enabled() bool { return h.Secret != "" || h.SecretFile != "" }

// MinIdentitySecret is the shortest shared secret, in characters: 128 bits as hexadecimal digits.
const MinIdentitySecret = 32

// assertion checks the signed identity.
func (k *checker) assertion(c *Config) {
	a := c.Assertion
	k.add("assertion.algorithm", oneOf(a.Algorithm, AlgorithmEdDSA, AlgorithmES256))
	if a.Lifetime < MinAssertionLifetime || a.Lifetime > MaxAssertionLifetime {
		k.add("assertion.lifetime", faultf("write a time such as 60s", "%s is not from 10s to 1h", formatDuration(a.Lifetime)))
	}
	if !a.Enabled() {
		if a.Audience != "" || a.Issuer != "" {
			k.add("assertion.key_file", faultf("make a key with `"+a.KeyCommand()+"` and name its file, or delete the section", "is missing, nothing would be signed"))
		}
		return
	}
	if a.Audience == "" {
		k.add("assertion.audience", faultf("write a name for the application, such as shop", "is missing: without it an assertion for one application is good for another"))
	}
	if a.Issuer == "" && c.PublicURL == nil {
		k.add("assertion.issuer", faultf("write public_url, or a name for the gateway here", "is missing, and there is no public_url to take its place"))
	}
}

// IssuerOf gives the claim iss.
func (c *Config) IssuerOf() string {
	if c.Assertion.Issuer == "" && c.PublicURL != nil {
		return c.PublicURL.String()
	}
	return c.Assertion.Issuer
}

// KeyCommand is the command that makes a private key for Algorithm, for messages.
func (a Assertion) KeyCommand() string {
	if a.Algorithm == AlgorithmES256 {
		return "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out assertion.pem"
	}
	return "openssl genpkey -algorithm ed25519 -out assertion.pem"
}

// identitySecret checks the shared secret.
func (k *checker) identitySecret(h IdentitySecretHeader) {
	if h.Secret == "" {
		return
	}
	key := "identity_secret_header.secret"
	if h.SecretFile != "" {
		key = "identity_secret_header.secret_file"
	}
	k.add(key, checkIdentitySecret(h.Secret))
}

// CheckIdentitySecret says what is wrong with a shared secret, nil if nothing is: for one that the file holds later on.
// The error does not repeat it.
func CheckIdentitySecret(s Secret) error {
	if f := checkIdentitySecret(s); f != nil {
		return f
	}
	return nil
}

func checkIdentitySecret(s Secret) *fault {
	return checkRandom(s, MinIdentitySecret, "that applications do not all read alike in a header")
}

// ownHeaders checks the names of the headers that the gateway adds beside the identity headers.
func (k *checker) ownHeaders(c *Config, owned map[string]string) {
	for _, h := range []struct {
		key, name string
		on        bool
	}{
		{"assertion.header", c.Assertion.Header, c.Assertion.Enabled()},
		{"identity_secret_header.name", c.IdentitySecretHeader.Name, c.IdentitySecretHeader.Enabled()},
	} {
		if !h.on {
			continue
		}
		k.add(h.key, checkHeaderName(h.name, owned))
		owned[foldHeader(h.name)] = h.name
	}
}

// checkRandom wants a secret that nobody guesses and that a header can carry.
func checkRandom(s Secret, shortest int, unfit string) *fault {
	const fix = "make one with: openssl rand -hex 32"
	text := strings.TrimSpace(s.Reveal())
	switch {
	case len(text) < shortest:
		return faultf(fix, "has %d characters, which can be guessed; it needs at least %d", len(text), shortest)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return faultf(fix, "holds a space, a line break or another character %s", unfit)
	}
	return nil
}
