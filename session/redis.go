package session

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/config"
	"gatehouse/telemetry"

	"github.com/redis/rueidis"
	"github.com/rs/zerolog"
)

// Clock tells the time. time.Now, except in tests.
type Clock = func() time.Time

// Options are what stores and the manager take beside their configuration. The zero value works.
type Options struct {
	// Clock is time.Now when nil.
	Clock Clock
	Log   zerolog.Logger
	// Metrics may be nil.
	Metrics *telemetry.Metrics
	// Apart: this process answers no requests. It follows the state of the migration, and does nothing that
	// belongs to it: who only looks, with a file that says done, must end nobody's session.
	Apart bool
	// CacheSize bounds, in bytes, what a store keeps of sessions in this process's memory. 0 is config.DefaultCacheSize.
	CacheSize config.Size
	// cacheFull is what Shared stores call both; nil for a store by itself.
	cacheFull func()
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}

// RedisStore keeps sessions in Redis: one node, or a Cluster.
type RedisStore struct {
	link      *link
	breaker   *breaker
	keys      keyspace
	scripts   scripts
	known     *knownSessions
	deadlines *deadlines
	clock     Clock
	embedded  *embedded // nil with a real Redis

	changed chan Key // sessions to read again
	// listeners hear of changes without the way through known and changed, which both are bounded.
	listeners listeners
	// invalidations counts what invalidated was told, for Find to notice one that came between
	// Redis's answer and its keeping.
	invalidations atomic.Uint64
	// stepTime is eachTimeout for the steps of a walk; tests have a shorter one.
	stepTime time.Duration
	stop     chan struct{}
	running  sync.WaitGroup
	once     sync.Once
}

var _ Store = (*RedisStore)(nil)

// generationTTL is how long a revocation of all sessions is remembered for logins that began
// before it. No login lasts that long.
const generationTTL = 24 * time.Hour

// needRounds bounds how often a script is called again because sessions came up meanwhile whose
// keys it was not given. Each round means that another call got through.
const needRounds = 64

// maxChanged bounds the sessions that wait to be read again after a change.
const maxChanged = 1024

// Open connects to Redis, or starts the embedded one. That Redis is away is no error here: calls
// return ErrUnavailable until the store has connected by itself. An error is one of the
// configuration. ctx bounds nothing but the start.
func Open(ctx context.Context, cfg config.Redis, opts Options) (*RedisStore, error) {
	opts = opts.withDefaults()
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	forReplies, forRecords := splitCache(opts.CacheSize)
	full := opts.tellFull()
	kept := newReplies(forReplies, usage{partReplies, opts.Metrics, full})
	s := &RedisStore{
		keys: keyspace{prefix: cfg.KeyPrefix}, scripts: newScripts(), known: newKnownSessions(forRecords, usage{partRecords, opts.Metrics, full}),
		deadlines: newDeadlines(cfg.Timeout), clock: opts.Clock, changed: make(chan Key, maxChanged), stop: make(chan struct{}),
		stepTime: eachTimeout,
	}
	s.known.dropReply = kept.drop
	s.breaker = newBreaker(func(away bool, cause error) { noteOutage(opts, away, cause) })
	if cfg.Embedded() {
		var err error
		if s.embedded, err = startEmbedded(); err != nil {
			return nil, fmt.Errorf("redis.addresses: embedded: %w", err)
		}
		cfg = s.embedded.connection(cfg)
	}
	var err error
	if s.link, err = newLink(cfg, opts, s.invalidated); err != nil {
		s.embedded.close()
		return nil, err
	}
	s.link.option.NewCacheStoreFn = kept.connection
	if s.embedded != nil {
		s.link.option.DisableCache, s.link.option.ForceSingleClient = true, true
		s.link.option.ClientSetInfo = rueidis.DisableClientSetInfo
	}
	connected := make(chan struct{})
	s.running.Go(func() { s.run(connected) })
	s.running.Go(s.reread)
	s.running.Go(func() { s.watchTracking(&kept.unsure) })
	select {
	case <-connected:
	case <-ctx.Done():
	}
	return s, nil
}

func noteOutage(opts Options, away bool, cause error) {
	opts.Metrics.Outage(away)
	event := telemetry.Audit{Event: telemetry.EventOutageEnd}
	if away {
		event = telemetry.Audit{Event: telemetry.EventOutageBegin, Reason: describe(cause)}
	}
	telemetry.LogAudit(&opts.Log, event)
}

// run makes the first connection and then looks after it: while Redis is away it asks whether it
// is back, and it replaces the connection when Redis turned out to be a replica.
func (s *RedisStore) run(connected chan<- struct{}) {
	if err := s.link.ensure(); err != nil {
		s.breaker.trip(err)
	} else if err := s.ask(); isOutage(err) {
		s.breaker.trip(err)
	}
	close(connected)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		if s.breaker.open.Load() {
			s.breaker.probe(s.connectAndAsk)
		} else if s.link.demoted.Load() {
			_ = s.link.ensure()
		}
	}
}

func (s *RedisStore) connectAndAsk() error {
	if err := s.link.ensure(); err != nil {
		return err
	}
	return s.ask()
}

// ask is the sign of life: a read of a key we use. PING would be answered by a Cluster that is
// down, or to a user who may not read.
func (s *RedisStore) ask() error {
	c, err := s.link.get()
	if err != nil {
		return err
	}
	err = c.Do(s.deadlines.context(), c.B().Get().Key(s.keys.sequence()).Build()).Error()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	return err
}

// client gives the client, or ErrUnavailable at once while Redis is away.
func (s *RedisStore) client() (rueidis.Client, error) {
	if s.breaker.open.Load() {
		return nil, unavailable(errAway)
	}
	c, err := s.link.get()
	if err != nil {
		return nil, unavailable(err)
	}
	return c, nil
}

// failed takes the error of a question that was asked: the breaker learns of it, and the caller
// gets ErrUnavailable, whatever it was. Absence is no error and does not come here.
func (s *RedisStore) failed(err error) error {
	s.breaker.report(err)
	if isReadOnly(err) || withoutTracking(err) {
		s.link.demote()
	}
	return unavailable(withRemedy(err))
}

// withRemedy says what to do about a refusal that does not name what it misses.
func withRemedy(err error) error {
	if isRights(err) {
		return fmt.Errorf("%s: %w", lacksRights, err)
	}
	return err
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// exec runs a script and gives its answer, which is never empty.
func (s *RedisStore) exec(script *rueidis.Lua, keys, args []string) ([]string, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	answer, err := script.Exec(s.deadlines.context(), c, keys, args).AsStrSlice()
	if err == nil && len(answer) == 0 {
		err = fmt.Errorf("a script answered nothing")
	}
	if err != nil {
		return nil, s.failed(err)
	}
	s.breaker.report(nil)
	return answer, nil
}

// invalidated is told by the connection which keys have changed. nil is a lost connection (or
// FLUSHALL): that alone makes no session suspect, serving known sessions through it is the point.
// Nothing in here may wait, answers come on the same connection.
func (s *RedisStore) invalidated(keys []rueidis.RedisMessage) {
	s.invalidations.Add(1)
	for i := range keys {
		name, err := keys[i].ToString()
		if err != nil {
			continue
		}
		id, ok := s.keys.sessionID(name)
		if !ok {
			continue
		}
		if key, ok := s.known.suspect(id); ok {
			select {
			case s.changed <- key:
			default: // the next request reads it
			}
		}
		// After it is suspect, so that who looks now is not served from before.
		s.listeners.tell(id)
	}
}

// reread asks for sessions that have changed, mostly by a renewal, before a request does: it finds
// them in memory, and they are known again should Redis go away.
func (s *RedisStore) reread() {
	for {
		select {
		case <-s.stop:
			return
		case key := <-s.changed:
			_, _ = s.Find(context.Background(), key)
		}
	}
}

// Epoch reads the login sequence.
func (s *RedisStore) Epoch(context.Context) (Epoch, error) {
	c, err := s.client()
	if err != nil {
		return Epoch{}, err
	}
	n, err := c.Do(s.deadlines.context(), c.B().Get().Key(s.keys.sequence()).Build()).AsInt64()
	if err != nil && !rueidis.IsRedisNil(err) {
		return Epoch{}, s.failed(err)
	}
	s.breaker.report(nil)
	return Epoch{redis: n, hasRedis: true}, nil
}

// Ping asks Redis, also while it counts as away.
func (s *RedisStore) Ping(context.Context) error {
	if err := s.ask(); err != nil {
		return unavailable(withRemedy(err))
	}
	return nil
}

// KnownOf gives the IDs of the user's sessions that this process has in memory. It asks nobody.
func (s *RedisStore) KnownOf(userID string) []ID { return s.known.of(userID) }

// Close ends the prober and the connections, and the embedded Redis with its sessions.
func (s *RedisStore) Close() error {
	s.once.Do(func() {
		close(s.stop)
		s.deadlines.close()
		s.link.close()
		s.running.Wait()
		s.embedded.close()
	})
	return nil
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}
