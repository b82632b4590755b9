package config

import (
	"slices"
	"time"
)

// Database is the application's own database: its users table (login.backend database) and its
// sessions table (session.database, migration).
type Database struct {
	// URL is postgres://user:password@host:5432/name?sslmode=verify-full or
	// mysql://user:password@host:3306/name?tls=true. It may hold a password, so better URLFile or
	// GATEHOUSE_DATABASE_URL. Default: none, no database.
	URL Secret `mapstructure:"url"`
	// URLFile holds the URL; a trailing line end is cut.
	URLFile string `mapstructure:"url_file" file:"true"`
	// MaxConnections bounds the connections of one replica. Default 10.
	MaxConnections int `mapstructure:"max_connections"`
	// Timeout bounds each question, the wait for a connection included. Default 1s.
	Timeout time.Duration `mapstructure:"timeout"`
}

// Enabled reports whether there is a database.
func (d Database) Enabled() bool { return d.URL != "" }

// LoginDatabase is the backend database's section: the application's users table.
type LoginDatabase struct {
	// Query finds one account; $1 is what was typed. Columns are taken by name: id and password_hash
	// are required; email, name, email_verified, role, disabled and locked_until are used when they are there.
	// Default: SELECT id, email, name, email_verified, role, password_hash FROM users WHERE lower(email) = lower($1).
	Query string `mapstructure:"query"`
	// RequireVerifiedEmail refuses accounts whose email_verified is not true. Default false.
	RequireVerifiedEmail bool `mapstructure:"require_verified_email"`
	// Refresh is how long ago a user may have been read from the table when a request is served: changes there reach live
	// sessions, and those of users who are gone or may not log in any more end. Default 0: never.
	Refresh time.Duration `mapstructure:"refresh"`
	// RefreshQuery finds the user for that; $1 is the user's id. The columns are those of Query, without password_hash; of
	// email, name, role and email_verified what is not there stays as it is in the sessions.
	// Default: SELECT id, email, name, email_verified, role FROM users WHERE id = $1.
	RefreshQuery string `mapstructure:"refresh_query"`
	// Rehash renews weak or old password hashes when somebody logs in.
	Rehash Rehash `mapstructure:"rehash"`
}

// Rehash renews password hashes at login, when the password is at hand.
type Rehash struct {
	// To is argon2id, or empty: hashes stay as they are. Default: empty.
	To string `mapstructure:"to"`
	// Update stores the new hash; $1 is the hash, $2 the user's id, $3 the old hash.
	// Default: UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3.
	Update string `mapstructure:"update"`
}

// RehashArgon2id is the one value of Rehash.To that is not empty.
const RehashArgon2id = "argon2id"

// SessionDatabase is the application's own sessions table.
type SessionDatabase struct {
	// Preset fills in the other keys for a known schema: table, connect-pg-simple, django, rails,
	// laravel or php. Default table: sessions(id, user_id, expires_at) joined with users.
	Preset string `mapstructure:"preset"`
	// Token says how the application stores the token of a session.
	Token DatabaseToken `mapstructure:"token"`
	// Cookie is the application's session cookie.
	Cookie AppCookie `mapstructure:"cookie"`
	// Expiry says what the column expires_at holds.
	Expiry DatabaseExpiry `mapstructure:"expiry"`
	// NewID is the form of the ids of rows the gateway adds: text (46 characters) or uuid. Default text.
	NewID string `mapstructure:"new_id"`
	// Queries are the statements; each has the preset's default.
	Queries SessionQueries `mapstructure:"queries"`
	// CleanupEvery is how often one replica deletes expired rows, in batches of CleanupBatch. Default 0: never.
	CleanupEvery time.Duration `mapstructure:"cleanup_every"`
	// CleanupBatch is how many rows are deleted at once. Default 1000.
	CleanupBatch int `mapstructure:"cleanup_batch"`
}

// DatabaseToken says how the application keeps the token of its cookie in the id column.
type DatabaseToken struct {
	// Hash is plain, sha256 or hmac-sha256. Default by preset; plain without one.
	Hash string `mapstructure:"hash"`
	// Encoding of the result: text (plain only), hex, base64 or base64url. Default text for plain, else hex.
	Encoding string `mapstructure:"encoding"`
	// Prefix stands before it in the column. Default by preset.
	Prefix string `mapstructure:"prefix"`
	// Secret is the key of hmac-sha256; better SecretFile or the environment.
	Secret Secret `mapstructure:"secret"`
	// SecretFile holds Secret; a trailing line end is cut.
	SecretFile string `mapstructure:"secret_file" file:"true"`
}

// AppCookie is the application's session cookie, which people who are logged in already have.
type AppCookie struct {
	// Name; default by preset: connect.sid, sessionid, _session_id, laravel_session, PHPSESSID; sid for table.
	Name string `mapstructure:"name"`
	// Scheme is plain, express (s:value.signature) or laravel (encrypted). Default by preset.
	Scheme string `mapstructure:"scheme"`
	// Secret is the application's: express-session's secret, Laravel's APP_KEY, Django's SECRET_KEY
	// (for the payload). Several, one per line, are tried in turn. Better SecretFile or the environment.
	Secret Secret `mapstructure:"secret"`
	// SecretFile holds Secret.
	SecretFile string `mapstructure:"secret_file" file:"true"`
	// Domain the application sets the cookie for. Default: none, its host only.
	Domain string `mapstructure:"domain"`
	// Forward passes the cookie on to the application, and the application's own back to the browser, for
	// applications that keep more than the login in their sessions. Default false.
	Forward bool `mapstructure:"forward"`
}

// DatabaseExpiry says what the column expires_at holds.
type DatabaseExpiry struct {
	// As is timestamp, epoch (seconds), epoch_ms, or last_use (seconds of the last use, to which Lifetime is added).
	// Default by preset; timestamp without one.
	As string `mapstructure:"as"`
	// Lifetime is the application's idle limit, for last_use. Default 2h.
	Lifetime time.Duration `mapstructure:"lifetime"`
}

// The values of DatabaseToken.Hash; empty: by preset.
const (
	TokenPlain  = "plain"
	TokenSHA256 = "sha256"
	TokenHMAC   = "hmac-sha256"
)

// The values of DatabaseToken.Encoding; empty: text for plain, else hex.
const (
	TokenText      = "text"
	TokenHex       = "hex"
	TokenBase64    = "base64"
	TokenBase64URL = "base64url"
)

// The values of AppCookie.Scheme; empty: by preset.
const (
	CookiePlain   = "plain"
	CookieExpress = "express"
	CookieLaravel = "laravel"
)

// The values of DatabaseExpiry.As; empty: by preset.
const (
	ExpiryTimestamp = "timestamp"
	ExpiryEpoch     = "epoch"
	ExpiryEpochMS   = "epoch_ms"
	ExpiryLastUse   = "last_use"
)

// The values of SessionDatabase.NewID.
const (
	NewIDText = "text"
	NewIDUUID = "uuid"
)

// SessionQueries are the statements over the sessions table. $1 is always the id unless said otherwise;
// expires_at is given in the form of DatabaseExpiry. An empty one has the preset's default.
type SessionQueries struct {
	// Find one row: $1 id. Columns by name: id, user_id (or payload), expires_at, migrated_at and gatehouse are
	// required; created_at, email, name, email_verified and role are used when they are there, and now, the
	// database's clock, by which rows expire.
	Find string `mapstructure:"find"`
	// Lock one row until the transaction ends: $1 id. Its column is named id, so that no other spelling counts.
	Lock string `mapstructure:"lock"`
	// Insert a row: $1 id, $2 user_id, $3 expires_at, $4 gatehouse (text).
	Insert string `mapstructure:"insert"`
	// Touch: $1 id, $2 expires_at, $3 gatehouse.
	Touch string `mapstructure:"touch"`
	// Mark a row as moved to Redis: $1 id.
	Mark string `mapstructure:"mark"`
	// Delete a row: $1 id.
	Delete string `mapstructure:"delete"`
	// DeleteUser deletes all rows of a user: $1 user_id. Empty where rows do not name their user.
	DeleteUser string `mapstructure:"delete_user"`
	// List the rows of a user, columns as Find: $1 user_id. Empty where rows do not name their user.
	List string `mapstructure:"list"`
	// Scan rows in the order of their ids, columns as Find: $1 the id to begin after, $2 how many.
	Scan string `mapstructure:"scan"`
	// Count: one row with the columns live, moved and expired: $1 now in the form of expires_at.
	Count string `mapstructure:"count"`
	// DeleteExpired: $1 now in the form of expires_at, $2 how many.
	DeleteExpired string `mapstructure:"delete_expired"`
	// User gives email, name, email_verified and role of the user_id $1, for presets whose user is
	// inside the payload. No row: the user is gone, and so is the session. With a column password, the stored hash,
	// sessions of Django and Devise end when the password changes, as they do there.
	User string `mapstructure:"user"`
}

// The presets of SessionDatabase.
const (
	PresetTable           = "table"
	PresetConnectPgSimple = "connect-pg-simple"
	PresetDjango          = "django"
	PresetRails           = "rails"
	PresetLaravel         = "laravel"
	PresetPHP             = "php"
)

// Migration moves sessions from the application's table to Redis, and back (design: Migration).
type Migration struct {
	// State is legacy, shadow, canary, primary, drain or done. Default: none, sessions are in Redis alone and
	// always were.
	// While the gateway runs it follows changes of the file, and `gatehouse migrate set`.
	State string `mapstructure:"state"`
	// Percent of the users whose sessions are in Redis, in state canary. Default 0.
	Percent int `mapstructure:"percent"`
	// Import says how sessions come over.
	Import MigrationImport `mapstructure:"import"`
}

// Enabled reports whether sessions are moved, or were: in state done the way back is still open.
func (m Migration) Enabled() bool { return m.State != "" }

// MigrationImport says how sessions come over from the table.
type MigrationImport struct {
	// Rate bounds `gatehouse migrate backfill`, in rows per second. Default 500.
	Rate int `mapstructure:"rate"`
	// Batch is how many rows it reads at once. Default 500.
	Batch int `mapstructure:"batch"`
}

// The values of Migration.State, in their order.
const (
	StateLegacy  = "legacy"
	StateShadow  = "shadow"
	StateCanary  = "canary"
	StatePrimary = "primary"
	StateDrain   = "drain"
	StateDone    = "done"
)

// moving reports whether sessions are, or may be, in the table.
func (m Migration) moving() bool {
	return slices.Contains([]string{StateLegacy, StateShadow, StateCanary, StatePrimary, StateDrain}, m.State)
}

// OutageLoginRefuse is the value of Outage.Login that lets nobody log in without Redis.
const OutageLoginRefuse = "refuse"

// OutageLoginDatabase is the value of Outage.Login that lets people log in without Redis, into the
// database, while migrating.
const OutageLoginDatabase = "database"
