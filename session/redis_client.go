package session

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
type connectError struct {
	cause error
	// sentinel: it was looked for by its sentinels, any of which may be meant by the cause. plain: without TLS.
	sentinel, plain bool
}

func (e *connectError) Error() string {
	text := "cannot connect to Redis: " + describe(e.cause)
	if e.sentinel && (isAuth(e.cause) || isRights(e.cause)) {
		text += "; if it is a sentinel that refuses, redis.sentinel.username and password_file, for they have users of their own"
	}
	if e.plain && (errors.Is(e.cause, io.EOF) || errors.Is(e.cause, syscall.ECONNRESET)) {
		text += "; if Redis speaks nothing but TLS there, set redis.tls.enabled: true"
	}
	return text
}

func (e *connectError) Unwrap() error { return e.cause }

// link holds the client. There may be none: at the start with Redis away the library gives none,
// and it must not keep the gateway from starting.
type link struct {
	option  rueidis.ClientOption
	where   string // for logs
	log     zerolog.Logger
	metrics *telemetry.Metrics

	client  atomic.Pointer[rueidis.Client]
	caching atomic.Pointer[rueidis.Client] // the same, as long as it keeps answers
	refused atomic.Pointer[connectError]   // the last connection that could not be made

	mu     sync.Mutex // connecting
	closed bool
	// problems that have been logged, without figures, which differ each time: an outage is not a line every 250 ms.
	problems map[string]bool
	uncached bool      // that there is no cache has been logged
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
	if who := ofRedis(cfg); !who.none() {
		option.AuthCredentialsFn = func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) { return who.read() }
	}
	if cfg.TLS.Enabled {
		var err error
		if option.TLSConfig, err = redisTLS(cfg); err != nil {
			return nil, err
		}
	}
	if cfg.Sentinel.Enabled() {
		bySentinel(&option, cfg)
	}
	return &link{option: option, where: cfg.Where(), problems: make(map[string]bool), log: opts.Log, metrics: opts.Metrics}, nil
}

// retryOnce repeats no question whose connection could not be made in time: that of a hung Redis would cost twice
// the timeout.
func retryOnce(attempts int, _ rueidis.Completed, err error) time.Duration {
	var slow net.Error
	if attempts > 1 || errors.As(err, &slow) && slow.Timeout() {
		return -1
	}
	return retryDelay
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
	c, cached, err := l.connect()
	if err != nil {
		if l.option.TLSConfig != nil && isUnclear(err) {
			err = l.diagnose(err)
		}
		refused := &connectError{cause: err, sentinel: l.option.Sentinel.MasterSet != "", plain: l.option.TLSConfig == nil}
		l.complain(refused)
		l.refused.Store(refused)
		return refused
	}
	clear(l.problems)
	l.demoted.Store(false)
	if l.caching.Store(nil); cached {
		l.caching.Store(&c)
	}
	l.client.Store(&c)
	if old != nil {
		(*old).Close()
	}
	return nil
}

// connect decides between one node and a Cluster by asking the node, which the library does.
// Each connect tries for the cache again: it may be another Redis by now.
func (l *link) connect() (_ rueidis.Client, cached bool, _ error) {
	cached = !l.option.DisableCache
	c, err := newClient(l.option)
	if err == nil && cached {
		if err = tracks(c); err != nil {
			c.Close()
		}
	}
	if withoutTracking(err) {
		cached = false
		l.tellUncached(err)
		c, err = plainClient(l.option)
	}
	if err != nil {
		return nil, false, err
	}
	l.uncached = l.uncached && !cached
	l.metrics.SessionCache(cached)
	return c, cached, nil
}

func (l *link) tellUncached(err error) {
	if !l.uncached {
		l.uncached = true
		l.log.Warn().Str("error", describe(err)).Msg("Redis does not offer client tracking (CLIENT TRACKING and CACHING, RESP3): sessions are not cached in memory, every request asks Redis")
	}
}

// newClient gives a client or an error, never both: with ForceSingleClient the library gives a
// client that connects later together with the error, and we connect later ourselves.
func newClient(option rueidis.ClientOption) (rueidis.Client, error) {
	made := &conns{open: make(map[*conn]struct{})}
	option.DialCtxFn = made.dial
	c, err := rueidis.NewClient(option)
	if err != nil {
		if c != nil {
			c.Close()
		}
		made.close()
		return nil, err
	}
	return client{c, made}, nil
}

func (l *link) complain(err *connectError) {
	text := err.Error()
	kind := strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return -1
		}
		return c
	}, text)
	if !l.problems[kind] {
		l.problems[kind] = true
		l.log.Error().Str("redis", l.where).Str("error", text).Msg("no connection to Redis, trying on")
	}
}

// demote asks for a new connection: Redis said that it is a read-only replica, or that it offers no client tracking
// any more. After a failover behind one name the old master stays reachable, and nothing but this makes us leave it.
func (l *link) demote() { l.demoted.Store(true) }

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if c := l.client.Swap(nil); c != nil {
		(*c).Close()
	}
}
