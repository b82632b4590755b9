package database_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testpostgres"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	postgres, mariadb := testpostgres.Keep(), testmariadb.Keep()
	code := m.Run()
	mariadb()
	postgres()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// server is what both kinds of test servers can do.
type server interface {
	URL(options ...string) string
	SocketURL() string
	Kill()
	Restart()
	Stop()
	Cont()
	Exec(t testing.TB, statements string)
}

// kind is one of the two kinds of database.
type kind struct {
	dialect database.Dialect
	// fresh gives an empty database on the shared server.
	fresh func(testing.TB) string
	// start starts a server of its own.
	start func(t testing.TB, flags ...string) server
	// limit is the flag for 10 connections.
	limit []string
	sleep string // a question that takes 30 s
}

var kinds = []kind{
	{
		dialect: database.Postgres, fresh: testpostgres.NewDatabase, limit: []string{"-c", "max_connections=6", "-c", "superuser_reserved_connections=2"},
		start: func(t testing.TB, flags ...string) server { return testpostgres.Start(t, testpostgres.Flags(flags...)) },
		sleep: "SELECT pg_sleep(30)",
	},
	{
		dialect: database.MySQL, fresh: testmariadb.NewDatabase, limit: []string{"--max-connections=10"},
		start: func(t testing.TB, flags ...string) server { return testmariadb.Start(t, testmariadb.Flags(flags...)) },
		sleep: "SELECT sleep(30)",
	},
}

// each runs a test over both kinds.
func each(t *testing.T, f func(*testing.T, kind)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k.dialect), func(t *testing.T) {
			t.Parallel()
			f(t, k)
		})
	}
}

// logged collects what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type option func(*config.Database, *database.Options)

func timeout(d time.Duration) option {
	return func(c *config.Database, _ *database.Options) { c.Timeout = d }
}

func maxConnections(n int) option {
	return func(c *config.Database, _ *database.Options) { c.MaxConnections = n }
}

func logTo(l *logged) option {
	return func(_ *config.Database, o *database.Options) { o.Log = zerolog.New(l) }
}

// patient is long enough for a busy machine: tests where nothing should take long.
const patient = 20 * time.Second

func open(t testing.TB, url string, options ...option) *database.DB {
	t.Helper()
	cfg, opts := config.Database{URL: config.Secret(url), Timeout: patient, MaxConnections: 4}, database.Options{Log: zerolog.Nop()}
	for _, o := range options {
		o(&cfg, &opts)
	}
	db, err := database.Open(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func run(t testing.TB, q database.Querier, statement string, args ...any) int64 {
	t.Helper()
	n, err := q.Exec(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return n
}

// ask gives the first column of all rows, joined by commas.
func ask(t testing.TB, q database.Querier, query string, args ...any) string {
	t.Helper()
	text, err := tryAsk(t, q, query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

func tryAsk(t testing.TB, q database.Querier, query string, args ...any) (string, error) {
	var all []string
	err := q.Query(t.Context(), query, args, func(r *database.Row) error {
		all = append(all, r.String("v"))
		return nil
	})
	return strings.Join(all, ","), err
}

// eventually waits for something that happens by itself.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patient)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatal(what + " does not happen")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// mustBeAway checks an error of an outage, what it says, and that it keeps secrets.
func mustBeAway(t testing.TB, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
		return
	}
	mustSay(t, err.Error(), says...)
}

func mustSay(t testing.TB, text string, says ...string) {
	t.Helper()
	for _, part := range says {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	mustHide(t, text)
}

// secret is every password, and every value that must not be repeated, in these tests.
const secret = "hunter2-is-secret"

func mustHide(t testing.TB, text string) {
	t.Helper()
	if strings.Contains(text, secret) || strings.Contains(text, "hunter2") {
		t.Errorf("a secret is told: %s", text)
	}
}
