package session_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testpostgres"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// dialect is one of the databases the tests run against.
type dialect struct {
	name database.Dialect
	// space gives the URL of a place without tables.
	space func(testing.TB) string
	exec  func(t testing.TB, url, statements string)
	rows  func(t testing.TB, url, query string, args ...any) [][]string
}

// onPostgres gives one database on the shared server. Each store gets a schema of its own in it: a new
// database takes a tenth of a second.
func onPostgres(t testing.TB) dialect {
	url := testpostgres.NewDatabase(t)
	return dialect{
		name: database.Postgres, exec: testpostgres.Exec, rows: testpostgres.Rows,
		space: func(t testing.TB) string {
			schema := "s_" + strings.ToLower(rand.Text())
			testpostgres.Exec(t, url, "CREATE SCHEMA "+schema)
			return url + "&search_path=" + schema
		},
	}
}

func onMariaDB(t testing.TB) dialect {
	testmariadb.Shared(t)
	return dialect{name: database.MySQL, exec: testmariadb.Exec, rows: testmariadb.Rows, space: testmariadb.NewDatabase}
}

// onBoth runs a test on PostgreSQL and on MariaDB.
func onBoth(t *testing.T, run func(*testing.T, dialect)) {
	t.Helper()
	t.Parallel()
	for name, on := range map[string]func(testing.TB) dialect{"postgres": onPostgres, "mariadb": onMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, on(t))
		})
	}
}

// choose gives what is written differently in the two.
func (d dialect) choose(postgres, mysql string) string {
	if d.name == database.Postgres {
		return postgres
	}
	return mysql
}

// in gives a time from now by the database's clock, in seconds.
func (d dialect) in(seconds int) string {
	return fmt.Sprintf(d.choose("clock_timestamp() + interval '%d seconds'", "UTC_TIMESTAMP(6) + INTERVAL %d SECOND"), seconds)
}

// schema gives the tables of preset table; id is the type of the column.
func (d dialect) schema(id string) string {
	return d.choose(`
		CREATE TABLE users (id bigint PRIMARY KEY, email text, name text, email_verified boolean, role text);
		CREATE TABLE sessions (id `+id+` PRIMARY KEY, user_id bigint, expires_at timestamptz NOT NULL);`, `
		CREATE TABLE users (id bigint PRIMARY KEY, email varchar(255), name varchar(255), email_verified boolean, role varchar(255));
		CREATE TABLE sessions (id `+id+` PRIMARY KEY, user_id bigint, expires_at datetime(6) NOT NULL);`) + `
		INSERT INTO users VALUES (1, 'ann@example.com', 'Ann', true, 'admin'), (2, 'bob@example.com', 'Bob', false, 'user');`
}

// texts is the schema with texts as ids.
func (d dialect) texts() string { return d.schema(d.choose("text", "varchar(255)")) }

// dbFixture is a database with the application's tables, and a store over them.
type dbFixture struct {
	*session.DatabaseStore
	t   testing.TB
	d   dialect
	url string
	db  *database.DB
}

// dbSettings are what a test may change.
type dbSettings struct {
	database config.SessionDatabase
	session  config.Session
	opts     session.Options
	schema   string
	bare     bool // without what the gateway adds
}

func newDB(t testing.TB, d dialect, schema string, change ...func(*dbSettings)) *dbFixture {
	t.Helper()
	s := dbSettings{
		session: config.Session{Idle: 168 * time.Hour, Absolute: 720 * time.Hour, MaxPerUser: 20},
		schema:  schema,
	}
	for _, c := range change {
		c(&s)
	}
	f := &dbFixture{t: t, d: d, url: d.space(t)}
	if s.schema != "" {
		f.exec(s.schema)
	}
	f.db = openDB(t, f.url)
	f.DatabaseStore = openTable(t, f.db, s)
	if !s.bare {
		for _, statement := range f.SchemaSQL() {
			f.exec(statement)
		}
	}
	return f
}

func openDB(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), config.Database{URL: config.Secret(url), MaxConnections: 10, Timeout: 10 * time.Second}, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func openTable(t testing.TB, db *database.DB, s dbSettings) *session.DatabaseStore {
	t.Helper()
	store, err := session.OpenDatabase(db, s.database, s.session, s.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func (f *dbFixture) exec(statements string) {
	f.t.Helper()
	f.d.exec(f.t, f.url, statements)
}

// one gives the first column of the first row.
func (f *dbFixture) one(query string, args ...any) string {
	f.t.Helper()
	rows := f.d.rows(f.t, f.url, query, args...)
	if len(rows) == 0 {
		f.t.Fatalf("%s: no row", query)
	}
	return rows[0][0]
}

// withoutUsers is a sessions table alone: the contract's users are in no table.
func withoutUsers(s *dbSettings) {
	columns := "SELECT id, user_id, expires_at, migrated_at, gatehouse FROM sessions"
	q := &s.database.Queries
	q.Find, q.List = columns+" WHERE id = $1", columns+" WHERE user_id = $1"
	q.Scan = columns + " WHERE id > $1 ORDER BY id LIMIT $2"
}

func TestDatabaseContract(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		for _, form := range []string{config.NewIDText, config.NewIDUUID} {
			t.Run(form, func(t *testing.T) {
				t.Parallel()
				id := map[string]string{config.NewIDText: d.choose("text", "varchar(255)"), config.NewIDUUID: "uuid"}[form]
				schema := "CREATE TABLE sessions (id " + id + " PRIMARY KEY, user_id " + d.choose("text", "varchar(600)") +
					" NOT NULL, expires_at " + d.choose("timestamptz", "datetime(6)") + " NOT NULL)"
				sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) {
					f := newDB(t, d, schema, withoutUsers, func(s *dbSettings) { s.database.NewID = form })
					return f.DatabaseStore, time.Sleep
				}, sessiontest.InTable(), sessiontest.Without("user ID with a NUL", "PostgreSQL's text cannot hold a NUL, and MySQL is treated alike"))
			})
		}
	})
}
