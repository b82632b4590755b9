package login_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

// appSessions is a session manager in memory. Secrets lie open in Sealed; how they are sealed is
// tested in package session.
type appSessions struct {
	mu       sync.Mutex
	records  map[session.ID]*session.Record
	down     bool  // everything fails
	create   error // Create fails
	creating func()
	writes   int
	hold     chan struct{} // ChangeSecrets waits for it
	previous []string      // Login.Previous of every Create
}

// began is the epoch of every login here. It is none that is made up: only a store gives them.
var began = sync.OnceValue(func() session.Epoch {
	store, err := session.Open(context.Background(), config.Redis{Addresses: []string{"embedded"}}, session.Options{})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	if _, err := store.RevokeUser(context.Background(), "u"); err != nil {
		panic(err)
	}
	epoch, err := store.Epoch(context.Background())
	if err != nil || epoch == (session.Epoch{}) {
		panic(err)
	}
	return epoch
})

var errAway = errors.Join(session.ErrUnavailable, errors.New("connection refused"))

func (s *appSessions) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *appSessions) Find(_ context.Context, token string) (session.Session, error) {
	key, ok := session.ParseToken(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return session.Session{}, errAway
	}
	rec := s.records[key.ID]
	if !ok || rec == nil {
		return session.Session{}, session.ErrNotFound
	}
	return session.Session{Record: rec, Source: session.FromStore}, nil
}

func (s *appSessions) Begin(context.Context) (session.Epoch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return session.Epoch{}, errAway
	}
	return began(), nil
}

func (s *appSessions) Create(_ context.Context, l session.Login) (string, *session.Record, error) {
	if s.creating != nil {
		s.creating()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return "", nil, errAway
	}
	if s.create != nil {
		return "", nil, s.create
	}
	if l.Began != began() {
		return "", nil, session.ErrSuperseded
	}
	token := session.NewToken(l.User.ID)
	key, _ := session.ParseToken(token)
	rec := &session.Record{ID: key.ID, User: l.User, Backend: l.Backend, Sealed: l.Secrets, ExpiresAt: time.Now().Add(time.Hour)}
	s.records[key.ID] = rec
	s.previous = append(s.previous, l.Previous)
	if old, ok := session.ParseToken(l.Previous); ok {
		delete(s.records, old.ID)
	}
	return token, rec, nil
}

func (s *appSessions) Revoke(_ context.Context, key session.Key, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, key.ID)
	return nil
}

func (s *appSessions) Secrets(rec *session.Record, _ string) ([]byte, error) {
	if bytes.Equal(rec.Sealed, []byte("broken")) {
		return nil, errors.New("sealed with another key")
	}
	return bytes.Clone(rec.Sealed), nil
}

func (s *appSessions) ChangeSecrets(_ context.Context, token string, change func([]byte) ([]byte, error)) error {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	key, _ := session.ParseToken(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.records[key.ID]
	switch {
	case s.down:
		return errAway
	case rec == nil:
		return session.ErrNotFound
	}
	secrets, err := change(bytes.Clone(rec.Sealed))
	if err != nil || bytes.Equal(secrets, rec.Sealed) {
		return err
	}
	next := *rec
	next.Sealed = secrets
	s.records[key.ID] = &next
	s.writes++
	return nil
}

// only gives the one session there is.
func (s *appSessions) only(t *testing.T) *session.Record {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.records) != 1 {
		t.Fatalf("%d sessions, want 1", len(s.records))
	}
	for _, rec := range s.records {
		return rec
	}
	return nil
}

func (s *appSessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// upstream is a small login.Application: what proxy has, without what proxy tests.
type upstream struct {
	base   string
	client http.Client
	cookie string // the gateway's
	mu     sync.Mutex
	sent   []string
}

func newUpstream(base, cookie string) *upstream {
	u := &upstream{base: base, cookie: cookie}
	u.client.Transport = &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	u.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return u
}

func (u *upstream) Send(ctx context.Context, in *http.Request, method, target string, set http.Header, body []byte) (*http.Response, error) {
	u.mu.Lock()
	u.sent = append(u.sent, method+" "+target)
	u.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, method, u.base+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = in.Header.Clone()
	for name, values := range set {
		if values == nil {
			req.Header.Del(name)
		} else {
			req.Header[name] = values
		}
	}
	resp, err := u.client.Do(req)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // not its cause, which not every transport tells
	}
	return resp, err
}

func (u *upstream) Fail(w http.ResponseWriter, _ *http.Request, err error) {
	status := http.StatusBadGateway
	if errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusGatewayTimeout
	}
	http.Error(w, "the application failed", status)
}

func (u *upstream) Relay(w http.ResponseWriter, _ *http.Request, resp *http.Response) {
	for name, values := range resp.Header {
		for _, v := range values {
			w.Header().Add(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
	if len(resp.Trailer) > 0 {
		_ = http.NewResponseController(w).Flush()
	}
	for name, values := range resp.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
}

func (u *upstream) count(line string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, s := range u.sent {
		if s == line {
			n++
		}
	}
	return n
}

// FindApp: without a migration there are none.
func (*appSessions) FindApp(context.Context, session.AppToken) (session.Session, error) {
	return session.Session{}, session.ErrNotFound
}
