package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"gatehouse/config"
	"gatehouse/internal/fault"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// Manager is what the rest of the gateway knows of sessions: it applies the policy to what the
// [Store] holds. Safe for concurrent use.
type Manager struct {
	store         Store
	policy        policy
	maxPerUser    int
	rejectAtLimit bool
	serveKnownFor time.Duration
	clock         Clock
	log           zerolog.Logger
	metrics       *telemetry.Metrics

	renewals *renewals
	endings  *endings
	pending  *pending
	refresh  *refresher // nil: users are not read again

	mu    sync.Mutex
	onEnd []func(ids []ID)
}

// Session is a live session as it was found for one request.
type Session struct {
	// Record is shared between requests. Clone it to change it.
	*Record
	Source Source
	// Renew: this use of the session prolongs it, and this request's response should send the
	// cookie again, so that the browser keeps it as long.
	Renew bool
	// Token is the gateway's token of a session that was found by the application's: the browser gets it
	// with this request's response. "" when it has it already, or the session is not in Redis yet.
	Token string
}

// NewManager takes the sections of the config that concern it. Close ends what it starts.
func NewManager(store Store, cfg config.Session, outage config.Outage, opts Options) *Manager {
	opts = opts.withDefaults()
	m := &Manager{
		store: store, policy: newPolicy(cfg), maxPerUser: cfg.MaxPerUser, rejectAtLimit: cfg.AtLimit == config.Reject,
		serveKnownFor: outage.ServeKnownFor, clock: opts.Clock, log: opts.Log, metrics: opts.Metrics,
		endings: newEndings(),
	}
	m.renewals = newRenewals(store, m.policy, opts.Metrics)
	m.pending = newPending(m.attempt, opts)
	if both, ok := store.(*MigratingStore); ok {
		both.unended = m.unended
	}
	return m
}

// Find gives the session of a token and prolongs it when that is due, which the caller does not wait for.
//
// ErrNotFound: there is none; also for anything that is not of a token's form, which costs the
// store no question, and for records that cannot be read, which are logged and counted.
// ErrUnavailable: the store is away and the session is not known well enough (config.Outage).
// It says nothing about the session: the browser must keep its cookie.
func (m *Manager) Find(ctx context.Context, token string) (Session, error) {
	key, ok := ParseToken(token)
	if !ok {
		return Session{}, ErrNotFound
	}
	fault.Panic("find.panic")
	now := m.clock()
	s, err := m.look(ctx, key, now)
	if err != nil {
		return s, err
	}
	return m.use(ctx, s, now, now)
}

// FindApp is Find for a session the application made, while sessions move to Redis. Its cookie
// stays with the browser until Session.Token has replaced it. Without a migration there is none.
func (m *Manager) FindApp(ctx context.Context, app AppToken) (Session, error) {
	store, ok := m.store.(*MigratingStore)
	if !ok || app.IsZero() {
		return Session{}, ErrNotFound
	}
	began := m.clock()
	if m.endings.session(app.Key().ID, began) {
		m.metrics.SessionFind("none")
		return Session{}, ErrNotFound // logged out by this cookie, not confirmed yet
	}
	found, token, err := store.FindApp(ctx, app)
	now := m.clock() // after the store's: a row that does not tell when it was used is due just now
	var id ID
	if found.Record != nil {
		id = found.Record.ID
	}
	s, err := m.judge(found, err, id, now)
	if err != nil {
		return Session{}, err
	}
	if s.Source != FromKnown {
		s.Token = token
	}
	return m.use(ctx, s, began, now)
}

// Check is Find by key, for streams that stay open: is the session still alive? It does not count
// as use. It costs a look into memory, so it can be asked often. It does not wait for a user to be read again.
func (m *Manager) Check(ctx context.Context, key Key) (Session, error) {
	now := m.clock()
	s, err := m.look(ctx, key, now)
	if err == nil {
		s.Record = m.refresh.check(s.Record, now)
	}
	return s, err
}

func (m *Manager) look(ctx context.Context, key Key, now time.Time) (Session, error) {
	if m.endings.session(key.ID, now) {
		m.metrics.SessionFind("none")
		return Session{}, ErrNotFound
	}
	found, err := m.store.Find(ctx, key)
	return m.judge(found, err, key.ID, now)
}

// judge applies the policy to what the store has found, or not.
func (m *Manager) judge(found Found, err error, id ID, now time.Time) (Session, error) {
	if err != nil {
		if !errors.Is(err, ErrUnavailable) {
			return Session{}, m.absent(id, err)
		}
		if !m.mayServe(found, now) {
			m.metrics.SessionFind("unavailable")
			return Session{}, err
		}
		found.Source = FromKnown
	}
	if m.policy.expired(found.Record, now) || m.endings.session(id, now) || m.endings.user(found.Record) {
		m.metrics.SessionFind("none")
		return Session{}, ErrNotFound
	}
	m.metrics.SessionFind(string(found.Source))
	return Session{Record: found.Record, Source: found.Source}, nil
}

// alive: neither its time is over, nor has this replica ended it, whatever the store still holds.
func (m *Manager) alive(r *Record, now time.Time) bool {
	return !m.policy.expired(r, now) && !m.endings.session(r.ID, now) && !m.endings.user(r)
}

// absent turns what is no session into ErrNotFound. A record that cannot be read is logged without
// its content.
func (m *Manager) absent(id ID, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		m.metrics.SessionFind("none")
		return ErrNotFound
	}
	m.metrics.SessionFind("corrupt")
	m.log.Error().Str("session", id.Short()).Err(err).Msg("a session's record cannot be read and counts as no session")
	return ErrNotFound
}

// mayServe decides about a session while the store is away: it must have been verified not long ago.
// A clock that was set back makes it no younger.
func (m *Manager) mayServe(found Found, now time.Time) bool {
	return m.serveKnownFor > 0 && found.Record != nil && now.Sub(found.VerifiedAt).Abs() <= m.serveKnownFor
}

// Begin must be called before a login looks at any credential; its epoch goes into [Login].
// ErrUnavailable: nobody can log in now.
func (m *Manager) Begin(ctx context.Context) (Epoch, error) { return m.store.Epoch(ctx) }

// List gives the user's live sessions, oldest first. ErrUnavailable.
func (m *Manager) List(ctx context.Context, userID string) ([]*Record, error) {
	all, err := m.store.List(ctx, userID)
	if err != nil {
		return nil, err
	}
	now := m.clock()
	var live []*Record
	for _, r := range all {
		if m.alive(r, now) {
			live = append(live, r)
		}
	}
	return live, nil
}

// OnEnd has f called with every session this replica ends (logout, replaced, evicted, revoked),
// as soon as this replica refuses it, confirmed by the store or not. f must not wait.
func (m *Manager) OnEnd(f func(ids []ID)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onEnd = append(m.onEnd[:len(m.onEnd):len(m.onEnd)], f)
}

func (m *Manager) notify(ids []ID) {
	if len(ids) == 0 {
		return
	}
	m.mu.Lock()
	all := m.onEnd
	m.mu.Unlock()
	for _, f := range all {
		f(ids)
	}
}

// Stores says of each store that is needed now, redis or database, what is wrong with it, nil if nothing is.
func (m *Manager) Stores(ctx context.Context) map[string]error {
	if both, ok := m.store.(*MigratingStore); ok {
		return both.stores(ctx)
	}
	return map[string]error{"redis": m.store.Ping(ctx)}
}

// Ready says what is wrong with the store, nil if nothing is.
func (m *Manager) Ready(ctx context.Context) error { return m.store.Ping(ctx) }

// Close writes the renewals that wait, tries to get pending revocations confirmed until ctx ends
// (once, if it never does), and closes the store. The error tells what could not be done.
func (m *Manager) Close(ctx context.Context) error {
	m.refresh.close()
	return errors.Join(m.renewals.close(ctx), m.pending.close(ctx), m.store.Close())
}
