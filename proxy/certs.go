package proxy

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
)

// certificates is the listener's certificate, read again when its files change. A handshake looks
// at most once a second; new files that do not fit together leave the old certificate in place.
type certificates struct {
	files config.TLS
	clock func() time.Time
	log   zerolog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]fileStamp // of the files current was made from
	failed  [2]fileStamp // of the files that could not be loaded: said once, not every second
	looked  time.Time
}

// fileStamp tells one content of a file from the next without reading it.
type fileStamp struct {
	modified time.Time
	size     int64
}

const lookEvery = time.Second

func newCertificates(files config.TLS, clock func() time.Time, log zerolog.Logger) (*certificates, error) {
	c := &certificates{files: files, clock: clock, log: log}
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: cannot load cert_file %s with key_file %s: %w", files.CertFile, files.KeyFile, err)
	}
	c.current = &cert
	c.stamp = c.stat()
	c.looked = clock()
	return c, nil
}

// get implements tls.Config.GetCertificate.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if now.Sub(c.looked) < lookEvery && !now.Before(c.looked) {
		return c.current, nil
	}
	c.looked = now
	stamp := c.stat()
	if stamp == c.stamp || stamp == c.failed {
		return c.current, nil
	}
	cert, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		// Half-written, perhaps: the next change of the files is tried again.
		c.failed = stamp
		c.log.Error().Err(err).Str("cert_file", c.files.CertFile).Msg("the new certificate cannot be loaded, the old one stays in use")
		return c.current, nil
	}
	c.current, c.stamp = &cert, stamp
	c.log.Info().Str("cert_file", c.files.CertFile).Msg("certificate reloaded")
	return c.current, nil
}

func (c *certificates) stat() (stamp [2]fileStamp) {
	for i, name := range []string{c.files.CertFile, c.files.KeyFile} {
		if info, err := os.Stat(name); err == nil {
			stamp[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return stamp
}

// CheckCertificate reports whether the listener's certificate can be loaded and is valid today.
func CheckCertificate(files config.TLS) error {
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return fmt.Errorf("cannot be loaded with key_file %s: %w; both must be PEM and belong together", files.KeyFile, err)
	}
	if now := time.Now(); now.After(cert.Leaf.NotAfter) {
		return fmt.Errorf("expired on %s; renew it", cert.Leaf.NotAfter.Format(time.DateOnly))
	} else if now.Before(cert.Leaf.NotBefore) {
		return fmt.Errorf("is valid only from %s on; check the clock", cert.Leaf.NotBefore.Format(time.DateOnly))
	}
	return nil
}
