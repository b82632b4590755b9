package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// sharedSecret is what gateways and application compare in TestSignedIdentity.
const sharedSecret = "a-secret-of-gateway-and-application"

// signedApp is the Node application of apps/signed, which verifies with another implementation (jose).
type signedApp struct {
	t      *testing.T
	socket string
	client *http.Client
}

// verdict is what the application has made of a request.
type verdict struct {
	Status int            `json:"-"`
	Code   string         `json:"code"`
	Claims map[string]any `json:"claims"`
	Header struct{ Alg, Kid string }
	Token  string
	// ViaGateway: the request bore the secret.
	ViaGateway bool
}

func verdictOf(t *testing.T, a answer) verdict {
	t.Helper()
	v := verdict{Status: a.StatusCode}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("the application did not answer: %s %s", a.Status, a.body)
	}
	if v.Token != "" {
		said.secret(v.Token)
	}
	return v
}

// trusted is a gateway as the application knows it.
type trusted struct {
	Issuer    string `json:"issuer"`
	Algorithm string `json:"algorithm"`
	JWKS      string `json:"jwks"`
}

// listen starts Node and waits until the application listens.
func (a *signedApp) listen(gateways ...trusted) {
	a.t.Helper()
	folder, err := npmInstall("apps/signed")
	if err != nil {
		a.t.Fatal(err)
	}
	known, err := json.Marshal(gateways)
	if err != nil {
		a.t.Fatal(err)
	}
	cmd := exec.Command("node", "server.js")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "SOCKET="+a.socket, "AUDIENCE=shop", "SECRET="+sharedSecret, "GATEWAYS="+string(known), "NODE_ENV=production")
	// It must not outlive a test binary that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatalf("the application does not start: %v; `make test` installs what the tests need", err)
	}
	a.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if a.t.Failed() {
			a.t.Logf("the application's errors:\n%s", stderr.String())
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.HasPrefix(line, "listening on ") {
		a.t.Fatalf("the application does not listen: %v, %q", err, line)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", a.socket)
	}
	a.client = &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 20 * time.Second}
	a.t.Cleanup(a.client.CloseIdleConnections)
}

// direct is what reaches the application around the gateways.
func (a *signedApp) direct(target string, header ...string) answer {
	a.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://app"+target, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := a.client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// pemOf is a private key as openssl genpkey writes it.
func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	said.secret(base64.StdEncoding.EncodeToString(der))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newEd25519(t *testing.T) (string, ed25519.PrivateKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(t, key), key
}

// signedGateway starts a gateway that signs for the application, with keys.pem and secret beside its settings.
func signedGateway(t *testing.T, redis *testredis.Server, upstream, more, key string) *gateway {
	t.Helper()
	section := fmt.Sprintf("redis: {addresses: [%q], key_prefix: %q}\n", redis.Addr, prefix())
	files := map[string]string{"users.yaml": usersYAML(), "keys.pem": key, "secret": sharedSecret + "\n"}
	return start(t, baseConfig(upstream, section)+"identity_secret_header: {secret_file: secret}\n"+more, options{files: files})
}

// TestSignedIdentity: an application in another language, with another library, verifies what the gateway signs, and refuses
// what it did not.
func TestSignedIdentity(t *testing.T) {
	t.Parallel()
	said.secret(sharedSecret)
	redis := testredis.Start(t)
	app := &signedApp{t: t, socket: filepath.Join(t.TempDir(), "app.sock")}
	firstPEM, firstKey := newEd25519(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	gateways := map[string]*gateway{
		"EdDSA": signedGateway(t, redis, "unix:"+app.socket, "public_url: https://app.example.com\nassertion: {key_file: keys.pem, audience: shop}\n", firstPEM),
		"ES256": signedGateway(t, redis, "unix:"+app.socket, "assertion: {algorithm: ES256, key_file: keys.pem, issuer: the other gate, audience: shop}\n", pemOf(t, ec)),
	}
	jwks := "/.gatehouse/jwks.json"
	app.listen(trusted{"https://app.example.com", "EdDSA", gateways["EdDSA"].url + jwks}, trusted{"the other gate", "ES256", gateways["ES256"].url + jwks})

	for algorithm, g := range gateways {
		uma := newBrowser(t, g.url)
		uma.login(userEmail, userPassword)
		got := verdictOf(t, uma.get("/account"))
		if c := got.Claims; got.Status != 200 || got.Header.Alg != algorithm || got.Header.Kid == "" || !got.ViaGateway ||
			c["sub"] != "2" || c["email"] != userEmail || c["name"] != "Uma User" || c["role"] != "user" || c["email_verified"] != false {
			t.Errorf("%s: %+v", algorithm, got)
		}
		if again := verdictOf(t, uma.get("/account")); again.Token != got.Token {
			t.Errorf("%s: two requests, two signatures", algorithm)
		}
		for target, want := range map[string]string{
			"/public/x?later=29":       "",                                // half its life is left, whenever it is asked for
			"/public/x?later=61":       "ERR_JWT_EXPIRED",                 // kept, and used later
			"/public/x?audience=other": "ERR_JWT_CLAIM_VALIDATION_FAILED", // meant for this application
		} {
			if got := verdictOf(t, uma.get(target)); got.Code != want {
				t.Errorf("%s: %s: %+v, want %q", algorithm, target, got, want)
			}
		}
		if got := verdictOf(t, newBrowser(t, g.url).get("/public/x")); got.Code != "NONE" || !got.ViaGateway {
			t.Errorf("%s: anonymous: %+v", algorithm, got)
		}
	}
	t.Run("forged", func(t *testing.T) { forgedIsRefused(t, app, gateways["EdDSA"], firstKey) })
	t.Run("rotation", func(t *testing.T) { rotateUnderLoad(t, app, gateways["EdDSA"], firstPEM) })
	t.Run("revoked", func(t *testing.T) {
		g := gateways["ES256"]
		uma, elsewhere := newBrowser(t, g.url), newBrowser(t, g.url)
		for _, b := range []*browser{uma, elsewhere} {
			b.login(userEmail, userPassword)
			if got := verdictOf(t, b.get("/account")); got.Status != 200 {
				t.Fatalf("%+v", got)
			}
		}
		token := uma.token()
		uma.post("/logout", nil)
		stale := newBrowser(t, g.url)
		if got := verdictOf(t, stale.get("/public/x", "Cookie", "gatehouse="+token)); got.Code != "NONE" {
			t.Errorf("after the logout: %+v", got)
		}
		if got := stale.get("/account", "Cookie", "gatehouse="+token); got.StatusCode != 303 {
			t.Errorf("after the logout: %s", got.Status)
		}
		if got := verdictOf(t, elsewhere.get("/account")); got.Status != 200 {
			t.Errorf("the other session: %+v", got)
		}
	})
}

// forgedIsRefused: neither through the gateway nor around it does anybody become somebody else.
func forgedIsRefused(t *testing.T, app *signedApp, g *gateway, key ed25519.PrivateKey) {
	ada, uma := newBrowser(t, g.url), newBrowser(t, g.url)
	ada.login(adminEmail, adminPassword)
	uma.login(userEmail, userPassword)
	stolen := verdictOf(t, ada.get("/account")).Token
	for _, name := range []string{"X-Gatehouse-Assertion", "x_gatehouse_assertion", "X.Gatehouse.Assertion"} {
		if got := verdictOf(t, uma.get("/account", name, stolen)); got.Claims["sub"] != "2" {
			t.Errorf("%s of the admin's, sent by a user: %+v", name, got)
		}
		if got := verdictOf(t, newBrowser(t, g.url).get("/public/x", name, stolen, "X-Gatehouse-Secret", "guess")); got.Code != "NONE" || !got.ViaGateway {
			t.Errorf("%s of the admin's, sent by nobody: %+v", name, got)
		}
	}

	parts := strings.Split(stolen, ".")
	encode := base64.RawURLEncoding.EncodeToString
	var header map[string]string
	if text, err := base64.RawURLEncoding.DecodeString(parts[0]); err != nil || json.Unmarshal(text, &header) != nil {
		t.Fatalf("the header is %q", parts[0])
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(with ed25519.PrivateKey, header, payload string) string {
		text := encode([]byte(header)) + "." + encode([]byte(payload))
		return text + "." + encode(ed25519.Sign(with, []byte(text)))
	}
	right := fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, header["kid"])
	for _, c := range []struct{ name, token, want string }{
		{"the gateway's own key", sign(key, right, string(payload)), ""}, // so what follows is refused for its one difference
		{"another key under its kid", sign(foreign, right, string(payload)), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{"a key nobody has published", sign(foreign, `{"alg":"EdDSA","kid":"mine"}`, string(payload)), "ERR_JWKS_NO_MATCHING_KEY"},
		{"another role", parts[0] + "." + encode([]byte(strings.Replace(string(payload), `"admin"`, `"owner"`, 1))) + "." + parts[2], "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{"no signature", encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "ERR_JOSE_ALG_NOT_ALLOWED"},
		{"another issuer", sign(key, right, strings.Replace(string(payload), "https://app.example.com", "the other gate", 1)), "ERR_JOSE_ALG_NOT_ALLOWED"},
	} {
		got := verdictOf(t, app.direct("/x", "X-Gatehouse-Assertion", c.token))
		if got.Code != c.want || got.ViaGateway {
			t.Errorf("%s: %+v, want %q", c.name, got, c.want)
		}
	}
}

// rotateUnderLoad changes the key step by step as docs/operating.md says, while requests flow: none is refused. The application
// never asks for a key it does not know, so each must have been published in time.
func rotateUnderLoad(t *testing.T, app *signedApp, g *gateway, first string) {
	second, _ := newEd25519(t)
	var served, refused atomic.Int64
	var kid atomic.Value // of the last assertion
	stop := make(chan struct{})
	var flow sync.WaitGroup
	for range 2 {
		b := newBrowser(t, g.url)
		b.login(userEmail, userPassword)
		flow.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				var got verdict
				resp, err := b.client.Get(b.base + "/account")
				if err == nil {
					err = json.NewDecoder(resp.Body).Decode(&got)
					_ = resp.Body.Close()
				}
				if served.Add(1); err != nil || resp.StatusCode != 200 {
					refused.Add(1)
					t.Logf("refused: %+v, %v", got, err)
					continue
				}
				kid.Store(got.Header.Kid)
			}
		})
	}
	// A step is a new file in the old one's place, so that nobody reads half of it.
	step := func(keys ...string) {
		writeFile(t, filepath.Join(g.dir, "new.pem"), strings.Join(keys, ""))
		if err := os.Rename(filepath.Join(g.dir, "new.pem"), filepath.Join(g.dir, "keys.pem")); err != nil {
			t.Fatal(err)
		}
	}
	kids := func() []string {
		var has struct{ Kids []string }
		_ = json.Unmarshal([]byte(app.direct("/kids?issuer=https://app.example.com").body), &has)
		return has.Kids
	}
	eventually(t, "an assertion", func() bool { return kid.Load() != nil })
	old := kid.Load().(string)

	step(first, second)
	eventually(t, "the application to have both keys", func() bool { return len(kids()) == 2 })
	if kid.Load() != old {
		t.Error("the new key signed before its time")
	}
	next := kids()[1]
	step(second, first)
	eventually(t, "the new key to sign", func() bool { return kid.Load() == next })
	step(second)
	eventually(t, "the application to have the new key alone", func() bool { return slices.Equal(kids(), []string{next}) })
	before := served.Load()
	eventually(t, "some more requests", func() bool { return served.Load() > before+20 })
	close(stop)
	flow.Wait()
	if refused.Load() != 0 || kid.Load() != next {
		t.Errorf("%d of %d requests were refused; the last was signed by %v, want %s", refused.Load(), served.Load(), kid.Load(), next)
	}
	t.Logf("%d requests, %d refused", served.Load(), refused.Load())
	if n := len(g.entries(map[string]any{"message": "the keys of assertions were read anew"})); n != 3 {
		t.Errorf("the log tells of %d changes of the keys", n)
	}
}

// TestAssertionKeyFile: what is wrong with the key is told before anything is served, and a key that others can read is.
func TestAssertionKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "g.yaml")
	key, _ := newEd25519(t)
	settings := func(algorithm string) string {
		return baseConfig(startApp(t, nil).url, "redis: {addresses: [embedded]}\n") + "assertion: {algorithm: " + algorithm + ", key_file: keys.pem, audience: shop, issuer: gate}\n"
	}
	writeFile(t, filepath.Join(dir, "users.yaml"), usersYAML())
	writeFile(t, filepath.Join(dir, "keys.pem"), key)
	writeFile(t, file, settings("EdDSA"))
	if out, code := runCommand(t, "", "check", "--config", file); code != 0 || !strings.Contains(out, "ok       assertion.key_file: "+filepath.Join(dir, "keys.pem")+", 1 key\n") {
		t.Errorf("check: exit %d\n%s", code, out)
	}
	if out, code := runCommand(t, "", "explain", "--config", file, "GET", "/account"); code != 0 || !strings.Contains(out, "X-Gatehouse-Assertion: (a JWT for shop, signed by EdDSA)") {
		t.Errorf("explain: exit %d\n%s", code, out)
	}
	writeFile(t, file, settings("ES256"))
	const want = "key 1, which signs, is for EdDSA, and assertion.algorithm is ES256; make another with `openssl genpkey -algorithm EC"
	for _, command := range []string{"check", "serve"} {
		if out, code := runCommand(t, "", command, "--config", file); code != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d\n%s", command, code, out)
		}
	}
	for mode, warned := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		// start writes 0600 itself, so the files that count are elsewhere.
		if err := os.Chmod(filepath.Join(dir, "keys.pem"), mode); err != nil {
			t.Fatal(err)
		}
		cfg := strings.Replace(settings("EdDSA"), "keys.pem", filepath.Join(dir, "keys.pem"), 1)
		g := start(t, cfg, withUsers())
		if n := strings.Count(g.output(), "assertion.key_file can be read by every user of this machine"); n != warned {
			t.Errorf("mode %o: warned %d times", mode, n)
		}
		g.stop()
	}
}
