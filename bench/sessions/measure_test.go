package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"gatehouse/config"
	"gatehouse/session"
	"gatehouse/telemetry"

	"github.com/redis/rueidis"
	"github.com/rs/zerolog"
)

// Of the sessions made, each user has two, but for those whose sessions are listed and ended together.
const (
	usualSessions = 2
	manySessions  = 10
	minSessions   = 100
)

// setting is how it is measured.
type setting struct {
	samples, workers int
	cache            config.Size
}

// result is what one number of sessions gave. Bytes are for each session.
type result struct {
	Sessions int
	// Redis is used_memory; Tracked what it takes more when a replica keeps every session in memory.
	Redis, Tracked int
	// Heap after a garbage collection and RSS of the replica; Counted is what session.cache_size sees of it.
	Heap, RSS, Counted int
	Operations         map[string]operation
	// Nanoseconds and allocations of one hit, by one caller, in the best of many short runs: the store's, that of
	// a request (token and policy too), and the library's cache alone.
	HitNanoseconds, RequestNanoseconds, BareNanoseconds float64
	HitAllocs, RequestAllocs                            float64
}

// The operations, in the order of the table.
const (
	opHit        = "find, in memory"
	opMiss       = "find, in Redis"
	opAbsent     = "find, no such session"
	opCreate     = "create (login)"
	opTouch      = "touch (renewal)"
	opRevoke     = "revoke one"
	opRevokeUser = "revoke all 10 of a user"
	opList       = "list 10 of a user"
	opGet        = "bare GET, for comparison"
)

var operations = []string{opHit, opMiss, opAbsent, opCreate, opTouch, opRevoke, opRevokeUser, opList, opGet}

// bench is one measurement under way.
type bench struct {
	setting
	result
	addr     string
	sessions []made
	users    int // that have manySessions; their sessions come first
	metrics  *telemetry.Metrics
	store    *session.RedisStore
	manager  *session.Manager
}

// made is a session to find again.
type made struct {
	token string
	user  string
}

func measure(addr string, n int, s setting) (result, error) {
	b := &bench{setting: s, addr: addr, result: result{Sessions: n, Operations: make(map[string]operation)}}
	empty, err := b.redisMemory()
	if err != nil {
		return b.result, err
	}
	if err := b.create(); err != nil {
		return b.result, fmt.Errorf("creating: %w", err)
	}
	full, err := b.redisMemory()
	if err != nil {
		return b.result, err
	}
	b.Redis = (full - empty) / n
	if b.manager, b.store, b.metrics, err = b.replica(s.cache); err != nil {
		return b.result, err
	}
	defer b.manager.Close(context.Background())
	if err := b.fill(); err != nil {
		return b.result, fmt.Errorf("reading: %w", err)
	}
	tracked, err := b.redisMemory()
	b.Tracked = (tracked - full) / n
	return b.result, errors.Join(err, b.find(), b.change())
}

// replica is a gateway's part that knows of sessions.
func (b *bench) replica(cache config.Size) (*session.Manager, *session.RedisStore, *telemetry.Metrics, error) {
	metrics := telemetry.NewMetrics()
	opts := session.Options{Log: zerolog.New(io.Discard), Metrics: metrics, CacheSize: cache}
	store, err := session.Open(context.Background(), config.Redis{Addresses: []string{b.addr}, Timeout: 10 * time.Second}, opts)
	if err != nil {
		return nil, nil, nil, err
	}
	cfg := config.Session{Idle: 168 * time.Hour, Absolute: 720 * time.Hour, MaxPerUser: 20, AtLimit: config.EvictOldest}
	return session.NewManager(store, cfg, config.Outage{ServeKnownFor: time.Minute}, opts), store, metrics, store.Ping(context.Background())
}

// create makes the sessions through a replica of its own, which is then gone.
func (b *bench) create() error {
	manager, _, _, err := b.replica(config.MiB)
	if err != nil {
		return err
	}
	defer manager.Close(context.Background())
	b.sessions = make([]made, b.Sessions)
	b.users = min(b.samples/20, b.Sessions/manySessions/4)
	for i := range b.sessions {
		b.sessions[i].user = fmt.Sprintf("usual-%07d", i/usualSessions)
		if i < b.users*manySessions {
			b.sessions[i].user = fmt.Sprintf("many-%07d", i/manySessions)
		}
	}
	return b.time(opCreate, b.Sessions, b.workers, func(i int) error {
		began, err := manager.Begin(context.Background())
		if err != nil {
			return err
		}
		s := &b.sessions[i]
		s.token, _, err = manager.Create(context.Background(), session.Login{
			User: session.User{ID: s.user, Email: s.user + "@example.com", Name: "Some Body", Role: "member"}, Backend: "file",
			IP: "203.0.113.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Began: began,
		})
		return err
	})
}

// fill reads each session once, and sees what the replica takes for it.
func (b *bench) fill() error {
	heap, rss := memory()
	err := b.time(opMiss, b.Sessions, b.workers, func(i int) error { return b.found(i, session.FromStore) })
	after, rssAfter := memory()
	b.Heap, b.RSS, b.Counted = (after-heap)/b.Sessions, (rssAfter-rss)/b.Sessions, cacheBytes(b.metrics)/b.Sessions
	return err
}

// found finds a session as a request does, and fails when it is not there, another's, or from elsewhere.
func (b *bench) found(i int, from session.Source) error {
	s, err := b.manager.Find(context.Background(), b.sessions[i].token)
	switch {
	case err != nil:
		return err
	case s.User.ID != b.sessions[i].user:
		return fmt.Errorf("a session of %s is %s's", b.sessions[i].user, s.User.ID)
	case s.Source != from:
		return fmt.Errorf("found in %s, not in %s", s.Source, from)
	}
	return nil
}

func (b *bench) find() error {
	key, _ := session.ParseToken(b.sessions[0].token)
	bare, err := bareClient(b.addr)
	if err != nil {
		return err
	}
	defer bare.Close()
	name := "session:{" + string(key.Tag) + "}:" + key.ID.String()
	ctx := context.Background()
	b.HitNanoseconds, b.HitAllocs = best(func() { b.store.Find(ctx, key) })
	b.RequestNanoseconds, b.RequestAllocs = best(func() { b.manager.Find(ctx, b.sessions[0].token) })
	b.BareNanoseconds, _ = best(func() { bare.DoCache(ctx, bare.B().Get().Key(name).Cache(), time.Minute) })
	return errors.Join(
		b.time(opHit, 10*b.samples, cores(), func(int) error { return b.found(rand.IntN(b.Sessions), session.FromCache) }),
		b.time(opAbsent, b.samples, b.workers, func(int) error {
			if _, err := b.manager.Find(ctx, session.NewToken("nobody")); !errors.Is(err, session.ErrNotFound) {
				return fmt.Errorf("a token nobody was given: %w", err)
			}
			return nil
		}),
		b.time(opGet, b.samples, b.workers, func(i int) error {
			return bare.Do(ctx, bare.B().Get().Key(name).Build()).Error()
		}),
	)
}

// change measures what changes sessions, each on its own ones. What goes first does not make the last of them fewer.
func (b *bench) change() error {
	ctx := context.Background()
	many := b.users * manySessions
	n := min(b.samples, (b.Sessions-many)/2)
	var ended sync.Map
	return errors.Join(
		b.time(opTouch, n, b.workers, func(i int) error {
			key, _ := session.ParseToken(b.sessions[many+i].token)
			f, err := b.store.Find(ctx, key)
			if err != nil {
				return err
			}
			next := f.Record.Clone()
			next.LastAccessed = next.LastAccessed.Add(time.Hour)
			return b.store.Replace(ctx, f.Record, next, time.Hour)
		}),
		b.time(opRevoke, n, b.workers, func(i int) error {
			s := b.sessions[many+n+i]
			key, _ := session.ParseToken(s.token)
			ended.Store(s.token, true)
			return b.manager.Revoke(ctx, key, s.user)
		}),
		b.time(opList, b.users, b.workers, func(i int) error {
			all, err := b.manager.List(ctx, b.sessions[i*manySessions].user)
			if err == nil && len(all) != manySessions {
				err = fmt.Errorf("%d sessions are listed", len(all))
			}
			return err
		}),
		b.time(opRevokeUser, b.users, b.workers, func(i int) error {
			ended, err := b.manager.RevokeUser(ctx, b.sessions[i*manySessions].user)
			if err == nil && ended != manySessions {
				err = fmt.Errorf("%d sessions have ended", ended)
			}
			return err
		}),
		b.refused(&ended),
	)
}

// refused looks whether what has ended has ended: a quick answer that is wrong is worth nothing.
func (b *bench) refused(ended *sync.Map) (err error) {
	ended.Range(func(token, _ any) bool {
		if _, found := b.manager.Find(context.Background(), token.(string)); !errors.Is(found, session.ErrNotFound) {
			err = fmt.Errorf("a revoked session is answered with %v", found)
		}
		return err == nil
	})
	return err
}

func bareClient(addr string) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true})
}
