package config

import (
	"strings"
	"time"
)

// maxCleanupBatch bounds the rows that one statement deletes: it holds their locks until it ends.
const maxCleanupBatch = 100_000

// sessionDatabase checks the application's sessions table. Secrets are demanded only while sessions
// are read there: what is left over from a migration does no harm.
func (k *checker) sessionDatabase(c *Config) {
	const key = "session.database"
	d, moving := c.Session.Database, c.Migration.moving()
	k.add(key+".preset", oneOf(d.Preset, PresetTable, PresetConnectPgSimple, PresetDjango, PresetRails, PresetLaravel, PresetPHP))
	k.databaseToken(d.Token, moving)
	k.appCookie(c, moving)
	k.add(key+".expiry.as", oneOfOrNone(d.Expiry.As, ExpiryTimestamp, ExpiryEpoch, ExpiryEpochMS, ExpiryLastUse))
	k.lasting(key+".expiry.lifetime", d.Expiry.Lifetime, "2h")
	k.add(key+".new_id", oneOf(d.NewID, NewIDText, NewIDUUID))
	k.sessionQueries(d.Queries)
	if d.CleanupEvery != 0 && d.CleanupEvery < time.Second {
		k.add(key+".cleanup_every", faultf("write at least 1s, such as 10m, or 0 for never", "%s would keep the database busy", formatDuration(d.CleanupEvery)))
	}
	if d.CleanupBatch < 1 || d.CleanupBatch > maxCleanupBatch {
		k.add(key+".cleanup_batch", faultf("write 1 to 100000, such as 1000", "%d is not a number of rows to delete at once", d.CleanupBatch))
	}
}

// databaseToken checks how the application keeps tokens.
func (k *checker) databaseToken(t DatabaseToken, required bool) {
	const key = "session.database.token"
	k.add(key+".hash", oneOfOrNone(t.Hash, TokenPlain, TokenSHA256, TokenHMAC))
	if t.Encoding == TokenText && t.Hash != TokenPlain && t.Hash != "" {
		k.add(key+".encoding", faultf("write hex, base64 or base64url", "text is for hash: plain only, %s gives bytes", shorten(t.Hash)))
	}
	k.add(key+".encoding", oneOfOrNone(t.Encoding, TokenText, TokenHex, TokenBase64, TokenBase64URL))
	if required && t.Hash == TokenHMAC {
		k.secret(key+".secret", t.Secret, t.SecretFile, "hash: "+TokenHMAC)
	}
}

// appCookie checks the cookie of people who are logged in already.
func (k *checker) appCookie(c *Config, required bool) {
	const key = "session.database.cookie"
	a, preset := c.Session.Database.Cookie, c.Session.Database.Preset
	k.add(key+".scheme", oneOfOrNone(a.Scheme, CookiePlain, CookieExpress, CookieLaravel))
	switch {
	case a.Name == "":
	case !token(a.Name):
		k.add(key+".name", faultf("write the name of the application's session cookie, such as sid", "%q is not a cookie name", a.Name))
	case a.Name == c.Session.Cookie.Name:
		k.add(key+".name", faultf("write the name of the application's session cookie", "%q is the gateway's own cookie", a.Name))
	}
	if a.Domain != "" {
		k.add(key+".domain", checkDomain(a.Domain, c.PublicURL))
	}
	scheme, by := a.Scheme, "scheme: "+a.Scheme
	if scheme == "" {
		scheme, by = presetScheme(preset), "preset: "+preset
	}
	switch {
	case !required:
	case scheme == CookieExpress, scheme == CookieLaravel:
		k.secret(key+".secret", a.Secret, a.SecretFile, by)
	case preset == PresetDjango:
		k.secret(key+".secret", a.Secret, a.SecretFile, "preset: "+preset)
	}
}

// presetScheme is how the cookie of a preset is made.
func presetScheme(preset string) string {
	switch preset {
	case PresetConnectPgSimple:
		return CookieExpress
	case PresetLaravel:
		return CookieLaravel
	}
	return CookiePlain
}

// secret wants a secret that something else needs. When there is a file, why it gave none was told.
func (k *checker) secret(key string, s Secret, file, by string) {
	if s == "" && file == "" {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
		k.add(key, faultf("write it into a file and name that in "+key+"_file, or set "+name, "is missing, but %s needs it", by))
	}
}

// sessionQueries checks the statements that replace the preset's.
func (k *checker) sessionQueries(q SessionQueries) {
	id, user := parameter{1, "the id"}, parameter{1, "the user's id"}
	for _, s := range []struct {
		key, sql string
		statement
	}{
		{"find", q.Find, statement{max: 1, must: []parameter{id}}},
		{"lock", q.Lock, statement{max: 1, must: []parameter{id}}},
		{"insert", q.Insert, statement{max: 4, must: []parameter{id, {2, "the user's id"}}}},
		{"touch", q.Touch, statement{max: 3, must: []parameter{id}}},
		{"mark", q.Mark, statement{max: 1, must: []parameter{id}}},
		{"delete", q.Delete, statement{max: 1, must: []parameter{id}}},
		{"delete_user", q.DeleteUser, statement{max: 1, must: []parameter{user}}},
		{"list", q.List, statement{max: 1, must: []parameter{user}}},
		{"scan", q.Scan, statement{max: 2, must: []parameter{{1, "the id to begin after"}, {2, "the number of rows"}}}},
		{"count", q.Count, statement{max: 1}},
		{"delete_expired", q.DeleteExpired, statement{max: 2, must: []parameter{{2, "the number of rows"}}}},
		{"user", q.User, statement{max: 1, must: []parameter{user}}},
	} {
		if s.sql != "" {
			k.add("session.database.queries."+s.key, s.check(s.sql, ""))
		}
	}
}
