package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/fault"
	"gatehouse/telemetry"
)

// Login is what a login backend has found out, and the request it was.
type Login struct {
	User User
	// Backend that vouched for the user: file, app or database.
	Backend   string
	IP        string
	UserAgent string
	// Secrets are sealed into the session under a key only the browser's token gives. May be empty.
	Secrets []byte
	// Previous is the token the browser sent with the login, if any. Its session ends: it is never
	// taken over, so a token somebody planted before the login is worth nothing after it (S03).
	Previous string
	// PreviousApp is the same for the application's cookie, while sessions move.
	PreviousApp AppToken
	// Began is the epoch of [Manager.Begin].
	Began Epoch
}

// Create makes a session with a new token, always. ErrUnavailable; ErrSuperseded when all sessions
// of the user were revoked since Began; ErrLimit when the user has as many as allowed and the policy is
// to refuse; ErrTooLarge; ErrInvalidUser. With an error there is no session that anybody has the
// token of, and the previous one is as it was, unless the store's confirmation got lost.
func (m *Manager) Create(ctx context.Context, l Login) (token string, rec *Record, err error) {
	if !validUserID(l.User.ID) {
		return "", nil, ErrInvalidUser
	}
	token = m.newToken(l)
	key, _ := ParseToken(token)
	now := m.clock().UTC().Truncate(time.Millisecond)
	if rec, err = m.newRecord(l, token, key, now); err != nil {
		return "", nil, err
	}
	opts := CreateOptions{
		Began: l.Began, TTL: m.policy.ttl(rec, now), MaxPerUser: m.maxPerUser, RejectAtLimit: m.rejectAtLimit,
	}
	previous, previousUser, err := m.previous(ctx, l)
	if err != nil {
		return "", nil, err
	}
	if previousUser == l.User.ID {
		// In the same step, so that the one frees the place of the other.
		opts.Replaces = previous.ID
	}
	ended, err := m.store.Create(ctx, rec, opts)
	if err != nil {
		if errors.Is(err, ErrUnavailable) {
			// It may exist all the same, only its confirmation was lost. Nobody will ever get
			// its token, but it would take a place until it expires.
			m.pending.add(revocation{key: key, userID: l.User.ID, reason: endOrphan, at: now, until: now.Add(opts.TTL)})
		}
		return "", nil, err
	}
	m.ended(ctx, rec, ended, opts.Replaces)
	m.endPreviousApp(ctx, l.PreviousApp)
	if previous != (Key{}) && opts.Replaces.IsZero() {
		fault.Point("login.previous")
		// Unconfirmed is no reason to refuse the login: it is refused here and retried.
		_ = m.revoke(ctx, previous, previousUser, endReplaced)
		m.audit(ctx, telemetry.Audit{Event: telemetry.EventRevoke, UserID: previousUser, Session: previous.ID.Short(), Reason: endReplaced})
	}
	fault.Point("login.created")
	return token, rec, nil
}

// newToken says by its form where the session goes.
func (m *Manager) newToken(l Login) string {
	if store, ok := m.store.(*MigratingStore); ok && store.place(l.User.ID, l.Began) {
		return NewDatabaseToken(l.User.ID)
	}
	return NewToken(l.User.ID)
}

func (m *Manager) newRecord(l Login, token string, key Key, now time.Time) (*Record, error) {
	sealed, err := seal(token, key.ID, l.Secrets)
	if err != nil {
		return nil, err
	}
	u := l.User
	u.Email, u.Name, u.Role = valid(u.Email), valid(u.Name), valid(u.Role)
	return &Record{
		Version: SchemaVersion, ID: key.ID, born: key.Database, User: u, CreatedAt: now, LastAccessed: now,
		ExpiresAt: now.Add(m.policy.absolute).Truncate(time.Millisecond),
		Backend:   l.Backend, IP: valid(l.IP), UserAgent: cutUserAgent(l.UserAgent), Sealed: sealed,
	}, nil
}

// valid replaces what JSON cannot hold, so that the record made is the record read.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// endPreviousApp ends the session of the application's that the browser came with.
func (m *Manager) endPreviousApp(ctx context.Context, app AppToken) {
	if app.IsZero() {
		return
	}
	key := app.Key()
	_ = m.revoke(ctx, key, "", endReplaced) // unconfirmed: refused here and retried
	m.audit(ctx, telemetry.Audit{Event: telemetry.EventRevoke, Session: key.ID.Short(), Reason: endReplaced})
}

func (m *Manager) isMigrating() bool {
	_, ok := m.store.(*MigratingStore)
	return ok
}

// previous gives the session the browser came with and whose it is; no user when there is none.
func (m *Manager) previous(ctx context.Context, l Login) (Key, string, error) {
	key, ok := ParseToken(l.Previous)
	if !ok || m.endings.session(key.ID, m.clock()) {
		return Key{}, "", nil
	}
	if key.Tag == TagOf(l.User.ID) {
		return key, l.User.ID, nil
	}
	// Another user's: its record says in whose index it is.
	found, err := m.store.Find(ctx, key)
	switch {
	case err == nil:
		return key, found.Record.User.ID, nil
	case errors.Is(err, ErrUnavailable) && key.Database && m.isMigrating():
		return key, "", nil // the table is away, and this login may not need it: it is ended without asking whose it is
	case errors.Is(err, ErrUnavailable):
		return Key{}, "", err
	default:
		return Key{}, "", nil
	}
}

// ended tells of the sessions that ended for a new one.
func (m *Manager) ended(ctx context.Context, rec *Record, ids []ID, replaced ID) {
	m.endings.confirm(m.clock(), ids...)
	m.notify(ids)
	evicted := slices.DeleteFunc(slices.Clone(ids), func(id ID) bool { return id == replaced })
	m.metrics.SessionsEnded(endReplaced, len(ids)-len(evicted))
	if len(ids) > len(evicted) {
		m.audit(ctx, telemetry.Audit{Event: telemetry.EventRevoke, UserID: rec.User.ID, Session: replaced.Short(), Reason: endReplaced})
	}
	m.metrics.SessionsEnded(endEvicted, len(evicted))
	for _, id := range evicted {
		m.audit(ctx, telemetry.Audit{
			Event: telemetry.EventEviction, UserID: rec.User.ID, Session: id.Short(), Reason: "max_per_user",
		})
	}
}
