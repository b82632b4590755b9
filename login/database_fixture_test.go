package login_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testpostgres"
	"gatehouse/login/password"
)

// bcrypt5 is libxcrypt's hash of 80 times x.
const bcrypt5 = "$2y$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q"

// eighty is its password, as far as bcrypt reads.
var eighty = strings.Repeat("x", 72)

// sqlServers are the databases every test of the backend runs against.
var sqlServers = []sqlServer{
	{"postgres", testpostgres.NewDatabase, testpostgres.Exec},
	{"mariadb", testmariadb.NewDatabase, testmariadb.Exec},
}

type sqlServer struct {
	name string
	open func(testing.TB) string
	exec func(t testing.TB, url, statements string)
}

// onEach runs a test against a new database of each kind.
func onEach(t *testing.T, test func(t *testing.T, db *usersDB)) {
	t.Helper()
	for _, server := range sqlServers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			test(t, openUsers(t, server.name))
		})
	}
}

// openUsers makes a new database with a users table that holds ada (id 1) and bob (id 9007199254740993, no
// name), whose password is secret.
func openUsers(t *testing.T, kind string) *usersDB {
	t.Helper()
	server := sqlServers[slices.IndexFunc(sqlServers, func(s sqlServer) bool { return s.name == kind })]
	return usersAt(t, server, server.open(t))
}

// usersAt is openUsers in the empty database of a URL.
func usersAt(t *testing.T, server sqlServer, url string) *usersDB {
	t.Helper()
	db := &usersDB{}
	db.exec = func(format string, args ...any) {
		t.Helper()
		server.exec(t, url, fmt.Sprintf(format, args...))
	}
	db.exec(`CREATE TABLE users (id bigint PRIMARY KEY, email varchar(255) UNIQUE, name varchar(255), email_verified boolean,
		role varchar(50), password_hash varchar(255), disabled boolean, locked_until timestamp NULL)`)
	hash := password.New(secret, quick)
	db.exec(`INSERT INTO users (id, email, name, email_verified, role, password_hash) VALUES
		(1, '%s', 'Ada', true, 'admin', '%s'), (9007199254740993, '%s', NULL, NULL, NULL, '%s')`, ada, hash, bob, hash)
	var err error
	db.DB, err = database.Open(t.Context(), config.Database{URL: config.Secret(url), MaxConnections: 5, Timeout: 5 * time.Second}, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.DB.Close() })
	return db
}

// usersDB is a database with a users table. What the gateway asks it can be watched and disturbed.
type usersDB struct {
	*database.DB
	exec func(format string, args ...any)

	mu         sync.Mutex
	asked      []string
	err        error  // of every question, if there is one
	beforeExec func() // once, before the next statement that changes something
}

func (db *usersDB) question(query string) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.asked = append(db.asked, query)
	return db.err
}

func (db *usersDB) Query(ctx context.Context, query string, args []any, each func(*database.Row) error) error {
	if err := db.question(query); err != nil {
		return err
	}
	return db.DB.Query(ctx, query, args, each)
}

func (db *usersDB) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := db.question(query); err != nil {
		return 0, err
	}
	if db.beforeExec != nil {
		db.beforeExec()
		db.beforeExec = nil
	}
	return db.DB.Exec(ctx, query, args...)
}

// took gives how often the database was asked since the last time.
func (db *usersDB) took() int {
	db.mu.Lock()
	defer db.mu.Unlock()
	defer func() { db.asked = nil }()
	return len(db.asked)
}

func (db *usersDB) fail(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.err = err
}

// hashOf is the hash a user has in the table.
func (db *usersDB) hashOf(t *testing.T, email string) (hash string) {
	t.Helper()
	err := db.DB.Query(t.Context(), "SELECT password_hash FROM users WHERE email = $1", []any{email}, func(r *database.Row) error {
		hash = r.String("password_hash")
		return nil
	})
	if err != nil || hash == "" {
		t.Fatalf("hash of %s: %q %v", email, hash, err)
	}
	return hash
}

// allColumns is a query for every column there may be.
const allColumns = "SELECT * FROM users WHERE lower(email) = lower($1)"

// withUsers makes newGate's backend database.
func withUsers(db *usersDB, changes ...func(*config.LoginDatabase)) func(*setup) {
	return func(s *setup) {
		s.cfg.Backend, s.cfg.Database = "database", config.Default().Login.Database
		for _, change := range changes {
			change(&s.cfg.Database)
		}
		s.deps.Database = db
	}
}

func query(q string) func(*config.LoginDatabase) {
	return func(c *config.LoginDatabase) { c.Query = q }
}

func rehash(c *config.LoginDatabase) { c.Rehash.To = config.RehashArgon2id }

// refused checks that the answer is that of a login that failed.
func refused(t *testing.T, a answer, name string) {
	t.Helper()
	if a.Code != http.StatusUnauthorized || len(a.Header()["Set-Cookie"]) > 0 {
		t.Errorf("%s: %d %v", name, a.Code, a.Header())
	}
}
