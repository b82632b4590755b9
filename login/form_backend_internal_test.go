package login

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// countedLimits are shared limits that count how often they are asked.
type countedLimits struct{ asked atomic.Int32 }

func (c *countedLimits) Take(context.Context, string, float64, int) (time.Duration, bool, error) {
	c.asked.Add(1)
	return 0, true, nil
}

// L05: when as many logins are on their way as can get their turn, the next is refused at once and costs no
// question to Redis. One whose body is still on its way keeps nobody out.
func TestPlaces(t *testing.T) {
	t.Parallel()
	h, b, _ := newHashing(t, 1)
	limits := new(countedLimits)
	h.deps.Limits = limits
	post := func(body io.Reader) int {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/login", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Login(w, r)
		return w.Code
	}
	const form = "account=a&password=b"
	slow, finish := io.Pipe()
	slowly := make(chan int)
	go func() { slowly <- post(slow) }()
	fmt.Fprint(finish, form) // it is being read now
	if len(b.places) != 0 {
		t.Errorf("a login that is still being sent has taken a place")
	}
	for range cap(b.places) {
		b.places <- struct{}{}
	}
	before := limits.asked.Load()
	b.refusing <- struct{}{} // another refusal is being written
	refused := make(chan int)
	go func() { refused <- post(strings.NewReader(form)) }()
	select {
	case code := <-refused:
		t.Errorf("two refusals at once: %d", code)
	case <-time.After(20 * time.Millisecond):
	}
	<-b.refusing
	if code := <-refused; code != http.StatusServiceUnavailable || len(b.refusing) != 0 {
		t.Errorf("one login too many: %d, and %d refusals are being written", code, len(b.refusing))
	}
	if n := limits.asked.Load() - before; n != 0 {
		t.Errorf("it cost %d questions", n)
	}
	finish.Close()
	if code := <-slowly; code != http.StatusServiceUnavailable {
		t.Errorf("the slow login, when all places are taken: %d", code)
	}
	for range cap(b.places) {
		<-b.places
	}
	if code := post(strings.NewReader(form)); code != http.StatusUnauthorized || len(b.places) != 0 {
		t.Errorf("when there is room again: %d, and %d places are still taken", code, len(b.places))
	}
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

// A client that does not read its refusal holds up the next one for a while, and no more.
func TestARefusalThatIsNotReadHoldsUpNobody(t *testing.T) {
	t.Parallel()
	h, b, _ := newHashing(t, 1)
	b.wait = 10 * time.Millisecond
	for range cap(b.places) {
		b.places <- struct{}{}
	}
	b.refusing <- struct{}{} // is never read
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("account=a&password=b"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answered := make(chan struct{})
	go func() { h.Login(w, r); close(answered) }()
	select {
	case <-answered:
	case <-time.After(30 * time.Second):
		t.Fatal("no answer")
	}
	if w.Code != http.StatusServiceUnavailable || len(b.refusing) != 1 {
		t.Errorf("%d, and %d refusals are being written", w.Code, len(b.refusing))
	}
}
