package assertion

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
)

// What is wrong with a key file is told at the start, with what to do.
func TestKeyFileProblems(t *testing.T) {
	t.Parallel()
	ed, ec := newKey(t, config.AlgorithmEdDSA), newKey(t, config.AlgorithmES256)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind, text string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(text)}))
	}
	const makeEd, makeEC = "`openssl genpkey -algorithm ed25519 -out assertion.pem`", "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out assertion.pem`"
	for _, c := range []struct{ name, algorithm, text, want string }{
		{"empty", "EdDSA", "", "holds no PEM private key; make one with " + makeEd},
		{"empty, ES256", "ES256", "# soon\n", "holds no PEM private key; make one with " + makeEC},
		{"the other algorithm", "EdDSA", ec, "key 1, which signs, is for ES256, and assertion.algorithm is EdDSA; make another with " + makeEd + ", or set assertion.algorithm: ES256"},
		{"the other algorithm, ES256", "ES256", ed, "key 1, which signs, is for EdDSA, and assertion.algorithm is ES256; make another with " + makeEC + ", or set assertion.algorithm: EdDSA"},
		{"curve", "ES256", ec + pkcs8(t, p384), "key 2 is on the curve P-384, and ES256 needs P-256"},
		{"RSA", "ES256", pkcs8(t, rsaKey), "key 1 is neither an Ed25519 nor a P-256 key"},
		{"public key", "EdDSA", ed + block("PUBLIC KEY", "x"), `key 2 is a PEM block "PUBLIC KEY"; private keys are needed, PRIVATE KEY or EC PRIVATE KEY`},
		{"encrypted", "EdDSA", block("ENCRYPTED PRIVATE KEY", "x"), "key 1 is encrypted; take the passphrase off with `openssl pkey -in FILE -out assertion.pem`"},
		{"not DER", "EdDSA", block("PRIVATE KEY", "hunter2"), "key 1 cannot be read: "},
		{"cut off", "EdDSA", ed + ed[:70], "holds a PEM block that is cut off or damaged; write it anew, into another file that is then renamed"},
		{"first one damaged", "EdDSA", strings.Replace(ed, "M", "!", 1) + newKey(t, "EdDSA"), "holds a PEM block that is cut off or damaged; "},
		{"large", "EdDSA", strings.Repeat("#\n", 40_000), "is larger than 64 KiB"},
	} {
		file := filepath.Join(t.TempDir(), "k.pem")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := config.Default()
		cfg.Assertion = config.Assertion{Algorithm: c.algorithm, KeyFile: file, Issuer: "i", Audience: "a", Lifetime: time.Minute}
		_, err := New(cfg, time.Now, zerolog.Nop())
		if err == nil || !strings.HasPrefix(err.Error(), "assertion.key_file: "+file+": "+c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s:\n got %v\nwant %s", c.name, err, c.want)
		}
		if _, err := Check(cfg.Assertion); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: the check says %v", c.name, err)
		}
	}
	if _, err := Check(config.Assertion{Algorithm: "EdDSA", KeyFile: "/none/k.pem"}); err == nil ||
		err.Error() != "no such file or directory; make a key with "+makeEd+", or correct the path" {
		t.Errorf("missing: %v", err)
	}
}

// The commands that messages and documents name make keys that are taken, and so do older ways.
func TestKeysOfOpenSSL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ algorithm, command string }{
		{"EdDSA", config.Assertion{Algorithm: "EdDSA"}.KeyCommand()},
		{"ES256", config.Assertion{Algorithm: "ES256"}.KeyCommand()},
		{"ES256", "openssl ecparam -name prime256v1 -genkey -out assertion.pem"},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", c.command)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c.command, err, out)
		}
		file := filepath.Join(dir, "assertion.pem")
		if n, err := Check(config.Assertion{Algorithm: c.algorithm, KeyFile: file}); n != 1 || err != nil {
			t.Errorf("%s: %d keys, %v", c.command, n, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// A kid is the key's thumbprint by RFC 7638; this key and its thumbprint are those of RFC 8037, appendix A.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	const seed = "\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60"
	// PKCS #8 of an Ed25519 key is this and the seed (RFC 8410, 7).
	der := "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20" + seed
	if _, err := x509.ParsePKCS8PrivateKey([]byte(der)); err != nil {
		t.Fatal(err)
	}
	set, err := parseKeys(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(der)}), config.Assertion{Algorithm: "EdDSA"})
	if err != nil || set.ids[0] != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("%+v, %v", set, err)
	}
}
