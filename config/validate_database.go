package config

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

const exampleDatabase = "postgres://user:password@host:5432/name" // #nosec G101 -- an example in a message

// database checks the application's database.
func (k *checker) database(c *Config) {
	d := c.Database
	key := "database.url"
	if d.URLFile != "" {
		key = "database.url_file"
	}
	if d.Enabled() {
		k.add(key, checkDatabaseURL(d.URL.Reveal()))
	} else if by := needDatabase(c); by != "" && d.URLFile == "" { // with a file, why there is none was told
		k.add(key, faultf("write "+exampleDatabase+" into a file and name it in database.url_file, or set GATEHOUSE_DATABASE_URL",
			"is missing, but %s needs it", by))
	}
	k.positive("database.max_connections", int64(d.MaxConnections), "10")
	if d.Timeout < 50*time.Millisecond || d.Timeout > time.Minute {
		k.add("database.timeout", faultf("write 50ms to 60s, such as 1s", "%s is not a time in which a database answers and people wait", formatDuration(d.Timeout)))
	}
}

// needDatabase names the setting that needs the database; "" when none does.
func needDatabase(c *Config) string {
	switch {
	case c.Login.Backend == BackendDatabase:
		return "login.backend: " + BackendDatabase
	case c.Migration.moving():
		return "migration.state: " + c.Migration.State
	case c.Outage.Login == OutageLoginDatabase:
		return "outage.login: " + OutageLoginDatabase
	}
	return ""
}

// checkDatabaseURL never repeats any of it: what does not parse has its password in unexpected places.
func checkDatabaseURL(s string) *fault {
	const fix = "write " + exampleDatabase + " or mysql://user:password@host:3306/name"
	if !strings.Contains(s, "://") {
		return faultf(fix, "is no URL")
	}
	u, err := url.Parse(s)
	// A / ? or # in a password ends the host there, and what follows looks like a path.
	if err != nil || u.Fragment != "" || u.User == nil && strings.Contains(s, "@") || strings.Count(u.EscapedPath(), "/") > 1 {
		return faultf("in user and password write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for #, %25 for % and %20 for a space",
			"cannot be taken apart into user, password, host and name")
	}
	// postgres:///name?host=/run/postgresql, mysql:///name?socket=/run/mysqld/mysqld.sock
	socket, known := map[string]string{"postgres": "host", "postgresql": "host", "mysql": "socket", "mariadb": "socket"}[u.Scheme]
	switch {
	case !known:
		return faultf("write postgres:// or mysql://", "is of a kind that is not known")
	case u.Hostname() == "" && u.Query().Get(socket) == "":
		return faultf(fix, "names no host")
	case strings.Trim(u.Path, "/") == "":
		return faultf(fix, "names no database behind the host")
	case u.User.Username() == "":
		return faultf(fix, "names no user before the host")
	}
	return nil
}

// loginDatabase checks how an account is found in the application's users table.
func (k *checker) loginDatabase(l LoginDatabase, required bool) {
	const key = "login.database"
	if l.Query != "" || required {
		k.add(key+".query", statement{verbs: []string{"SELECT", "WITH"}, max: 1, must: []parameter{{1, "the account that was typed"}}}.
			check(l.Query, "SELECT id, email, password_hash FROM users WHERE lower(email) = lower($1)"))
	}
	k.refresh(key+".refresh", l.Refresh)
	if l.RefreshQuery != "" || l.Refresh > 0 {
		k.add(key+".refresh_query", checkRefreshQuery(l))
	}
	k.add(key+".rehash.to", oneOfOrNone(l.Rehash.To, RehashArgon2id))
	if l.Rehash.Update != "" || l.Rehash.To != "" {
		// Without the old hash ($3), a password that is changed during the login would be changed back; some
		// know better ways, so it is not demanded.
		k.add(key+".rehash.update", statement{max: 3, must: []parameter{{1, "the new hash"}, {2, "the user's id"}}}.
			check(l.Rehash.Update, "UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3"))
	}
}

// refresh checks how often users are read again.
func (k *checker) refresh(key string, every time.Duration) {
	if every != 0 && every < time.Second {
		k.add(key, faultf("write at least 1s, or 0s to turn it off", "%s is too short to read a user again", formatDuration(every)))
	}
}

var sqlDisabled = regexp.MustCompile(`(?i)\bdisabled\b`)

// checkRefreshQuery also finds the column that is most easily forgotten: accounts that are disabled would stay logged in.
func checkRefreshQuery(l LoginDatabase) *fault {
	const example = "SELECT id, email, name, email_verified, role FROM users WHERE id = $1"
	f := statement{verbs: []string{"SELECT", "WITH"}, max: 1, must: []parameter{{1, "the user's id"}}}.check(l.RefreshQuery, example)
	if f == nil && l.Refresh > 0 && sqlDisabled.MatchString(l.Query) && !sqlDisabled.MatchString(l.RefreshQuery) && !strings.Contains(l.RefreshQuery, "*") {
		return faultf("select it there too", "gives no column disabled, as login.database.query does: sessions of disabled accounts would go on")
	}
	return f
}

// oneOfOrNone is oneOf for a key that may be empty.
func oneOfOrNone(value string, allowed ...string) *fault {
	if value == "" {
		return nil
	}
	return oneOf(value, allowed...)
}
