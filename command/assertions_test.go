package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"gatehouse/assertion"
	"gatehouse/config"
	"gatehouse/proxy"
	"gatehouse/session"
)

// A session that ends takes its assertion out of the memory: it holds name and address of somebody who has logged out.
func TestAssertionsEndWithTheirSessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	genpkey := exec.CommandContext(t.Context(), "openssl", "genpkey", "-algorithm", "ed25519", "-out", "assertion.pem")
	genpkey.Dir = dir
	if out, err := genpkey.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(dir, "g.yaml")
	const text = "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nredis: {addresses: [embedded]}\nassertion: {key_file: assertion.pem, audience: shop, issuer: gate}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Options{File: file, Env: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGateway(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	var deps proxy.ForwarderDeps
	if err := g.addAssertions(cfg, &deps); err != nil {
		t.Fatal(err)
	}
	began, err := g.sessions.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, rec, err := g.sessions.Create(t.Context(), session.Login{User: session.User{ID: "42"}, Backend: "file", Began: began})
	if err != nil {
		t.Fatal(err)
	}
	token := func() string {
		token, err := deps.Assertions.Token(assertion.Subject{UserID: "42", SessionID: rec.ID})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	before := token()
	if token() != before {
		t.Fatal("none is kept, so this shows nothing")
	}
	if err := g.sessions.Revoke(t.Context(), rec.Key(), "42"); err != nil {
		t.Fatal(err)
	}
	if token() == before {
		t.Error("the assertion is still there")
	}
}
