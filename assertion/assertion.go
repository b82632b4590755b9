// Package assertion signs who a user is, for applications that do not trust a bare header: a JWT (RFC 7519) that
// anybody with the gateway's public keys can verify, and that nobody else can make.
//
// The threat: whoever reaches the application around the gateway can write X-User-Id himself. A signed assertion he
// cannot. What remains is that one which was copied (out of the application's log, say) is good until it expires, which
// is why it lives for a minute, names its audience, and is never sent to a browser.
package assertion

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"gatehouse/config"
)

// maxCached bounds the assertions that are kept, and so the memory: some 1.2 kB each, 80 MB at most. With more sessions than
// that within one lifetime, some are signed more often.
const maxCached = 1 << 16

// Subject is what an assertion says: the session's user as the identity headers tell of him. It is comparable: an
// assertion that was made for an equal subject is as good as a new one.
type Subject struct {
	UserID        string
	Email         string
	Name          string
	Role          string
	EmailVerified bool
	// SessionID is the session's ID, of which the application gets a hash. Zero: the assertion has no sid.
	SessionID [sha256.Size]byte
	// ExpiresAt is the session's absolute limit, which no assertion outlives. Zero: there is none.
	ExpiresAt time.Time
}

// claims are the assertion's payload. Times are whole seconds: not every library reads fractions.
type claims struct {
	Issuer        string `json:"iss"`
	Audience      string `json:"aud"`
	Subject       string `json:"sub"`
	Session       string `json:"sid,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified"`
	Name          string `json:"name,omitempty"`
	Role          string `json:"role,omitempty"`
	IssuedAt      int64  `json:"iat"`
	Expires       int64  `json:"exp"`
	ID            string `json:"jti"`
}

// Signer makes assertions and publishes the keys they are verified with. It is safe for concurrent use.
type Signer struct {
	issuer, audience string
	lifetime         time.Duration
	clock            func() time.Time
	keys             *followed[*keySet]
	cache            *lru.Cache[[sha256.Size]byte, minted]
}

// minted is a session's newest assertion.
type minted struct {
	subject Subject
	keys    *keySet // it was signed with
	token   string
	// It is given out from at until renew, and worth nothing from expires on.
	at, renew, expires time.Time
}

// New reads the keys. The error names the setting, and says what to do.
func New(cfg *config.Config, clock func() time.Time, log zerolog.Logger) (*Signer, error) {
	a := cfg.Assertion
	s := &Signer{issuer: cfg.IssuerOf(), audience: a.Audience, lifetime: a.Lifetime.Truncate(time.Second), clock: clock}
	s.keys = &followed[*keySet]{
		path:  a.KeyFile,
		parse: func(text []byte) (*keySet, error) { return parseKeys(text, a) },
		changed: func(set *keySet) {
			log.Info().Str("key_file", a.KeyFile).Strs("kids", set.ids).Str("signs", set.ids[0]).Msg("the keys of assertions were read anew")
		},
		failed: func(err error) {
			log.Error().Err(err).Str("key_file", a.KeyFile).Msg("assertion.key_file has changed and cannot be used: the keys read before stay in use")
		},
	}
	if err := s.keys.open(clock()); err != nil {
		return nil, fmt.Errorf("assertion.key_file: %s: %w", a.KeyFile, err)
	}
	var err error
	s.cache, err = lru.New[[sha256.Size]byte, minted](maxCached)
	return s, err
}

// Token gives an assertion for a subject: the one made before, as long as nothing it says has changed, its key is
// still published, and half its life is left.
func (s *Signer) Token(subject Subject) (string, error) {
	now := s.clock()
	keys := s.keys.get(now)
	subject.ExpiresAt = subject.ExpiresAt.Round(0).UTC() // to be compared with ==
	if m, ok := s.cache.Get(subject.SessionID); ok && m.subject == subject && m.keys == keys && !now.Before(m.at) && now.Before(m.renew) {
		return m.token, nil
	}
	m, err := s.mint(subject, keys, now)
	if err != nil {
		return "", err
	}
	s.prune(now)
	s.cache.Add(subject.SessionID, m)
	return m.token, nil
}

// mint signs an assertion. It ends with the session at the latest, though the request could not be served later anyway:
// what was copied must not outlive its session.
func (s *Signer) mint(subject Subject, keys *keySet, now time.Time) (minted, error) {
	at := now.Truncate(time.Second)
	m := minted{subject: subject, keys: keys, at: at, renew: at.Add(s.lifetime / 2), expires: at.Add(s.lifetime)}
	if limit := subject.ExpiresAt; !limit.IsZero() && limit.Before(m.expires) {
		m.expires, m.renew = limit, limit // a newer one would last no longer
	}
	payload, err := json.Marshal(claims{
		Issuer: s.issuer, Audience: s.audience, Subject: subject.UserID, Session: hashOf(subject.SessionID),
		Email: subject.Email, EmailVerified: subject.EmailVerified, Name: subject.Name, Role: subject.Role,
		IssuedAt: at.Unix(), Expires: m.expires.Unix(), ID: rand.Text(),
	})
	if err != nil {
		return minted{}, fmt.Errorf("assertion: %w", err)
	}
	m.token, err = keys.sign(payload)
	return m, err
}

// hashOf gives the claim sid: by it an application tells the sessions of a user apart. The session ID itself is what
// operators and logs name a session by, and no business of the application's.
func hashOf(id [sha256.Size]byte) string {
	if id == [sha256.Size]byte{} {
		return ""
	}
	const domain = "gatehouse assertion sid\x00" // no other hash of a session ID is equal to this one
	sum := sha256.Sum256(append([]byte(domain), id[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// prune drops assertions that have expired, so that sessions which are not used do not fill the memory. The one used
// longest ago is looked at first. The first that is still good ends it: none is kept for more than two
// lifetimes after its session's last request, as long as any is signed.
func (s *Signer) prune(now time.Time) {
	for {
		id, oldest, ok := s.cache.GetOldest()
		if !ok || now.Before(oldest.expires) {
			return
		}
		s.cache.Remove(id)
	}
}

// Forget drops the assertion of a session that has ended.
func (s *Signer) Forget(id [sha256.Size]byte) { s.cache.Remove(id) }

// JWKS is the JSON Web Key Set (RFC 7517) of all keys, public parts only. It is not to be changed.
func (s *Signer) JWKS() []byte { return s.keys.get(s.clock()).jwks }
