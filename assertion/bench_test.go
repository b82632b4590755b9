package assertion

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
)

// BenchmarkToken tells what an assertion costs a request: from memory, and once per half a lifetime and session.
func BenchmarkToken(b *testing.B) {
	for _, algorithm := range []string{config.AlgorithmEdDSA, config.AlgorithmES256} {
		s, subject := forBench(b, algorithm)
		b.Run(algorithm+"/kept", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Token(subject)
			}
		})
		b.Run(algorithm+"/signed", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Forget(subject.SessionID)
				_, _ = s.Token(subject)
			}
		})
	}
}

func forBench(t testing.TB, algorithm string) (*Signer, Subject) {
	t.Helper()
	cfg := config.Default()
	cfg.Assertion = config.Assertion{Algorithm: algorithm, KeyFile: filepath.Join(t.TempDir(), "k.pem"), Issuer: "https://app.example.com", Audience: "shop", Lifetime: time.Minute}
	if err := os.WriteFile(cfg.Assertion.KeyFile, []byte(newKey(t, algorithm)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, time.Now, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return s, Subject{UserID: "42", Email: "ada@example.com", Name: "Ada Admin", Role: "admin", SessionID: sha256.Sum256([]byte("s")), ExpiresAt: time.Now().Add(24 * time.Hour)}
}
