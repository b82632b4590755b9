package login

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/session"
)

// VaultSessions is what the vault needs of *session.Manager.
type VaultSessions interface {
	// Secrets opens what the record has sealed; nil when there is nothing.
	Secrets(rec *session.Record, token string) ([]byte, error)
	// ChangeSecrets replaces the secrets, calling change again when somebody else was faster. An error
	// of change ends it and is returned. session.ErrNotFound, session.ErrUnavailable.
	ChangeSecrets(ctx context.Context, token string, change func(old []byte) ([]byte, error)) error
}

// Vault keeps the application's own cookies in the session, sealed, and replays them to the
// application, so that a stolen browser profile or a script has none of them, and ending the session
// ends what they are good for (I07). It is safe for concurrent use.
//
// Which cookies belong to it is decided when the application sets them: those marked HttpOnly, or
// those the config names. Once a name was in a session's vault it stays the vault's for that session,
// because applications delete cookies without repeating HttpOnly, and because a cookie of that name
// that the browser sends can only be an old one or somebody's forgery.
//
// Knowingly accepted: Domain is not compared with the host. What an application sets for a whole
// domain goes back to the application alone.
type Vault struct {
	cfg      config.Vault
	sessions VaultSessions
	log      zerolog.Logger
	clock    func() time.Time
	states   *lru.Cache[session.ID, *vaultState]
	making   sync.Mutex // guards adding to states
}

const (
	// maxStates bounds how many sessions' opened jars are held in memory, about 1 KiB each.
	maxStates = 1 << 14
	// freshFor is how long a jar this replica has written goes before an older one that is read:
	// Redis's invalidations arrive within it even over a half-open connection.
	freshFor = time.Minute
	// retryEvery is how often a session's unsaved changes are tried again while Redis is away.
	retryEvery = time.Second
)

// NewVault makes a vault. clock is time.Now when nil.
func NewVault(cfg config.Vault, sessions VaultSessions, log zerolog.Logger, clock func() time.Time) *Vault {
	if clock == nil {
		clock = time.Now
	}
	v := &Vault{cfg: cfg, sessions: sessions, log: log, clock: clock}
	states, err := lru.NewWithEvict(maxStates, v.evicted)
	if err != nil {
		panic(err) // only a size below one is refused
	}
	v.states = states
	return v
}

// Outgoing gives the Cookie header for a request to the application: what the client sent (the
// gateway's cookie already cut, several headers joined by "; "), without cookies of names the vault
// owns, and then the vault's own that match path. All of it is byte for byte what client and
// application sent. The error is that of opening the session's secrets; then the header must not be
// used.
func (v *Vault) Outgoing(rec *session.Record, token, path, client string) (string, error) {
	if rec == nil || len(rec.Sealed) == 0 && !v.states.Contains(rec.ID) {
		return client, nil
	}
	s := v.state(rec.ID)
	if s.due(v.clock()) {
		v.retry(rec, token, s)
	}
	j, err := v.current(s, rec, token)
	if err != nil {
		return "", err
	}
	return j.header(path, client, v.clock()), nil
}

// Incoming takes the Set-Cookie lines that belong to the vault out of an answer's header h and keeps
// what they say in the session. Whatever error it returns, none of them is left in h.
//
// With session.ErrUnavailable the change is kept in memory, used by this replica at once, and
// written when the store is back. ErrJarFull: a cookie did not fit and is lost. A session that has
// ended meanwhile is no error.
func (v *Vault) Incoming(ctx context.Context, rec *session.Record, token, path string, h http.Header) error {
	if len(h["Set-Cookie"]) == 0 || rec == nil {
		return nil
	}
	s := v.state(rec.ID)
	j, openErr := v.current(s, rec, token)
	if openErr != nil {
		j = &jar{}
	}
	changes := changesOf(v.take(h, j), path)
	if len(changes) == 0 || openErr != nil {
		return openErr
	}
	next, full := j.apply(changes, v.clock())
	if next == j {
		return full
	}
	return errors.Join(full, v.save(ctx, rec, token, s, changes))
}

// Collect is for login: it takes the Set-Cookie lines that belong to the vault out of h and returns
// them as the jar to give to session.Login.Secrets, with the names in it. No jar when there are none.
func (v *Vault) Collect(path string, h http.Header) (secrets []byte, names []string) {
	j := &jar{}
	j, err := j.apply(changesOf(v.take(h, j), path), v.clock())
	if err != nil {
		v.log.Error().Err(err).Msg("a cookie of the application is lost")
	}
	if len(j.owned) == 0 {
		return nil, nil
	}
	secrets, err = j.encode()
	if err != nil {
		v.log.Error().Err(err).Msg("the application's cookies are lost")
		return nil, nil
	}
	return secrets, slices.Clone(j.owned)
}

// Forget drops what is held in memory for sessions that have ended; for session.Manager.OnEnd.
func (v *Vault) Forget(ids []session.ID) {
	for _, id := range ids {
		if s, ok := v.states.Peek(id); ok {
			s.clear()
			v.states.Remove(id)
		}
	}
}

// take removes the lines from h that belong to the vault, given what the jar owns, and returns them.
func (v *Vault) take(h http.Header, j *jar) []setCookie {
	var taken []setCookie
	var kept []string
	now := v.clock()
	owned := slices.Clone(j.owned)
	for _, line := range h["Set-Cookie"] {
		c := parseSetCookie(line, now)
		if !v.keeps(c) && !slices.Contains(owned, c.name) {
			kept = append(kept, line)
			continue
		}
		if c.broken || c.name == "" {
			continue // no cookie: browsers differ on what to make of it, and none needs it
		}
		taken = append(taken, c)
		// A line may set what a later one of the same answer deletes without saying HttpOnly.
		if !slices.Contains(owned, c.name) {
			owned = append(owned, c.name)
		}
	}
	if len(kept) == 0 {
		h.Del("Set-Cookie")
	} else {
		h["Set-Cookie"] = kept
	}
	return taken
}

// keeps decides by the config alone. A line with control characters belongs to the vault whenever
// there is one: what stands behind such a character is read differently by each browser.
func (v *Vault) keeps(c setCookie) bool {
	if v.cfg.HTTPOnly && (c.httpOnly || c.broken) {
		return true
	}
	return slices.Contains(v.cfg.Names, c.name)
}

func changesOf(taken []setCookie, path string) []change {
	changes := make([]change, 0, len(taken))
	for _, c := range taken {
		changes = append(changes, changeOf(c, path))
	}
	return changes
}

// state gives the session's state, new if there is none.
func (v *Vault) state(id session.ID) *vaultState {
	if s, ok := v.states.Get(id); ok {
		return s
	}
	v.making.Lock()
	defer v.making.Unlock()
	if s, ok := v.states.Get(id); ok {
		return s
	}
	s := &vaultState{}
	v.states.Add(id, s)
	return s
}

func (v *Vault) evicted(id session.ID, s *vaultState) {
	if n := s.unsaved(); n > 0 {
		v.log.Error().Str("session", id.Short()).Int("cookies", n).
			Msg("changes of the application's cookies were lost: Redis has been away, and too many sessions wait for it")
	}
}

// current is the newest jar of the session that this replica knows: the record's, or the one it
// wrote a moment ago (the record may still come from a cache that has not heard of it), with the
// changes that are not saved yet.
func (v *Vault) current(s *vaultState, rec *session.Record, token string) (*jar, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &jar{}
	if len(rec.Sealed) > 0 {
		if s.opened == nil || !sameBytes(s.sealed, rec.Sealed) {
			secrets, err := v.sessions.Secrets(rec, token)
			if err != nil {
				return nil, err
			}
			opened, err := decodeJar(secrets)
			if err != nil {
				return nil, err
			}
			s.sealed, s.opened = rec.Sealed, opened
		}
		j = s.opened
	}
	now := v.clock()
	if s.written != nil && s.written.version > j.version && now.Before(s.freshUntil) {
		j = s.written
	}
	if len(s.queue) > 0 {
		j, _ = j.apply(s.pending(), now) // what does not fit was reported when it came
	}
	return j, nil
}

// sameBytes is quick for the same slice, which a cached record is. That is sound because records
// are never changed and the state keeps the slice alive.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}
