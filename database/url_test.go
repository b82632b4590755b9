package database

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url, where, user, password, database string
		dialect                              Dialect
	}{
		{"postgres://u:p@h/n", "h:5432", "u", "p", "n", Postgres},
		{"postgresql://u@h:1/n?sslmode=verify-full", "h:1", "u", "", "n", Postgres},
		{"postgres://u:p%40%2F%3A@[::1]:7/n", "[::1]:7", "u", "p@/:", "n", Postgres},
		{"postgres://u@/n?host=/run/postgresql", "/run/postgresql", "u", "", "n", Postgres},
		{"postgres://u@/n?host=a,b&port=6", "a,b:6", "u", "", "n", Postgres},
		{"mysql://u:p@h/n", "h:3306", "u", "p", "n", MySQL},
		{"mariadb://u:p@h:1/n?tls=true", "h:1", "u", "p", "n", MySQL},
		{"mysql://u@/n?socket=/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock", "u", "", "n", MySQL},
	} {
		got, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		login := got.login.current()
		if got.where() != c.where || login.user != c.user || login.password != c.password || got.database != c.database || got.dialect != c.dialect {
			t.Errorf("%s: %+v, %+v", c.url, got, login)
		}
	}
	for _, c := range []struct{ url, want string }{
		{"", "no URL"},
		{"user:hunter2@h/n", "no URL"},
		{"oracle://u:hunter2@h/n", "kind"},
		{"postgres://u:hunter2@/n", "no host"},
		{"mysql://u:hunter2@h", "no database"},
		{"mysql://h/n", "no user"},
		{"postgres://u:hunter2/x@h/n", "%2F"},
		{"postgres://u:hunter2#x@h/n", "%23"},
		{"postgres://u:hunter2%zz@h/n", "%25"},
		{"postgres://u:hunter2@h/n?%zz", "well-formed"},
		{"postgres://u:hunter2@h/n?sslmod=require", `"sslmod"`},
		{"postgres://u:hunter2@h/n?tls=true", `"tls"`},
		{"mysql://u:hunter2@h/n?parseTime=hunter2", `"parseTime"`},
		{"mysql://u:hunter2@h/n?tls=true&tls=false", "more than once"},
	} {
		_, err := parseURL(c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", c.url, err, c.want)
		}
	}
}

// FuzzParseURL: a password is never repeated, and what is accepted names a server.
func FuzzParseURL(f *testing.F) {
	for _, text := range []string{"postgres://u:%s@h/n", "mysql://u:%s@h:1/n?tls=true", "postgres://u:%s@/n?host=/x", "%s://u@h/n", "postgres://u@h/%s", "mysql://u@h/n?%s=1", "x"} {
		f.Add(strings.Replace(text, "%s", "pass-word-secret", 1))
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := parseURL(text)
		if err == nil && (target.where() == "" || target.database == "" || target.login.first.user == "") {
			t.Errorf("%q: %+v", text, target)
		}
		if err == nil {
			return
		}
		// Names of options are told, on purpose; nothing else.
		before, _, _ := strings.Cut(text, "?")
		if i := strings.Index(before, "pass-word-secret"); i >= 0 && strings.Contains(err.Error(), "pass-word-secret") {
			t.Errorf("%q: %v", text, err)
		}
	})
}
