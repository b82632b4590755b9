//go:build apps

package servers

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// gatewayConfig protects the secret areas and nothing else: all other paths are public, so that whatever the gateway does not
// recognise as one of them gets to the server. Below /files even %2F does.
const gatewayConfig = `listen: 127.0.0.1:%s
upstream: http://%s
default: public
rules:
  - path: /account
  - path: /keys
  - path: /admin
    roles: [admin]
  - path: /admin/health
    access: public
  - path: /api
    access: public
  - path: /api/private
  - path: /files
    access: public
    encoded_slashes: true
  - path: /files/secret
    roles: [admin]
  - path: /public
    access: public
  - path: /public/secret
    roles: [admin]
login: {backend: file, file: {path: users.yaml}}
session: {cookie: {secure: false}}
redis: {addresses: [embedded]}
log: {level: warn, format: json}
`

const (
	userID, userEmail   = "4711", "uma@example.com"
	adminID, adminEmail = "4712", "ada@example.com"
	password            = "correct-horse-battery"
	// forgedID is the identity the attacker claims.
	forgedID = "6660666"
)

// gateway is a running gateway before an application, with a user and an admin who are logged in.
type gateway struct {
	addr string
	// user and admin are header lines with their cookies.
	user, admin string
}

func startGateway(t *testing.T, a *app) *gateway {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "users.yaml"), fmt.Sprintf(`users:
  - {id: %s, email: %s, role: user, password_hash: "%s"}
  - {id: %s, email: %s, role: admin, password_hash: "%s"}
`, userID, userEmail, hash, adminID, adminEmail, hash))
	port := launch(t, 1, func(ports []string) *exec.Cmd {
		config := writeFile(t, filepath.Join(dir, "gatehouse.yaml"), fmt.Sprintf(gatewayConfig, ports[0], a.addr))
		return exec.Command(binary, "serve", "--config", config)
	})[0]
	g := &gateway{addr: "127.0.0.1:" + port}
	g.user, g.admin = g.login(t, userEmail), g.login(t, adminEmail)
	return g
}

func (g *gateway) login(t *testing.T, email string) (cookieLine string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(newLogin(g.addr, email))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.Name == "gatehouse" && c.Value != "" {
			return "Cookie: gatehouse=" + c.Value + "\r\n"
		}
	}
	t.Fatalf("login of %s: %s", email, resp.Status)
	return ""
}

func newLogin(addr, email string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/login", strings.NewReader(url.Values{"email": {email}, "password": {password}}.Encode()))
	if err != nil {
		panic(err) // it has no other reason than a typing error above
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}
