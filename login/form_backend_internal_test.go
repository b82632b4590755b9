package login

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// upSessions can begin a login and nothing else.
type upSessions struct{ Sessions }

func (upSessions) Begin(context.Context) (session.Epoch, error) { return session.Epoch{}, nil }

func newHashing(t *testing.T, atOnce int) (*Handler, *formBackend, *telemetry.Metrics) {
	t.Helper()
	p, err := pages.New(config.Pages{})
	if err != nil {
		t.Fatal(err)
	}
	metrics := telemetry.NewMetrics()
	h, err := NewHandler(config.Login{
		Path: "/login", LogoutPath: "/logout", File: config.LoginFile{Path: filepath.Join(t.TempDir(), "users.yaml")},
		Limits: config.LoginLimits{Burst: 1000, MaxConcurrentHashes: atOnce},
	}, Deps{Sessions: upSessions{}, Pages: p, Metrics: metrics, Log: zerolog.Nop(), Cookies: session.NewCookies(config.Cookie{}, time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, h.backend.(*formBackend), metrics
}

func TestHashesAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("L05_never_more_at_once", func(t *testing.T) {
		t.Parallel()
		_, b, _ := newHashing(t, 2)
		b.wait = time.Minute
		var running, most atomic.Int32
		slow := func() {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(2 * time.Millisecond)
			running.Add(-1)
		}
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				if err := b.turn(t.Context(), slow); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 2 {
			t.Errorf("%d hashes at once, want 2", most.Load())
		}
	})
	t.Run("L05_wait_briefly_then_503", func(t *testing.T) {
		t.Parallel()
		h, b, metrics := newHashing(t, 1)
		b.wait = 20 * time.Millisecond
		b.hashing <- struct{}{} // somebody's password is being hashed, for ever
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("account=a&password=b"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Login(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		m := httptest.NewRecorder()
		metrics.Handler().ServeHTTP(m, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		for _, line := range []string{`gatehouse_limited_total{limit="hashes"} 1`, `gatehouse_logins_total{backend="file",outcome="busy"} 1`} {
			if !strings.Contains(m.Body.String(), line) {
				t.Errorf("metrics lack %s", line)
			}
		}
		<-b.hashing
		hashed := false
		if err := b.turn(t.Context(), func() { hashed = true }); err != nil || !hashed {
			t.Errorf("when the other one is done: hashed %v, %v", hashed, err)
		}
	})
	t.Run("L05_gone_clients_wait_no_longer", func(t *testing.T) {
		t.Parallel()
		_, b, _ := newHashing(t, 1)
		b.wait = time.Minute
		b.hashing <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.turn(ctx, nil); !errors.Is(err, ErrBusy) {
			t.Errorf("%v", err)
		}
	})
}

func TestJudgeKnowsEveryError(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for err, status := range map[error]int{
		ErrBadCredentials:                 401,
		session.ErrSuperseded:             401,
		&LimitError{Limit: "address"}:     429,
		&RequestError{Status: 415}:        415,
		ErrCrossSite:                      403,
		ErrBusy:                           503,
		session.ErrLimit:                  409,
		session.ErrUnavailable:            503,
		database.ErrUnavailable:           503,
		errAccounts:                       503,
		refusal{reasonDisabled}:           401,
		ErrApp:                            502,
		errors.New("login: out of paper"): 500,
	} {
		o := judge(errors.Join(err, errors.New("xyzzy")))
		if o.status != status || o.code == "" || o.message == "" || o.metric == "" || strings.Contains(o.message, "xyzzy") {
			t.Errorf("%v: %+v", err, o)
		}
		seen[o.metric] = true
	}
	for _, metric := range []string{"bad_credentials", "bad_request", "limited", "busy", "cross_site", "too_many_sessions", "superseded", "unavailable", "app_failed"} {
		if !seen[metric] {
			t.Errorf("no error counts as %s", metric)
		}
	}
}

// FindApp: without a migration there are none.
func (upSessions) FindApp(context.Context, session.AppToken) (session.Session, error) {
	return session.Session{}, session.ErrNotFound
}
