package assertion

import (
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
)

// Secret is the string that the gateway and the application share, followed in its file so that it can be changed
// without a restart. It is safe for concurrent use.
type Secret struct {
	clock func() time.Time
	value *followed[string]
}

// NewSecret gives nil when none is set.
func NewSecret(cfg config.IdentitySecretHeader, clock func() time.Time, log zerolog.Logger) (*Secret, error) {
	if !cfg.Enabled() {
		return nil, nil
	}
	s := &Secret{clock: clock, value: &followed[string]{
		path:  cfg.SecretFile,
		parse: func(text []byte) (string, error) { return secretOf(string(text)) },
		changed: func(string) {
			log.Info().Str("secret_file", cfg.SecretFile).Msg("the identity secret was read anew, and is sent instead of the old one")
		},
		failed: func(err error) {
			log.Error().Err(err).Str("secret_file", cfg.SecretFile).Msg("identity_secret_header.secret_file holds no good secret: the one read before is still sent")
		},
	}}
	if cfg.SecretFile == "" {
		text, err := secretOf(cfg.Secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("identity_secret_header.secret: %w", err)
		}
		s.value.current.Store(&text)
		return s, nil
	}
	if err := s.value.open(clock()); err != nil {
		return nil, fmt.Errorf("identity_secret_header.secret_file: %s: %w", cfg.SecretFile, err)
	}
	return s, nil
}

func secretOf(text string) (string, error) {
	if err := config.CheckIdentitySecret(config.Secret(text)); err != nil {
		return "", err
	}
	return strings.TrimSpace(text), nil
}

// Value is the secret. It must not be logged.
func (s *Secret) Value() string { return s.value.get(s.clock()) }
