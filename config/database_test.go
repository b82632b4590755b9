package config_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
)

func TestDatabaseValues(t *testing.T) {
	t.Parallel()
	c := good(t, "migration")
	d := c.Session.Database
	for _, x := range []struct {
		name      string
		got, want any
	}{
		{"url from its file", c.Database.URL.Reveal(), "postgresql://shop:hunter2@[::1]:5433/shop?sslmode=verify-full"},
		{"enabled", c.Database.Enabled(), true},
		{"connections", c.Database.MaxConnections, 1},
		{"timeout", c.Database.Timeout, 50 * time.Millisecond},
		{"verified", c.Login.Database.RequireVerifiedEmail, true},
		{"rehash", c.Login.Database.Rehash, config.Rehash{To: config.RehashArgon2id, Update: "UPDATE users SET hash = $1 WHERE id = $2"}},
		{"token secret", d.Token.Secret.Reveal(), "hunter2"},
		{"cookie secret", d.Cookie.Secret.Reveal(), "hunter2"},
		{"token", d.Token.Hash + " " + d.Token.Encoding + " " + d.Token.Prefix, "hmac-sha256 base64url sess:"},
		{"forward", d.Cookie.Forward, true},
		{"expiry", d.Expiry, config.DatabaseExpiry{As: config.ExpiryEpochMS, Lifetime: 30 * time.Minute}},
		{"new id", d.NewID, config.NewIDUUID},
		{"query of its own", d.Queries.Find, "SELECT * FROM session WHERE sid = $1"},
		{"query of the preset", d.Queries.Lock, ""},
		{"cleanup", d.CleanupEvery, time.Second},
		{"state", c.Migration.State, config.StateCanary},
		{"import", c.Migration.Import, config.MigrationImport{Rate: 1, Batch: 1}},
		{"outage", c.Outage.Login, config.OutageLoginDatabase},
		{"no preset is table", good(t, "migration_done").Session.Database.Preset, config.PresetTable},
	} {
		if dump(x.got) != dump(x.want) {
			t.Errorf("%s: got %s, want %s", x.name, dump(x.got), dump(x.want))
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v", c, c.Database, d); strings.Contains(shown, "hunter2") {
		t.Errorf("a dump shows a secret: %s", shown)
	}
}

// Secrets come from the environment, or from files it names, as the Redis password does.
func TestDatabaseSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("new\nold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, minimal+"migration: {state: legacy}\nsession: {database: {preset: laravel, token: {hash: hmac-sha256}}}\n",
		"GATEHOUSE_DATABASE_URL=postgres://shop:hunter2@db/shop",
		"GATEHOUSE_SESSION_DATABASE_TOKEN_SECRET=key",
		"GATEHOUSE_SESSION_DATABASE_COOKIE_SECRET_FILE="+file,
		"GATEHOUSE_MIGRATION_STATE=shadow")
	got := []string{c.Database.URL.Reveal(), c.Session.Database.Token.Secret.Reveal(), c.Session.Database.Cookie.Secret.Reveal(), c.Migration.State}
	if want := []string{"postgres://shop:hunter2@db/shop", "key", "new\nold", "shadow"}; dump(got) != dump(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// A wrong one is told by its variable, and not shown.
	_, err := load(t, minimal, "GATEHOUSE_DATABASE_URL=shop:hunter2@db/shop")
	if got := problems(t, err); len(got) != 1 || !strings.HasPrefix(got[0], "GATEHOUSE_DATABASE_URL: database.url: is no URL; write postgres://") || strings.Contains(got[0], "hunter2") {
		t.Errorf("got %q", got)
	}
}

func TestDatabaseAccepted(t *testing.T) {
	t.Parallel()
	for _, u := range []string{
		"postgres://shop@db/shop", "postgresql://shop@db:5432/shop?sslmode=disable&application_name=a@b", "postgres://shop:p%40ss%2F%3A@db/shop",
		"postgres://shop@/shop?host=/run/postgresql", "postgres://shop@/shop?host=%2Frun%2Fpostgresql",
		"mysql://shop@/shop?socket=/run/mysqld/mysqld.sock", "mysql://shop:x@[fd00::1]:3306/shop?tls=true", "mariadb://shop@db/shop",
	} {
		mustLoad(t, minimal+"database: {url: '"+u+"'}\n")
	}
	for _, query := range []string{
		"select id, password_hash from users where name = $1", "\n  SELECT\n*\nFROM login($1)\n",
		"/* ; */ SELECT 1 WHERE $1 = $1 -- ; $2", "SELECT `a;b` FROM t WHERE x = $1 AND y <> 'it''s $7;'", "WITH x AS (SELECT 1) SELECT $1::text;",
	} {
		c := valid()
		c.Login.Database.Query = query
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, state := range []string{config.StatePrimary, config.StateDrain} {
		c := moving(state)
		c.Session.Database.Preset = config.PresetRails
		if err := c.Validate(); err != nil {
			t.Errorf("rails in %s: %v", state, err)
		}
	}
	// Percent is remembered in every state.
	for _, state := range []string{config.StateLegacy, config.StateShadow, config.StateCanary, config.StatePrimary, config.StateDrain, config.StateDone} {
		c := moving(state)
		c.Migration.Percent = 25
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// moving is a Config in a state of the migration, with what that needs.
func moving(state string) *config.Config {
	c := valid()
	c.Database.URL = "postgres://shop@db/shop"
	c.Migration.State = state
	return c
}

// What is demanded of a migration is demanded in each of its states, and of nobody else.
func TestMigrationDemands(t *testing.T) {
	t.Parallel()
	demands := []struct {
		path   string
		change func(*config.Config)
	}{
		{"database.url", func(c *config.Config) { c.Database.URL = "" }},
		{"login.backend", func(c *config.Config) {
			c.Login.Backend = config.BackendApp
			c.Login.App.Success.Status, c.Login.App.Identity = []int{302}, config.AppIdentity{From: "header", Fields: config.IdentityFields{UserID: "X-User"}}
		}},
		{"redis.addresses[0]", func(c *config.Config) { c.Redis.Addresses = []string{"embedded"} }},
		{"session.database.token.secret", func(c *config.Config) { c.Session.Database.Token.Hash = config.TokenHMAC }},
		{"session.database.cookie.secret", func(c *config.Config) { c.Session.Database.Cookie.Scheme = config.CookieExpress }},
		{"session.database.cookie.secret", func(c *config.Config) { c.Session.Database.Preset = config.PresetLaravel }},
	}
	for _, state := range []string{config.StateLegacy, config.StateShadow, config.StateCanary, config.StatePrimary, config.StateDrain} {
		for _, d := range demands {
			c := moving(state)
			d.change(c)
			var e *config.Errors
			if err := c.Validate(); !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Path != d.path {
				t.Errorf("%s without what %s must be: %v", state, d.path, err)
			}
		}
	}
	for _, d := range demands {
		c := moving(config.StateDone)
		d.change(c)
		if err := c.Validate(); err != nil {
			t.Errorf("done: %v", err)
		}
	}
	// The scheme that is set wins over the preset's.
	c := moving(config.StateLegacy)
	c.Session.Database.Preset, c.Session.Database.Cookie.Scheme = config.PresetConnectPgSimple, config.CookiePlain
	if err := c.Validate(); err != nil {
		t.Errorf("connect-pg-simple with a plain cookie: %v", err)
	}
}

// Whatever stands in the URL, no message repeats its password.
func FuzzDatabaseURL(f *testing.F) {
	for _, s := range []string{"postgres://u:hunter2@h/d", "hunter2", "postgres://u:1#hunter2@h/d", "mysql://u:a/hunter2@h", "hunter2://x", "postgres://u:%zzhunter2@h/d", "//hunter2@:/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := config.Default()
		c.Upstream = &config.Upstream{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:3000"}}
		c.Database.URL = config.Secret(s + "hunter2")
		if err := c.Validate(); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Fatal(err)
		}
	})
}
