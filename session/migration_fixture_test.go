package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/testpostgres"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// world is an application's database and a Redis, with the replicas of a gateway in front of them.
type world struct {
	t     testing.TB
	url   string
	redis *testredis.Server
}

// schema is the application's, as it was before the gateway came. Its users are 1 to 50.
const schema = `
CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, name text, email_verified boolean NOT NULL DEFAULT true,
  role text NOT NULL DEFAULT 'user', password_hash text);
CREATE TABLE sessions (id text PRIMARY KEY, user_id integer NOT NULL REFERENCES users(id), expires_at timestamptz NOT NULL);
INSERT INTO users (email, name) SELECT 'user' || n || '@example.com', 'User ' || n FROM generate_series(1, 50) n;`

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, url: testpostgres.NewDatabase(t), redis: testredis.Start(t)}
	w.exec(schema)
	db := w.open()
	defer db.Close()
	table, err := session.OpenDatabase(db, config.Default().Session.Database, config.Default().Session, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.exec(strings.Join(table.SchemaSQL(), ";\n"))
	return w
}

func (w *world) exec(statements string) {
	w.t.Helper()
	testpostgres.Exec(w.t, w.url, statements)
}

// value is the one value a query gives.
func (w *world) value(query string, args ...any) string {
	w.t.Helper()
	rows := testpostgres.Rows(w.t, w.url, query, args...)
	if len(rows) != 1 || len(rows[0]) != 1 {
		w.t.Fatalf("%s gives %v", query, rows)
	}
	return rows[0][0]
}

func (w *world) open(change ...func(*config.Database)) *database.DB {
	w.t.Helper()
	cfg := config.Database{URL: config.Secret(w.url), MaxConnections: 10, Timeout: 5 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	db, err := database.Open(context.Background(), cfg, database.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return db
}

// migrating is one replica.
type migrating struct {
	*session.Manager
	w      *world
	store  *session.MigratingStore
	table  *session.DatabaseStore
	redis  *session.RedisStore
	cookie *session.AppCookie
	clock  *clock
	log    *buffer
}

// replica starts one in a state.
func (w *world) replica(state string, change ...func(*config.Config)) *migrating {
	w.t.Helper()
	cfg := config.Default()
	cfg.Redis = config.Redis{Addresses: []string{w.redis.Addr}, Timeout: 5 * time.Second}
	cfg.Migration.State = state
	cfg.Migration.Percent = 50
	for _, c := range change {
		c(cfg)
	}
	r := &migrating{w: w, clock: &clock{}, log: &buffer{}}
	opts := session.Options{Clock: r.clock.now, Log: zerolog.New(r.log), Metrics: telemetry.NewMetrics()}
	db := w.open(func(c *config.Database) { c.Timeout = cfg.Database.Timeout * 5 })
	var err error
	if r.redis, err = session.Open(context.Background(), cfg.Redis, opts); err != nil {
		w.t.Fatal(err)
	}
	if r.table, err = session.OpenDatabase(db, cfg.Session.Database, cfg.Session, opts); err != nil {
		w.t.Fatal(err)
	}
	if r.cookie, err = session.NewAppCookie(r.table, cfg.Session, opts); err != nil {
		w.t.Fatal(err)
	}
	r.store = session.NewMigratingStore(r.redis, r.table, cfg, opts)
	r.Manager = session.NewManager(r.store, cfg.Session, cfg.Outage, opts)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r.Close(ctx)
		db.Close()
	})
	return r
}

// set has the replica follow its file into a state.
func (r *migrating) set(state string) {
	r.w.t.Helper()
	want := session.Setting{State: state, Percent: 50}
	r.store.SetFile(want)
	await(r.w.t, "the replica to be in state "+state, func() bool { return r.store.Setting() == want })
}

// login logs a user in, and gives the token.
func (r *migrating) login(user string) string {
	r.w.t.Helper()
	token, err := r.tryLogin(user)
	if err != nil {
		r.w.t.Fatalf("login: %v", err)
	}
	return token
}

func (r *migrating) tryLogin(user string) (string, error) {
	began, err := r.Begin(context.Background())
	if err != nil {
		return "", err
	}
	token, _, err := r.Create(context.Background(), session.Login{
		User:    session.User{ID: user, Email: "user" + user + "@example.com", Name: "User " + user, EmailVerified: true, Role: "user"},
		Backend: "database", Began: began,
	})
	return token, err
}

// browser is who has logged in: at the gateway, or at the application before it came.
type browser struct {
	user  string
	token string // the gateway's cookie
	app   string // the application's cookie
}

// row makes a session as the application does.
func (w *world) row(user, token string) *browser {
	w.t.Helper()
	w.exec(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at) VALUES ('%s', %s, now() + interval '1 day')", token, user))
	return &browser{user: user, app: token}
}

// visit is a request of the browser's, which takes the cookie it is given.
func (b *browser) visit(r *migrating) (session.Session, error) {
	ctx := context.Background()
	if b.token != "" {
		s, err := r.Find(ctx, b.token)
		if err == nil || !errors.Is(err, session.ErrNotFound) {
			return s, err
		}
	}
	app, ok := r.cookie.Read(http.Header{"Cookie": {"sid=" + b.app}})
	if !ok {
		return session.Session{}, session.ErrNotFound
	}
	s, err := r.FindApp(ctx, app)
	if err == nil && s.Token != "" {
		b.token = s.Token
	}
	return s, err
}

// isIn fails unless the browser is logged in, as who it is.
func (b *browser) isIn(r *migrating) session.Session {
	r.w.t.Helper()
	s, err := b.visit(r)
	if err != nil {
		r.w.t.Fatalf("%+v in state %s: %v\n%s", *b, r.store.Setting(), err, r.log)
	}
	if s.User.ID != b.user || s.User.Email != "user"+b.user+"@example.com" {
		r.w.t.Fatalf("user %s is taken for %+v", b.user, s.User)
	}
	return s
}

// isOut fails unless the browser is logged out.
func (b *browser) isOut(r *migrating) {
	r.w.t.Helper()
	if s, err := b.visit(r); !errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrUnavailable) {
		r.w.t.Fatalf("%+v in state %s: %v, %v; want ErrNotFound", *b, r.store.Setting(), s.Record, err)
	}
}

// isOutSoon is isOut at another replica, which hears of it a moment later.
func (b *browser) isOutSoon(r *migrating) {
	r.w.t.Helper()
	await(r.w.t, fmt.Sprintf("%+v to be logged out in state %s", *b, r.store.Setting()), func() bool {
		_, err := b.visit(r)
		return errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrUnavailable)
	})
}

// logOut is what the gateway does at a logout: both cookies' sessions end.
func (b *browser) logOut(r *migrating) {
	r.w.t.Helper()
	s := b.isIn(r)
	if err := r.Revoke(context.Background(), s.Key(), s.User.ID); err != nil {
		r.w.t.Fatalf("logout in state %s: %v", r.store.Setting(), err)
	}
}
