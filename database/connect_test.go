package database_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/testcert"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testpostgres"
)

func TestOpenRefusesConfiguration(t *testing.T) {
	t.Parallel()
	nothing := filepath.Join(t.TempDir(), "nothing.pem")
	for _, c := range []struct{ url, says string }{
		{"", "no URL"},
		{"postgres://u:" + secret + "@h/n?sslmode=sometimes", "sslmode"},
		{"postgres://u:" + secret + "@h/n?sslmode=verify-full&sslrootcert=" + nothing, nothing},
		{"postgres://u:" + secret + "@h/n?port=x", "port"},
		{"postgres://u:" + secret + "@h/n?statement_timeout=1", `"statement_timeout"`},
		{"mysql://u:" + secret + "@h/n?tls=sometimes", "skip-verify"},
		{"mysql://u:" + secret + "@h/n?tls=true&tls_ca=" + nothing, nothing},
		{"mysql://u:" + secret + "@h/n?tls=true&tls_cert=" + nothing, "tls_key"},
		{"mysql://u:" + secret + "@h/n?tls_ca=x", "not tls=true"},
	} {
		db, err := database.Open(t.Context(), config.Database{URL: config.Secret(c.url)}, database.Options{})
		if err == nil {
			db.Close()
			t.Errorf("%s is accepted", c.url)
			continue
		}
		mustSay(t, err.Error(), "database.url ", c.says)
	}
	_, err := database.Open(t.Context(), config.Database{URL: "x", URLFile: "/run/secrets/url"}, database.Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "database.url_file ") {
		t.Errorf("names the wrong key: %v", err)
	}
}

func TestSockets(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s := k.start(t)
		if got := ask(t, open(t, s.SocketURL()), "SELECT 'through the socket' AS v"); got != "through the socket" {
			t.Error(got)
		}
		s.Kill()
		_, err := tryAsk(t, open(t, s.SocketURL()), "SELECT 1 AS v")
		mustBeAway(t, err)
	})
}

// TestNobodyThere: down at the start is no error of Open, and says which server.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, scheme := range []string{"postgres", "mysql"} {
		var log logged
		db := open(t, scheme+"://u:"+secret+"@"+l.Addr().String()+"/n", logTo(&log))
		if !db.Away() {
			t.Error("away is not noticed at the start")
		}
		_, err := tryAsk(t, db, "SELECT 1 AS v")
		mustBeAway(t, err, "refuses connections", l.Addr().String())
		_, err = db.Exec(t.Context(), "SELECT 1")
		mustBeAway(t, err, "refuses connections")
		mustBeAway(t, db.Tx(t.Context(), func(*database.Tx) error { t.Error("f is called"); return nil }), "refuses connections")
		mustBeAway(t, db.Ping(t.Context()), "refuses connections")
		mustSay(t, log.String(), `"level":"warn"`, "database unavailable", "refuses connections", l.Addr().String())
	}
	db := open(t, "postgres://u:"+secret+"@nowhere.invalid/n")
	mustBeAway(t, db.Ping(t.Context()), "nowhere.invalid", "not known")
}

func TestMissingDatabase(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		url := k.fresh(t)
		name := url[strings.LastIndex(url, "/")+1:]
		name, _, _ = strings.Cut(name, "?")
		db := open(t, strings.Replace(url, name, "missing", 1))
		mustBeAway(t, db.Ping(t.Context()), `"missing"`, "no database")
	})
}

// TestWrongPassword: one that is changed is noticed with the next connection, and a new one in the file is
// taken up without a restart.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	postgres := testpostgres.Start(t, testpostgres.Password(secret))
	mariadb := testmariadb.Start(t, testmariadb.Password(secret))
	for _, c := range []struct {
		server
		user, change string
	}{
		{postgres, `"postgres"`, "ALTER USER postgres PASSWORD 'changed'"},
		{mariadb, `"app"`, "ALTER USER app@'%' IDENTIFIED BY 'changed'"},
	} {
		file := filepath.Join(t.TempDir(), "url")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(c.URL() + "\n")
		var log logged
		inFile := func(cfg *config.Database, _ *database.Options) { cfg.URLFile = file }
		db := open(t, c.URL(), inFile, logTo(&log))
		if got := ask(t, db, "SELECT 'in' AS v"); got != "in" {
			t.Error(got)
		}
		c.Exec(t, c.change)
		c.Restart() // what is connected stays so
		eventually(t, "noticing that the password is wrong", func() bool {
			_, err := tryAsk(t, db, "SELECT 1 AS v")
			return err != nil && db.Away()
		})
		_, err := tryAsk(t, db, "SELECT 1 AS v")
		mustBeAway(t, err, "wrong password for user "+c.user, "database.url_file")
		mustHide(t, log.String())
		write("not yet wri") // half of it
		mustBeAway(t, db.Ping(t.Context()), "wrong password")
		write(strings.Replace(c.URL(), secret, "changed", 1) + "\n")
		eventually(t, "taking up the new password", func() bool { return !db.Away() })
		if got := ask(t, db, "SELECT 'in' AS v"); got != "in" {
			t.Error(got)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := testcert.Write(t, t.TempDir())
	other, _ := testcert.Write(t, t.TempDir())
	must := map[string]server{
		"postgres": testpostgres.Start(t, testpostgres.TLS(cert, key), testpostgres.HBA("hostssl all all all trust")),
		"mysql":    testmariadb.Start(t, testmariadb.TLS(cert, key), testmariadb.Flags("--require-secure-transport=ON")),
	}
	without := map[string]server{"postgres": testpostgres.Shared(t), "mysql": testmariadb.Start(t, testmariadb.Flags("--skip-ssl"))}
	for _, c := range []struct {
		servers        map[string]server
		kind, options  string
		says, encrypts string
	}{
		{must, "postgres", "sslmode=verify-full&sslrootcert=" + cert, "", "yes"},
		{must, "postgres", "sslmode=require", "", "yes"},
		{must, "postgres", "sslmode=prefer", "", "yes"},
		{must, "postgres", "sslmode=disable", "demands TLS", ""},
		{must, "postgres", "sslmode=verify-full&sslrootcert=" + other, "certificate", ""},
		{must, "postgres", "sslmode=verify-full", "certificate", ""},
		{without, "postgres", "sslmode=verify-full&sslrootcert=" + cert, "offers no TLS", ""},
		{without, "postgres", "sslmode=prefer", "", "no"},
		{must, "mysql", "tls=true&tls_ca=" + cert, "", "yes"},
		{must, "mysql", "tls=skip-verify", "", "yes"},
		{must, "mysql", "tls=preferred", "", "yes"},
		{must, "mysql", "tls=false", "demands TLS", ""},
		{must, "mysql", "", "demands TLS", ""},
		{must, "mysql", "tls=true&tls_ca=" + other, "certificate", ""},
		{must, "mysql", "tls=true", "certificate", ""},
		{must, "mysql", "tls=true&tls_server_name=elsewhere&tls_ca=" + cert, "certificate", ""},
		{without, "mysql", "tls=true&tls_ca=" + cert, "offers no TLS", ""},
		{without, "mysql", "tls=preferred", "", "no"},
	} {
		db := open(t, c.servers[c.kind].URL(c.options))
		question := "SELECT CASE WHEN ssl THEN 'yes' ELSE 'no' END AS v FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
		if c.kind == "mysql" {
			question = "SELECT IF(variable_value = '', 'no', 'yes') AS v FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
		}
		got, err := tryAsk(t, db, question)
		if c.says != "" {
			mustBeAway(t, err, c.says)
			if !errors.Is(err, database.ErrUnavailable) {
				t.Errorf("%s %s", c.kind, c.options)
			}
			continue
		}
		if err != nil || got != c.encrypts {
			t.Errorf("%s %s: encrypted %q, want %q, %v", c.kind, c.options, got, c.encrypts, err)
		}
	}
}
