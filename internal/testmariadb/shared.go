package testmariadb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testserver"

	"github.com/go-sql-driver/mysql"
)

// What the tests of this binary share.
var (
	shared   testserver.Shared[*Server]
	template testserver.Template
)

// Shared gives the server that the tests of this binary share; never kill it, stop it or change what is
// not your database's. It ends with the last test that uses it.
func Shared(t testing.TB) *Server {
	t.Helper()
	return shared.Use(t, func(t testing.TB) *Server { return Start(t) })
}

// Main runs the tests of a package and keeps the shared server from the first test that wants it to the
// last, instead of starting it again whenever no test uses it. Give its result to os.Exit in TestMain.
func Main(m *testing.M) int {
	defer Keep()()
	return m.Run()
}

// Keep is Main for packages that do more in TestMain: what is shared is kept until release is called.
func Keep() (release func()) {
	server, data := shared.Keep(), template.Keep()
	return func() {
		server()
		data()
	}
}

// NewDatabase makes an empty database on the shared server and gives its URL. It is dropped with the test.
func NewDatabase(t testing.TB) string {
	t.Helper()
	return Shared(t).NewDatabase(t)
}

// NewDatabase makes an empty database and gives its URL. It is dropped with the test.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	s.Exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if s.process != nil {
			s.Exec(t, "DROP DATABASE "+name)
		}
	})
	return s.url(name)
}

// Exec runs statements, separated by semicolons, as root.
func (s *Server) Exec(t testing.TB, statements string) {
	t.Helper()
	Exec(t, "mysql://root@/?socket="+s.socket(), statements)
}

// Exec runs statements, separated by semicolons, in the database of the URL.
func Exec(t testing.TB, url, statements string) {
	t.Helper()
	err := with(url, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, statements)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// Rows asks a question and gives the answer as text, NULL as "NULL". Placeholders are question marks.
func Rows(t testing.TB, url, query string, args ...any) [][]string {
	t.Helper()
	var all [][]string
	err := with(url, func(ctx context.Context, db *sql.DB) error {
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		for rows.Next() {
			values, row := make([]sql.NullString, len(columns)), make([]string, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				return err
			}
			for i, value := range values {
				row[i] = "NULL"
				if value.Valid {
					row[i] = value.String
				}
			}
			all = append(all, row)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return all
}

// with opens a URL as Server gives it; its options other than the socket are not looked at.
func with(text string, f func(context.Context, *sql.DB) error) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.DBName = u.User.Username(), "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	cfg.Passwd, _ = u.User.Password()
	cfg.MultiStatements, cfg.Logger = true, &mysql.NopLogger{}
	if socket := u.Query().Get("socket"); socket != "" {
		cfg.Net, cfg.Addr = "unix", socket
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db := sql.OpenDB(connector)
	return errors.Join(f(ctx, db), db.Close())
}

// ping is a question by root over the socket, which needs no password.
func (s *Server) ping() error {
	return with("mysql://root@/?socket="+s.socket(), func(ctx context.Context, db *sql.DB) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return db.PingContext(ctx)
	})
}
