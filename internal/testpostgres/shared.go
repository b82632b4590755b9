package testpostgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testserver"

	"github.com/jackc/pgx/v5"
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
			s.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)")
		}
	})
	return s.url(name)
}

// Exec runs statements, separated by semicolons, in the database postgres.
func (s *Server) Exec(t testing.TB, statements string) {
	t.Helper()
	Exec(t, s.SocketURL(), statements)
}

// Exec runs statements, separated by semicolons, in the database of the URL.
func Exec(t testing.TB, url, statements string) {
	t.Helper()
	err := with(url, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, statements)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// Rows asks a question and gives the answer as text, NULL as "NULL".
func Rows(t testing.TB, url, query string, args ...any) [][]string {
	t.Helper()
	var all [][]string
	err := with(url, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, query, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var row []string
			for _, value := range rows.RawValues() {
				text := "NULL"
				if value != nil {
					text = string(value)
				}
				row = append(row, text)
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

func with(url string, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, c), c.Close(ctx))
}

// ping is a question by the superuser over the socket, which needs no password.
func (s *Server) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.SocketURL())
	if err != nil {
		return fmt.Errorf("no connection: %w", err)
	}
	return c.Close(ctx)
}
