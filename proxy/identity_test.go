package proxy

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

const sharedSecret = "0123456789abcdef0123456789abcdef"

// trusting sets up both ways in which an application may be told more than a bare header.
func trusting(t testing.TB) func(*config.Config) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		c.Assertion.KeyFile, c.Assertion.Issuer, c.Assertion.Audience = file, "gate", "shop"
		c.IdentitySecretHeader.Secret = sharedSecret
	}
}

// headerApp is an application that keeps the last request's header.
type headerApp struct {
	mu   sync.Mutex
	last http.Header
}

func (a *headerApp) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = r.Header
}

// got gives the values of every header whose name reads like this one.
func (a *headerApp) got(name string) (values []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, v := range a.last {
		if foldName(n) == foldName(name) {
			values = append(values, v...)
		}
	}
	return values
}

// stated is what some claims of an assertion say.
type stated struct {
	Sub, Sid, Email, Name, Role string
	Verified                    bool `json:"email_verified"`
	Exp                         int64
}

// subOf reads who an assertion is about.
func subOf(t *testing.T, token string) string { t.Helper(); return statedIn(t, token).Sub }

func statedIn(t *testing.T, token string) (claims stated) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no assertion", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatalf("%q is no assertion", token)
	}
	return claims
}

// An assertion says what the session's record does, of which session it is, and no more after its end.
func TestAssertionIsOfItsSession(t *testing.T) {
	t.Parallel()
	app := &headerApp{}
	l := newLab(t, app, trusting(t))
	user := session.User{ID: "7", Email: "ada@example.com", Name: "Ada", Role: "admin", EmailVerified: true}
	here, there := l.sessions.add(user), l.sessions.add(user)
	ends := time.Now().Add(20 * time.Second)
	l.sessions.known[there].ExpiresAt = ends
	var of [2]stated
	for i, token := range []string{here, there} {
		l.get(t, "/private", token)
		of[i] = statedIn(t, app.got("X-Gatehouse-Assertion")[0])
	}
	if of[1].Exp != ends.Unix() || of[0].Exp <= ends.Unix() {
		t.Errorf("they expire at %d and %d, and one session ends at %d", of[0].Exp, of[1].Exp, ends.Unix())
	}
	if of[0].Sid == of[1].Sid || len(of[0].Sid) != 43 || len(of[1].Sid) != 43 {
		t.Errorf("the sessions are %q and %q", of[0].Sid, of[1].Sid)
	}
	of[0].Sid, of[0].Exp = "", 0
	if want := (stated{Sub: "7", Email: "ada@example.com", Name: "Ada", Role: "admin", Verified: true}); of[0] != want {
		t.Errorf("got %+v, want %+v", of[0], want)
	}
}

// Whatever a client sends, the application gets one assertion, about the session's user, or none; and the secret with
// every request.
func TestH01AssertionAndSecretCannotBeForged(t *testing.T) {
	t.Parallel()
	app := &headerApp{}
	l := newLab(t, app, trusting(t))
	ada, uma := l.sessions.add(session.User{ID: "1"}), l.sessions.add(session.User{ID: "2"})
	l.get(t, "/", ada)
	stolen := app.got("X-Gatehouse-Assertion")[0]
	for _, c := range []struct {
		name, token string
		headers     []string
	}{
		{"nothing sent", uma, nil},
		{"anonymous", "", nil},
		{"plain", uma, []string{"X-Gatehouse-Assertion", stolen, "X-Gatehouse-Secret", "guess"}},
		{"twice", uma, []string{"x-gatehouse-assertion", stolen, "X-GATEHOUSE-ASSERTION", stolen}},
		{"underscores", uma, []string{"X_Gatehouse_Assertion", stolen, "X_Gatehouse_Secret", "guess"}},
		{"dots", "", []string{"X.Gatehouse.Assertion", stolen, "X.Gatehouse.Secret", "guess"}},
		{"plain, anonymous", "", []string{"X-Gatehouse-Assertion", stolen, "X-Gatehouse-Secret", "guess"}},
		{"hop by hop", uma, []string{"Connection", "close, X-Gatehouse-Assertion, X-Gatehouse-Secret"}},
	} {
		l.get(t, "/", c.token, c.headers...)
		assertions, secrets := app.got("X-Gatehouse-Assertion"), app.got("X-Gatehouse-Secret")
		if c.token == "" && len(assertions) != 0 {
			t.Errorf("%s: %q", c.name, assertions)
		}
		if c.token != "" && (len(assertions) != 1 || subOf(t, assertions[0]) != "2") {
			t.Errorf("%s: %q", c.name, assertions)
		}
		if !slices.Equal(secrets, []string{sharedSecret}) {
			t.Errorf("%s: the secret is %q", c.name, secrets)
		}
	}
}

// One assertion serves all requests of a session, and a change of what it says makes a new one at once.
func TestAssertionIsMadeOncePerSession(t *testing.T) {
	t.Parallel()
	app := &headerApp{}
	l := newLab(t, app, trusting(t))
	token := l.sessions.add(session.User{ID: "1", Role: "admin"})
	seen := map[string]bool{}
	for range 200 {
		l.get(t, "/private", token)
		seen[app.got("X-Gatehouse-Assertion")[0]] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d assertions for 200 requests", len(seen))
	}
	l.sessions.mu.Lock()
	changed := l.sessions.known[token].Clone()
	changed.Role = "user"
	l.sessions.known[token] = changed
	l.sessions.mu.Unlock()
	l.get(t, "/private", token)
	if seen[app.got("X-Gatehouse-Assertion")[0]] {
		t.Error("the old role's assertion is still sent")
	}
	l.sessions.forget(token)
	l.get(t, "/", token)
	if got := app.got("X-Gatehouse-Assertion"); len(got) != 0 {
		t.Errorf("a session that has ended: %q", got)
	}
}

// The gateway's own requests to the application, such as a login's, bear the secret; they are nobody's.
func TestSecretOfTheGatewaysOwnRequests(t *testing.T) {
	t.Parallel()
	app := &headerApp{}
	l := newLab(t, app, trusting(t))
	l.login.do = func(_ http.ResponseWriter, r *http.Request) {
		resp, err := l.gateway.Forward.Send(r.Context(), r, http.MethodGet, "/whoami", nil, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
	}
	l.get(t, "/login", l.sessions.add(session.User{ID: "1"}), "X-Gatehouse-Secret", "guess")
	if got := app.got("X-Gatehouse-Secret"); !slices.Equal(got, []string{sharedSecret}) {
		t.Errorf("the secret is %q", got)
	}
	if got := app.got("X-Gatehouse-Assertion"); len(got) != 0 {
		t.Errorf("the assertion is %q", got)
	}
}

// An application that echoes what it was sent hands neither out, whatever strip_response_headers says.
func TestH11AssertionAndSecretDoNotComeBack(t *testing.T) {
	t.Parallel()
	for _, strip := range []bool{true, false} {
		app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			echo := func(name string) { w.Header()[name] = []string{r.Header.Get("X-Gatehouse-Secret")} }
			echo("X-Gatehouse-Secret")
			echo("x_gatehouse_assertion")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "x")
			echo(http.TrailerPrefix + "X-Gatehouse-Secret")
		})
		set := trusting(t)
		l := newLab(t, app, func(c *config.Config) { set(c); c.Requests.StripResponseHeaders = strip })
		hints := http.Header{}
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { hints = http.Header(h); return nil }})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.server.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := l.server.Client().Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		for _, h := range []http.Header{resp.Header, resp.Trailer, hints} {
			if said := fmt.Sprint(h); strings.Contains(said, sharedSecret) {
				t.Errorf("strip_response_headers %v: the client got %s", strip, said)
			}
		}
	}
}

// The keys are for everybody, and may be kept; what is not set up is not there.
func TestJWKS(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, func(c *config.Config) { trusting(t)(c); c.Default = config.Protected })
	resp, body := l.get(t, "/.gatehouse/jwks.json", "")
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(body), &set); resp.StatusCode != 200 || err != nil || len(set.Keys) != 1 || set.Keys[0]["kty"] != "OKP" || set.Keys[0]["d"] != nil {
		t.Errorf("%s %s", resp.Status, body)
	}
	if got := resp.Header.Get("Cache-Control"); got != "public, max-age=300" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("Cache-Control %q, Content-Type %q", got, resp.Header.Get("Content-Type"))
	}
	if head, nothing := l.do(t, http.MethodHead, "/.gatehouse/jwks.json", "", nil); head.StatusCode != 200 || nothing != "" || head.ContentLength != int64(len(body)) {
		t.Errorf("HEAD: %s, length %d", head.Status, head.ContentLength)
	}
	if post, _ := l.do(t, http.MethodPost, "/.gatehouse/jwks.json", "", nil); post.StatusCode != 405 || post.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("POST: %s, %v", post.Status, post.Header)
	}
	off := newLab(t, echo, nil)
	if resp, _ := off.get(t, "/.gatehouse/jwks.json", ""); resp.StatusCode != 404 || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("without assertions: %s, %v", resp.Status, resp.Header)
	}
}

// What no application would take is not sent, and said.
func TestTooLongAssertionIsNotSent(t *testing.T) {
	t.Parallel()
	app := &headerApp{}
	l := newLab(t, app, trusting(t))
	l.get(t, "/", l.sessions.add(session.User{ID: "1", Name: strings.Repeat("x", 3500)}))
	if got := app.got("X-Gatehouse-Assertion"); len(got) != 0 || !slices.Equal(app.got("X-User-Id"), []string{"1"}) {
		t.Errorf("%q, user %q", got, app.got("X-User-Id"))
	}
	eventually(t, "the log to tell", func() bool {
		return strings.Contains(l.log.String(), `"header":"X-Gatehouse-Assertion","message":"identity header not sent: longer than 4 KiB"`)
	})
}

// gatehouse explain tells of both, without the secret.
func TestExplainTellsOfAssertionAndSecret(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	upstream, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:3000", nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Upstream = &config.Upstream{URL: upstream.URL}
	trusting(t)(cfg)
	e, err := Explain(cfg, http.MethodGet, "/x")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(e.Identity, "X-Gatehouse-Assertion") || !slices.Contains(e.Identity, "X-Gatehouse-Secret") {
		t.Errorf("deleted are %q", e.Identity)
	}
	if last := e.Headers[len(e.Headers)-1]; last != (HeaderValue{"X-Gatehouse-Assertion", "(a JWT for shop, signed by EdDSA)"}) || strings.Contains(fmt.Sprint(e), sharedSecret) {
		t.Errorf("%+v", e)
	}
}

// BenchmarkIdentity is what telling the application who the user is costs a request, without and with an assertion and the secret.
func BenchmarkIdentity(b *testing.B) {
	for name, set := range map[string]func(*config.Config){"headers": nil, "and assertion": trusting(b)} {
		l := newLab(b, echo, set)
		now := time.Now()
		rec := &session.Record{User: session.User{ID: "42", Email: "ada@example.com", Name: "Ada", Role: "admin"}, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
		rec.ID[0] = 1
		h := http.Header{}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.gateway.Forward.setIdentity(h, rec)
			}
		})
	}
}
