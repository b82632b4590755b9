package session_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/session"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// newAppCookie needs no database: reading a cookie asks nobody.
func newAppCookie(t *testing.T, change ...func(*config.Session)) *session.AppCookie {
	t.Helper()
	cfg := config.Default().Session
	for _, c := range change {
		c(&cfg)
	}
	away := config.Database{URL: "postgres://nobody@127.0.0.1:1/none", Timeout: time.Second}
	db, err := database.Open(t.Context(), away, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	table, err := session.OpenDatabase(db, cfg.Database, cfg, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := session.NewAppCookie(table, cfg, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func express(cfg *config.Session) {
	cfg.Database.Preset = config.PresetConnectPgSimple
	cfg.Database.Cookie.Secret = "new secret\nold secret"
}

// signed is a cookie as express-session writes it.
func signed(token, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(token))
	return url.QueryEscape("s:" + token + "." + base64.RawStdEncoding.EncodeToString(mac.Sum(nil)))
}

func TestAppCookieRead(t *testing.T) {
	t.Parallel()
	plain, signedOnly := newAppCookie(t), newAppCookie(t, express)
	good, older, forged := signed("abc", "new secret"), signed("abc", "old secret"), signed("abc", "guessed secret")
	for _, c := range []struct {
		name   string
		cookie *session.AppCookie
		lines  []string
		row    string // "": there is no token
	}{
		{"none", plain, nil, ""},
		{"another's", plain, []string{"xsid=abc; sidx=abc; SID=abc"}, ""},
		{"one", plain, []string{"a=b; sid=abc; c=d"}, "abc"},
		{"white space around it", plain, []string{"a=b;\tsid =  abc ;c=d"}, "abc"},
		{"encoded", plain, []string{`sid=a%2Bb`}, "a+b"},
		{"empty", plain, []string{"sid="}, ""},
		{"no value", plain, []string{"sid"}, ""},
		{"unprintable", plain, []string{"sid=a%00b"}, ""},
		{"not ASCII", plain, []string{"sid=%C3%A9"}, ""},
		{"too long", plain, []string{"sid=" + strings.Repeat("a", 5000)}, ""},
		{"twice the same", plain, []string{"sid=abc; sid=abc"}, "abc"},
		{"twice the same, in two lines", plain, []string{"sid=abc", "sid=abc"}, "abc"},
		{"S01 two that differ", plain, []string{"sid=abc; sid=xyz"}, ""},
		{"S01 two that differ, the other way round", plain, []string{"sid=xyz; sid=abc"}, ""},
		{"S01 two that differ, in two lines", plain, []string{"sid=abc", "sid=xyz"}, ""},
		{"S01 one and an empty one", plain, []string{"sid=abc; sid="}, ""},
		{"S01 an empty one and one", plain, []string{"sid=; sid=abc"}, ""},
		{"S01 the third differs", plain, []string{"sid=abc; sid=abc; sid=xyz"}, ""},
		{"signed", signedOnly, []string{"connect.sid=" + good}, "abc"},
		{"signed before the secret changed", signedOnly, []string{"connect.sid=" + older}, "abc"},
		{"signed by somebody else", signedOnly, []string{"connect.sid=" + forged}, ""},
		{"not signed", signedOnly, []string{"connect.sid=abc"}, ""},
		{"signature of another token", signedOnly, []string{"connect.sid=" + strings.Replace(good, "abc", "abd", 1)}, ""},
		{"S01 a forged one beside the real one", signedOnly, []string{"connect.sid=" + good + "; connect.sid=" + forged}, ""},
		{"S01 two good ones", signedOnly, []string{"connect.sid=" + good + "; connect.sid=" + older}, ""},
		{"the other preset's name", signedOnly, []string{"sid=" + good}, ""},
	} {
		header := http.Header{}
		if c.lines != nil {
			header["Cookie"] = c.lines
		}
		token, ok := c.cookie.Read(header)
		if got := token.Key().Row; ok != (c.row != "") || token.IsZero() == ok || got != c.row {
			t.Errorf("%s: row %q, %v; want %q", c.name, got, ok, c.row)
		}
	}
}

// TestAppCookieAtRest: what stands in the table is made of the token, and what is sent again is what was read.
func TestAppCookieAtRest(t *testing.T) {
	t.Parallel()
	hashed := newAppCookie(t, func(cfg *config.Session) {
		cfg.Database.Token = config.DatabaseToken{Hash: config.TokenSHA256, Prefix: "sess:"}
	})
	token, ok := hashed.Read(http.Header{"Cookie": {"sid=a%2Bb"}})
	if want := fmt.Sprintf("sess:%x", sha256.Sum256([]byte("a+b"))); !ok || token.Key().Row != want {
		t.Errorf("row %q, %v; want %q", token.Key().Row, ok, want)
	}
	if got := hashed.Set(token, time.Minute).Value; got != "a%2Bb" {
		t.Errorf("it is sent again as %q", got)
	}
	if token.Key().Database || token.Key().ID == (session.ID{}) || token.Key().Tag != "" {
		t.Errorf("its key is %+v", token.Key())
	}
}

func TestAppCookieAttributes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		change     func(*config.Session)
		set, clear string
	}{
		{"as a rule", func(*config.Session) {},
			"sid=abc; Path=/; Max-Age=5400; HttpOnly; Secure; SameSite=Lax", "sid=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{"the gateway's own name and domain are its own", func(cfg *config.Session) {
			cfg.Cookie = config.Cookie{Name: "gatehouse", Domain: "gateway.example.com", SameSite: "strict"}
		}, "sid=abc; Path=/; Max-Age=5400; HttpOnly; SameSite=Strict", "sid=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"},
		{"the application's domain", func(cfg *config.Session) {
			cfg.Database.Cookie.Name, cfg.Database.Cookie.Domain = "app", "example.com"
		}, "app=abc; Path=/; Domain=example.com; Max-Age=5400; HttpOnly; Secure; SameSite=Lax",
			"app=; Path=/; Domain=example.com; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
	} {
		cookie := newAppCookie(t, c.change)
		token, ok := cookie.Read(http.Header{"Cookie": {cookie.Name() + "=abc"}})
		if !ok {
			t.Fatalf("%s: not read", c.name)
		}
		if got := cookie.Set(token, 90*time.Minute).String(); got != c.set {
			t.Errorf("%s: set %q, want %q", c.name, got, c.set)
		}
		if got := cookie.Clear().String(); got != c.clear {
			t.Errorf("%s: clear %q, want %q", c.name, got, c.clear)
		}
	}
	// It lasts no longer than a session may go unused, and no shorter than a moment.
	cookie := newAppCookie(t, func(cfg *config.Session) { cfg.Idle = time.Hour })
	token, _ := cookie.Read(http.Header{"Cookie": {"sid=abc"}})
	if long, short := cookie.Set(token, 48*time.Hour).MaxAge, cookie.Set(token, -time.Hour).MaxAge; long != 3600 || short != 1 {
		t.Errorf("it lasts %d s at most and %d s at least", long, short)
	}
}

// TestNoAppCookie: without a migration there is none, and the application's cookies are its own business.
func TestNoAppCookie(t *testing.T) {
	t.Parallel()
	var none *session.AppCookie
	if _, ok := none.Read(http.Header{"Cookie": {"sid=abc; =abc"}}); ok || none.Name() != "" || !none.Forward() {
		t.Errorf("%v, %q, %v", ok, none.Name(), none.Forward())
	}
	if newAppCookie(t).Forward() || !newAppCookie(t, func(cfg *config.Session) { cfg.Database.Cookie.Forward = true }).Forward() {
		t.Error("whether the application goes on getting its cookie is not as configured")
	}
}

// TestAppCookieNamesNoRowOfTheGateway: the id of a row the gateway made is made of the session's ID, which is no secret.
// In the application's cookie it opens nothing, and ends nothing.
func TestAppCookieNamesNoRowOfTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, state := range []string{config.StateLegacy, config.StateShadow, config.StatePrimary, config.StateDrain} {
		r := w.replica(state)
		victim := &browser{user: "1", token: w.replica(config.StateLegacy).login("1")}
		key := keyOf(t, victim.token)
		thief := &browser{user: "2", app: session.RowOf(key.ID, config.NewIDText)}
		if s, err := thief.visit(r); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: the id of a row is a cookie: %v, %v", state, s.Record, err)
		}
		app, ok := r.cookie.Read(http.Header{"Cookie": {"sid=" + thief.app}})
		if ok {
			began, err := r.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = r.Create(t.Context(), session.Login{User: session.User{ID: "2"}, Backend: "database", Began: began, PreviousApp: app}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := victim.visit(r); err != nil {
			t.Errorf("%s: a login with the id of somebody's row as the application's cookie has ended their session: %v", state, err)
		}
	}
}

// TestLoginEndsTheApplicationsSession: who logs in with the application's cookie in the browser has ended that session, in
// every state, whether it has come over or not.
func TestLoginEndsTheApplicationsSession(t *testing.T) {
	t.Parallel()
	for _, state := range states {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			visited, sleeping := w.row("1", strongToken), w.row("2", "0123456789abcdef0123456789abcdef")
			before := w.replica(config.StatePrimary)
			if state == config.StateDone || state == config.StateDrain {
				visited.isIn(before)
				backfill(t, before)
			}
			r := w.replica(state)
			for _, who := range []*browser{visited, sleeping} {
				app, ok := r.cookie.Read(http.Header{"Cookie": {"sid=" + who.app}})
				if !ok {
					t.Fatal("no cookie")
				}
				began, err := r.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err = r.Create(t.Context(), session.Login{User: session.User{ID: "3", Email: "user3@example.com"}, Backend: "database", Began: began, PreviousApp: app}); err != nil {
					t.Fatal(err)
				}
				for _, at := range []*migrating{r, before} {
					old := *who
					old.isOutSoon(at)
				}
			}
		})
	}
}

// backfill brings over whatever can come.
func backfill(t *testing.T, r *migrating) {
	t.Helper()
	var p session.Progress
	if err := r.store.Backfill(t.Context(), &p, 100, func(context.Context) error { return nil }, func(session.Progress) {}); err != nil {
		t.Fatal(err)
	}
}

// TestCookiesThatDoNotVerifyAreTold: with a wrong secret everybody is logged out, and somebody must be told why; but not
// once for each request.
func TestCookiesThatDoNotVerifyAreTold(t *testing.T) {
	t.Parallel()
	cfg := config.Default().Session
	cfg.Database.Preset, cfg.Database.Cookie.Secret = config.PresetConnectPgSimple, "not the application's"
	log, metrics := &buffer{}, telemetry.NewMetrics()
	c, err := session.NewAppCookie(new(session.DatabaseStore), cfg, session.Options{Log: zerolog.New(log), Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, ok := c.Read(http.Header{"Cookie": {"connect.sid=s%3Aabc.def"}}); ok {
			t.Fatal("it is taken")
		}
	}
	c.Read(http.Header{"Cookie": {"other=1"}})
	if n := strings.Count(log.String(), "session.database.cookie.secret"); n != 1 || strings.Contains(log.String(), "abc") {
		t.Errorf("told %d times: %s", n, log)
	}
	w := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(w.Body.String(), `gatehouse_migration_events_total{event="bad_cookies"} 5`) {
		t.Error("not counted")
	}
}
