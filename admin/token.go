package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
)

// lookEvery is how often the token's file is looked at, at most, and only when somebody asks.
const lookEvery = time.Second

// maxTokenFile bounds the file, in bytes: a wrong one named by mistake must not fill the memory.
const maxTokenFile = 64 << 10

// digest is the SHA-256 of a token: what is compared has one length, whatever was sent.
type digest [sha256.Size]byte

// token is the listener's token, followed in its file so that it can be changed without a restart. Whatever happens to the
// file, the last good token stays in force.
type token struct {
	file string // "": it does not change
	log  zerolog.Logger

	mu     sync.Mutex
	sum    digest
	looked time.Time
	told   string // the last problem that was logged
}

// newToken gives nil when none is set.
func newToken(cfg config.Admin, now time.Time, log zerolog.Logger) (*token, error) {
	t := &token{file: cfg.TokenFile, log: log}
	if cfg.TokenFile == "" {
		if cfg.Token == "" {
			return nil, nil
		}
		var err error
		if t.sum, err = digestOf(cfg.Token.Reveal()); err != nil {
			return nil, fmt.Errorf("admin.token: %w", err)
		}
		return t, nil
	}
	var err error
	if t.sum, err = readToken(cfg.TokenFile); err != nil {
		return nil, fmt.Errorf("admin.token_file: %s: %w", cfg.TokenFile, err)
	}
	t.looked = now
	return t, nil
}

// digestOf checks a token and hashes it.
func digestOf(text string) (digest, error) {
	if err := config.CheckAdminToken(config.Secret(text)); err != nil {
		return digest{}, err
	}
	return sha256.Sum256([]byte(strings.TrimSpace(text))), nil
}

func readToken(file string) (digest, error) {
	f, err := os.Open(file) // #nosec G703 -- the operator named it in admin.token_file
	if err != nil {
		return digest{}, withoutPath(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return digest{}, withoutPath(err)
	}
	return digestOf(string(text))
}

// withoutPath spares a message from naming the file twice.
func withoutPath(err error) error {
	if inPath := new(fs.PathError); errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}

// current is the digest of the token that is in force at now. The file is small and is read as a whole: its times would not show
// two changes within one tick of the file system's clock.
func (t *token) current(now time.Time) digest {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == "" || now.Sub(t.looked).Abs() < lookEvery {
		return t.sum
	}
	t.looked = now
	sum, err := readToken(t.file)
	switch {
	case err != nil:
		if t.told != err.Error() {
			t.told = err.Error()
			t.log.Error().Str("token_file", t.file).Err(err).Msg("the admin token's file holds no good token: the one read before stays in force")
		}
	case sum != t.sum:
		t.sum = sum
		t.log.Info().Str("token_file", t.file).Msg("the admin token was read anew, the old one is refused")
		fallthrough
	default:
		t.told = ""
	}
	return t.sum
}

// matches compares in a time that does not depend on how much of the token was right.
func matches(given string, want digest) bool {
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], want[:]) == 1
}
