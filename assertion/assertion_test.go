package assertion

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rs/zerolog"

	"gatehouse/config"
)

// lab is a Signer with a clock and a key file of its own.
type lab struct {
	*Signer
	t    *testing.T
	cfg  *config.Config
	file string
	log  bytes.Buffer
	now  time.Time
}

// newLab starts with one key of the algorithm.
func newLab(t *testing.T, algorithm string, keys ...string) *lab {
	t.Helper()
	l := &lab{t: t, cfg: config.Default(), file: filepath.Join(t.TempDir(), "keys.pem"), now: time.Now()}
	l.cfg.Assertion = config.Assertion{Header: "X-A", Algorithm: algorithm, KeyFile: l.file, Issuer: "https://app.example.com", Audience: "shop", Lifetime: time.Minute}
	if len(keys) == 0 {
		keys = []string{newKey(t, algorithm)}
	}
	l.write(keys...)
	var err error
	if l.Signer, err = New(l.cfg, func() time.Time { return l.now }, zerolog.New(&l.log)); err != nil {
		t.Fatal(err)
	}
	return l
}

// write puts keys into the file. For the lab's clock it happens now.
func (l *lab) write(keys ...string) {
	l.t.Helper()
	if err := os.WriteFile(l.file, []byte(strings.Join(keys, "")), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chtimes(l.file, l.now, l.now); err != nil {
		l.t.Fatal(err)
	}
}

// token gives an assertion that must verify with what is published, and its claims.
func (l *lab) token(s Subject) (string, map[string]any) {
	l.t.Helper()
	token, err := l.Token(s)
	if err != nil {
		l.t.Fatal(err)
	}
	return token, l.verify(token)
}

func (l *lab) verify(token string) map[string]any {
	l.t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
	if err != nil {
		l.t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(l.JWKS(), &set); err != nil {
		l.t.Fatal(err)
	}
	known := set.Key(signed.Signatures[0].Header.KeyID)
	if len(known) != 1 {
		l.t.Fatalf("%d keys are published under the assertion's kid", len(known))
	}
	payload, err := signed.Verify(known[0])
	if err != nil {
		l.t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		l.t.Fatal(err)
	}
	return claims
}

// kids are the published ones.
func (l *lab) kids() (kids []string) {
	l.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(l.JWKS(), &set); err != nil {
		l.t.Fatal(err)
	}
	for _, key := range set.Keys {
		kids = append(kids, key.KeyID)
	}
	return kids
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return signed.Signatures[0].Header.KeyID
}

// newKey makes a PEM private key.
func newKey(t testing.TB, algorithm string) string {
	t.Helper()
	if algorithm == config.AlgorithmES256 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return pkcs8(t, key)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, key)
}

func pkcs8(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// subject is somebody with a session, who has an hour left.
func (l *lab) subject(session string) Subject {
	return Subject{UserID: "42", Email: "jö@example.com", Name: "Jösé\r\nX-Admin: 1", Role: "admin", EmailVerified: true,
		SessionID: sha256.Sum256([]byte(session)), ExpiresAt: l.now.Add(time.Hour)}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{config.AlgorithmEdDSA, config.AlgorithmES256} {
		l := newLab(t, algorithm)
		token, claims := l.token(l.subject("a"))
		iat := float64(l.now.Unix())
		want := map[string]any{"iss": "https://app.example.com", "aud": "shop", "sub": "42", "email": "jö@example.com", "email_verified": true,
			"name": "Jösé\r\nX-Admin: 1", "role": "admin", "iat": iat, "exp": iat + 60, "sid": claims["sid"], "jti": claims["jti"]}
		if !maps.Equal(claims, want) {
			t.Errorf("%s:\n got %v\nwant %v", algorithm, claims, want)
		}
		if strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Errorf("%s: no header carries %q as it is", algorithm, token)
		}
		signed, _ := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
		if signed == nil || signed.Signatures[0].Header.ExtraHeaders["typ"] != "JWT" {
			t.Errorf("%s: not signed by it, or no JWT", algorithm)
		}
		_, nobody := l.token(Subject{UserID: "7"})
		for _, absent := range []string{"email", "name", "role", "sid"} {
			if value, there := nobody[absent]; there {
				t.Errorf("%s: %s is %v for who has none", algorithm, absent, value)
			}
		}
		if nobody["sub"] != "7" || nobody["email_verified"] != false {
			t.Errorf("%s: %v", algorithm, nobody)
		}
	}
}

// The session is told by a hash that is no other hash of it, and differs from session to session.
func TestSessionIsHashed(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmEdDSA)
	seen := map[string]bool{}
	for _, name := range []string{"a", "b"} {
		subject := l.subject(name)
		_, claims := l.token(subject)
		sid := claims["sid"].(string)
		plain := encode(subject.SessionID)
		again := encode(sha256.Sum256(subject.SessionID[:]))
		if len(sid) != 43 || sid == plain || sid == again || seen[sid] {
			t.Errorf("sid of %s is %q", name, sid)
		}
		seen[sid] = true
	}
}

func encode(sum [sha256.Size]byte) string {
	key := jose.JSONWebKey{Key: sum[:]}
	text, _ := key.MarshalJSON()
	var out struct{ K string }
	_ = json.Unmarshal(text, &out)
	return out.K
}

// One assertion serves a session for half its life; whoever asks then gets one with half a life left at least.
func TestOneForHalfALife(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmEdDSA)
	subject := l.subject("a")
	seen := map[string]int{}
	begin := l.now
	for ; l.now.Sub(begin) < 10*time.Minute; l.now = l.now.Add(500 * time.Millisecond) {
		token, err := l.Token(subject)
		if err != nil {
			t.Fatal(err)
		}
		if seen[token]++; seen[token] == 1 {
			l.verify(token)
		}
		m, _ := l.cache.Peek(subject.SessionID)
		if left := m.expires.Sub(l.now); left < 30*time.Second || left > time.Minute {
			t.Fatalf("%s are left of the assertion", left)
		}
	}
	if len(seen) < 20 || len(seen) > 22 {
		t.Errorf("%d assertions in ten minutes", len(seen))
	}
}

// Each is new, though its claims be equal.
func TestEachHasItsOwnID(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmEdDSA)
	seen := map[any]bool{}
	for range 20 {
		l.Forget(l.subject("a").SessionID)
		_, claims := l.token(l.subject("a"))
		if id, _ := claims["jti"].(string); len(id) < 26 || seen[id] {
			t.Fatalf("jti %v", claims["jti"])
		}
		seen[claims["jti"]] = true
	}
}

// What a session's record says is said at once, and two sessions never share an assertion.
func TestChangesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmEdDSA)
	before, _ := l.token(l.subject("a"))
	for name, change := range map[string]func(*Subject){
		"sub":            func(s *Subject) { s.UserID = "43" },
		"role":           func(s *Subject) { s.Role = "user" },
		"email":          func(s *Subject) { s.Email = "x@example.com" },
		"name":           func(s *Subject) { s.Name = "" },
		"email_verified": func(s *Subject) { s.EmailVerified = false },
		"sid":            func(s *Subject) { s.SessionID[0]++ },
	} {
		_, was := l.token(l.subject("a"))
		subject := l.subject("a")
		change(&subject)
		token, claims := l.token(subject)
		if token == before || claims[name] == was[name] {
			t.Errorf("%s: still %v", name, claims[name])
		}
	}
}

// No assertion outlives its session, and the last one is not signed anew for each request.
func TestEndsWithTheSession(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmEdDSA)
	subject := l.subject("a")
	subject.ExpiresAt = l.now.Add(40 * time.Second)
	first, claims := l.token(subject)
	if claims["exp"] != float64(subject.ExpiresAt.Unix()) {
		t.Errorf("exp is %v, the session ends at %d", claims["exp"], subject.ExpiresAt.Unix())
	}
	l.now = l.now.Add(38 * time.Second)
	if again, _ := l.token(subject); again != first {
		t.Error("signed again, to last no longer")
	}
}

// A clock that was set back makes no assertion from the future go out: libraries refuse these.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmEdDSA)
	subject := l.subject("a")
	l.token(subject)
	l.now = l.now.Add(-10 * time.Second)
	if _, claims := l.token(subject); claims["iat"] != float64(l.now.Unix()) {
		t.Errorf("iat is %v at %d", claims["iat"], l.now.Unix())
	}
}

// Sessions that have ended or are not used any more take no memory.
func TestNothingIsKeptForEver(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmEdDSA)
	for i := range 50 {
		l.token(l.subject(string(rune('A' + i))))
		l.now = l.now.Add(time.Second)
	}
	l.Forget(l.subject("A").SessionID)
	if n := l.cache.Len(); n != 49 {
		t.Errorf("%d assertions are kept after one of 50 sessions ended", n)
	}
	l.now = l.now.Add(time.Minute)
	l.token(l.subject("another"))
	if n := l.cache.Len(); n != 1 {
		t.Errorf("%d assertions are kept a minute later", n)
	}
}

// Keys are published before they sign and as long as assertions of theirs are good (rotation with overlap).
func TestRotation(t *testing.T) {
	t.Parallel()
	old, next := newKey(t, config.AlgorithmEdDSA), newKey(t, config.AlgorithmEdDSA)
	l := newLab(t, config.AlgorithmEdDSA, old)
	subject := l.subject("a")
	before, _ := l.token(subject)
	oldKid := kidOf(t, before)

	l.now = l.now.Add(time.Second)
	l.write(old, next)
	if kids := l.kids(); len(kids) != 1 {
		t.Fatalf("a file that was written this moment is taken up: %v", kids)
	}
	l.now = l.now.Add(time.Second)
	kids := l.kids()
	if len(kids) != 2 || kids[0] != oldKid {
		t.Fatalf("published are %v", kids)
	}
	if token, _ := l.token(subject); kidOf(t, token) != oldKid {
		t.Fatal("the new key signs already")
	}
	l.write(next, old)
	l.now = l.now.Add(2 * time.Second)
	token, _ := l.token(subject)
	if kidOf(t, token) != kids[1] {
		t.Error("the key that comes first now does not sign")
	}
	l.verify(before) // on its way while the keys changed
	l.write(next)
	l.now = l.now.Add(2 * time.Second)
	if got := l.kids(); !slices.Equal(got, kids[1:]) {
		t.Errorf("published are %v, want %v", got, kids[1:])
	}
	if again, _ := l.token(subject); kidOf(t, again) != kids[1] {
		t.Error("signed by a key that is not published")
	}
	if said := l.log.String(); strings.Count(said, "read anew") != 3 || !strings.Contains(said, kids[1]) {
		t.Errorf("the log says %s", said)
	}
}

// A key that is taken out signs nothing more, and what it signed before is not given out any more.
func TestRemovedKeyIsGone(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmES256)
	before, _ := l.token(l.subject("a"))
	l.write(newKey(t, config.AlgorithmES256))
	l.now = l.now.Add(2 * time.Second)
	if after, _ := l.token(l.subject("a")); after == before {
		t.Error("an assertion of a key that is gone")
	}
}

// Whatever happens to the file, the keys read before stay in use, and each failure is told once.
func TestBadFileChangesNothing(t *testing.T) {
	t.Parallel()
	key := newKey(t, config.AlgorithmEdDSA)
	l := newLab(t, config.AlgorithmEdDSA, key)
	kids := l.kids()
	for _, bad := range []string{"", "junk", newKey(t, config.AlgorithmES256), newKey(t, config.AlgorithmEdDSA) + key[:60]} {
		l.write(bad)
		for range 5 {
			l.now = l.now.Add(2 * time.Second)
			l.token(l.subject("a"))
		}
		if got := l.kids(); !slices.Equal(got, kids) {
			t.Errorf("with %.40q: %v", bad, got)
		}
		if n := strings.Count(l.log.String(), "cannot be used"); n != 1 {
			t.Errorf("with %.40q: told %d times", bad, n)
		}
		l.log.Reset()
		l.write(key)
		l.now = l.now.Add(2 * time.Second)
		l.kids()
	}
	if err := os.Remove(l.file); err != nil {
		t.Fatal(err)
	}
	l.now = l.now.Add(2 * time.Second)
	if l.token(l.subject("a")); !strings.Contains(l.log.String(), "no such file") {
		t.Errorf("the log says %s", l.log.String())
	}
}

// Anybody may read what is published, so nothing secret is in it.
func TestPublishedKeysArePublic(t *testing.T) {
	t.Parallel()
	ed, ec := newKey(t, config.AlgorithmEdDSA), newKey(t, config.AlgorithmES256)
	l := newLab(t, config.AlgorithmEdDSA, ed, ec, ed)
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(l.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys: %s", len(set.Keys), l.JWKS())
	}
	for i, want := range [][]string{{"alg", "crv", "kid", "kty", "use", "x"}, {"alg", "crv", "kid", "kty", "use", "x", "y"}} {
		if got := slices.Sorted(maps.Keys(set.Keys[i])); !slices.Equal(got, want) {
			t.Errorf("key %d has the members %v", i+1, got)
		}
		if set.Keys[i]["use"] != "sig" || set.Keys[i]["alg"] != []string{"EdDSA", "ES256"}[i] {
			t.Errorf("key %d: %v", i+1, set.Keys[i])
		}
	}
}

// Requests of many sessions at once, while the keys change.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	l := newLab(t, config.AlgorithmES256)
	var mu sync.Mutex
	l.clock = func() time.Time { mu.Lock(); defer mu.Unlock(); l.now = l.now.Add(20 * time.Millisecond); return l.now }
	subjects := []Subject{l.subject("a"), l.subject("b"), l.subject("c")}
	for i := range subjects {
		subjects[i].UserID = string(rune('1' + i))
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for range 100 {
				subject := subjects[i%3]
				token, err := l.Token(subject)
				if err != nil {
					t.Error(err)
					return
				}
				payload, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
				if err != nil || !strings.Contains(string(payload.UnsafePayloadWithoutVerification()), `"sub":"`+subject.UserID+`"`) {
					t.Errorf("user %s got %v, %v", subject.UserID, payload, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
