package session

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/config"
	"gatehouse/telemetry"

	"github.com/redis/rueidis"
	"github.com/rs/zerolog"
)

// Bounds towards Redis beside redis.timeout. How long a replica can go on answering from memory
// after its connection silently died is 2 × keepAlive + connWriteTimeout = 2 s: the client asks for a sign of
// life after keepAlive without one and gives up connWriteTimeout later.
const (
	defaultTimeout   = 250 * time.Millisecond
	maxDialTimeout   = 300 * time.Millisecond
	keepAlive        = 500 * time.Millisecond
	connWriteTimeout = time.Second
	// retryDelay before the one repetition of a read whose connection broke. Without it, each
	// lost connection is an error for somebody; with the library's default a call may never end.
	retryDelay = 5 * time.Millisecond
	// ringScale is the power of two of how many commands a connection can have under way.
	// When it is full callers wait without a deadline, so it must not fill up within the time
	// the breaker needs to notice a hung Redis.
	ringScale = 12
	// replaceEvery bounds how often the connection is given up because Redis turned read-only.
	replaceEvery = time.Second
)

var errNotConnected = errors.New("not connected to Redis yet")

// connectError is a connection that could not be made, for whatever reason: always an outage.
type connectError struct{ cause error }

func (e *connectError) Error() string { return "cannot connect to Redis: " + describe(e.cause) }
func (e *connectError) Unwrap() error { return e.cause }

// link holds the client. There may be none: at the start with Redis away the library gives none,
// and it must not keep the gateway from starting.
type link struct {
	option  rueidis.ClientOption
	log     zerolog.Logger
	metrics *telemetry.Metrics

	client  atomic.Pointer[rueidis.Client]
	refused atomic.Pointer[connectError] // the last connection that could not be made

	mu       sync.Mutex // connecting
	closed   bool
	problem  string    // the last one logged, so that an outage is not a line every 250 ms
	replaced time.Time // when the client was last given up
	demoted  atomic.Bool
}

// newLink prepares a connection and makes none. An error is one of the configuration: files of TLS
// that cannot be read.
func newLink(cfg config.Redis, opts Options, invalidated func([]rueidis.RedisMessage)) (*link, error) {
	option := rueidis.ClientOption{
		InitAddress:       cfg.Addresses,
		ClientName:        "gatehouse",
		SelectDB:          cfg.DB,
		Dialer:            net.Dialer{Timeout: min(cfg.Timeout, maxDialTimeout), KeepAlive: keepAlive},
		ConnWriteTimeout:  connWriteTimeout,
		RingScaleEachConn: ringScale,
		RetryDelay:        retryOnce,
		OnInvalidations:   invalidated,
	}
	if cfg.Username != "" || cfg.Password != "" || cfg.PasswordFile != "" {
		option.AuthCredentialsFn = credentials(cfg)
	}
	if cfg.TLS.Enabled {
		var err error
		if option.TLSConfig, err = redisTLS(cfg); err != nil {
			return nil, err
		}
	}
	return &link{option: option, log: opts.Log, metrics: opts.Metrics}, nil
}

func retryOnce(attempts int, _ rueidis.Completed, _ error) time.Duration {
	if attempts > 1 {
		return -1
	}
	return retryDelay
}

// credentials reads the password file at each new connection: a password that is rotated needs no restart.
func credentials(cfg config.Redis) func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	return func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
		password := cfg.Password.Reveal()
		if cfg.PasswordFile != "" {
			text, err := os.ReadFile(cfg.PasswordFile)
			if err != nil {
				return rueidis.AuthCredentials{}, fmt.Errorf("redis.password_file: %w", err)
			}
			password = strings.TrimRight(string(text), "\r\n")
		}
		return rueidis.AuthCredentials{Username: cfg.Username, Password: password}, nil
	}
}

func redisTLS(cfg config.Redis) (*tls.Config, error) {
	// The library dials several addresses with one configuration; an empty name means each one's own.
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.TLS.ServerName}
	if cfg.TLS.CAFile != "" {
		pem, err := os.ReadFile(cfg.TLS.CAFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls.ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis.tls.ca_file: %s holds no PEM certificate", cfg.TLS.CAFile)
		}
	}
	if cfg.TLS.CertFile != "" || cfg.TLS.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls.cert_file and key_file: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

// get gives the client, or why there is none.
func (l *link) get() (rueidis.Client, error) {
	if c := l.client.Load(); c != nil {
		return *c, nil
	}
	if err := l.refused.Load(); err != nil {
		return nil, err
	}
	return nil, errNotConnected
}

// ensure connects if there is no client yet, or if the one there is must be given up.
// It takes a while when Redis does not answer: it is for the prober and the start.
func (l *link) ensure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return rueidis.ErrClosing
	}
	old := l.client.Load()
	if old != nil && (!l.demoted.Load() || time.Since(l.replaced) < replaceEvery) {
		return nil
	}
	l.replaced = time.Now()
	c, err := l.connect()
	if err != nil {
		l.complain(err)
		refused := &connectError{cause: err}
		l.refused.Store(refused)
		return refused
	}
	l.problem = ""
	l.demoted.Store(false)
	l.client.Store(&c)
	if old != nil {
		(*old).Close()
	}
	return nil
}

// connect decides between one node and a Cluster by asking the node, which the library does.
// Services without client tracking get a client without cache: slower, and right.
func (l *link) connect() (rueidis.Client, error) {
	c, err := newClient(l.option)
	if errors.Is(err, rueidis.ErrNoCache) {
		l.log.Warn().Str("error", describe(err)).Msg("Redis does not offer client tracking (CLIENT TRACKING, RESP3): sessions are not cached in memory, every request asks Redis")
		l.option.DisableCache = true
		c, err = newClient(l.option)
	}
	if err != nil {
		return nil, err
	}
	l.metrics.SessionCache(!l.option.DisableCache)
	return c, nil
}

// newClient gives a client or an error, never both: with ForceSingleClient the library gives a
// client that connects later together with the error, and we connect later ourselves.
func newClient(option rueidis.ClientOption) (rueidis.Client, error) {
	c, err := rueidis.NewClient(option)
	if err != nil {
		if c != nil {
			c.Close()
		}
		return nil, err
	}
	return c, nil
}

func (l *link) complain(err error) {
	if text := describe(err); text != l.problem {
		l.problem = text
		l.log.Error().Strs("addresses", l.option.InitAddress).Str("error", text).Msg("cannot connect to Redis, trying on")
	}
}

// demote asks for a new connection: Redis said that it is a read-only replica. After a failover
// behind one name the old master stays reachable, and nothing but this makes us leave it.
func (l *link) demote() { l.demoted.Store(true) }

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if c := l.client.Swap(nil); c != nil {
		(*c).Close()
	}
}
