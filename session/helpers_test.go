package session_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// gateway is one replica: a manager with its own store, clock, log and metrics.
type gateway struct {
	*session.Manager
	store   *session.RedisStore
	clock   *clock
	log     *buffer
	metrics *telemetry.Metrics

	mu    sync.Mutex
	ended []session.ID
}

// settings are what a test may change of a replica.
type settings struct {
	session config.Session
	redis   config.Redis
	outage  config.Outage
	// down: Redis is not there, or refuses us, when the gateway starts.
	down bool
}

func newGateway(t testing.TB, addr string, change ...func(*settings)) *gateway {
	t.Helper()
	s := settings{
		session: config.Session{Idle: 168 * time.Hour, Absolute: 720 * time.Hour, MaxPerUser: 20, AtLimit: config.EvictOldest},
		// Long, because the tests of many packages share the machine; tests of outages use quick.
		redis:  config.Redis{Addresses: []string{addr}, Timeout: 5 * time.Second},
		outage: config.Outage{ServeKnownFor: time.Minute},
	}
	for _, c := range change {
		c(&s)
	}
	g := &gateway{clock: &clock{}, log: &buffer{}, metrics: telemetry.NewMetrics()}
	opts := session.Options{Clock: g.clock.now, Log: zerolog.New(g.log), Metrics: g.metrics}
	g.store = openConfig(t, s.redis, opts)
	if !s.down {
		connected(t, g.store)
	}
	g.Manager = session.NewManager(g.store, s.session, s.outage, opts)
	g.OnEnd(func(ids []session.ID) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ended = append(g.ended, ids...)
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		g.Close(ctx)
	})
	return g
}

// connected waits until the store works: on a busy machine the first connection may take too long.
func connected(t testing.TB, store *session.RedisStore) {
	t.Helper()
	await(t, "the store to be connected", func() bool {
		_, err := store.Epoch(context.Background())
		return err == nil
	})
}

// quick is the timeout a gateway has in production.
func quick(s *settings) { s.redis.Timeout = 250 * time.Millisecond }

// login makes a session the whole way.
func (g *gateway) login(t testing.TB, user string, change ...func(*session.Login)) (string, *session.Record) {
	t.Helper()
	token, rec, err := g.tryLogin(user, change...)
	if err != nil {
		t.Fatalf("login: %v", err)
	}
	return token, rec
}

func (g *gateway) tryLogin(user string, change ...func(*session.Login)) (string, *session.Record, error) {
	began, err := g.Begin(context.Background())
	if err != nil {
		return "", nil, err
	}
	l := session.Login{User: session.User{ID: user, Email: user + "@example.com"}, Backend: "file", Began: began}
	for _, c := range change {
		c(&l)
	}
	return g.Create(context.Background(), l)
}

// finds fails unless the token's session is found, and gives it.
func (g *gateway) finds(t testing.TB, token string) session.Session {
	t.Helper()
	s, err := g.Find(t.Context(), token)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	return s
}

// refuses fails unless Find says err.
func (g *gateway) refuses(t testing.TB, token string, err error) {
	t.Helper()
	if s, got := g.Find(t.Context(), token); !isError(got, err) {
		t.Fatalf("Find gives %v, %v; want %v", s.Record, got, err)
	}
}

// told gives the sessions that OnEnd told of, and forgets them.
func (g *gateway) told() []session.ID {
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := g.ended
	g.ended = nil
	return ids
}

func keyOf(t testing.TB, token string) session.Key {
	t.Helper()
	key, ok := session.ParseToken(token)
	if !ok {
		t.Fatal("no token")
	}
	return key
}

// clock is the real time, moved.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// buffer is a log that many goroutines write.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// await waits for something that happens elsewhere.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	awaitWithin(t, what, 15*time.Second, done)
}

// awaitWithin gives how long it took.
func awaitWithin(t testing.TB, what string, limit time.Duration, done func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !done() {
		if time.Since(start) > limit {
			t.Fatalf("waited %v for %s", limit, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

// commands gives how often the server has run each of the named commands, inside scripts or not.
func commands(t testing.TB, server *testredis.Server, names ...string) int {
	t.Helper()
	text, err := ptr(server.Do(t, "INFO", "commandstats")).ToString()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, name := range names {
		total += callsOf(text, name)
	}
	return total
}

func callsOf(stats, name string) int {
	_, rest, ok := strings.Cut(stats, "cmdstat_"+name+":calls=")
	if !ok {
		return 0
	}
	digits, _, _ := strings.Cut(rest, ",")
	n, _ := strconv.Atoi(digits)
	return n
}

// metric gives a metric's value by its name and labels as the text format has them; 0 when it is not there.
func (g *gateway) metric(name string) int {
	w := httptest.NewRecorder()
	g.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			f, _ := strconv.ParseFloat(value, 64)
			return int(f)
		}
	}
	return 0
}

const hour = time.Hour

func isError(got, want error) bool { return got != nil && errors.Is(got, want) }

func ptr[T any](v T) *T { return &v }
