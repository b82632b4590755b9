package session

import (
	"time"

	"gatehouse/config"
	"gatehouse/database"
)

// usersColumns are what is taken of the application's users table, u in the statements.
const usersColumns = "u.email, u.name, u.email_verified, u.role"

// presetTable is sessions(id, user_id, expires_at) beside users(id, email, name, email_verified, role); a
// session of a user who is gone is none. Also of preset php, whose cookie has another name.
func presetTable(d database.Dialect, cookie string) preset {
	h := shape{
		table: "sessions", id: "id", expires: "expires_at", owner: "s.user_id",
		user: "u.id AS user_id", join: "users u ON u.id = s.user_id", person: usersColumns,
		insert: "INSERT INTO sessions (id, user_id, expires_at, gatehouse) VALUES ($1, $2, $3, $4)",
	}
	return preset{
		token: config.DatabaseToken{Hash: config.TokenPlain}, expiry: config.ExpiryTimestamp, lifetime: 2 * time.Hour,
		cookie:  config.AppCookie{Name: cookie, Scheme: config.CookiePlain},
		queries: h.queries(d),
	}
}

// presetConnectPgSimple is the table session(sid, sess, expire) of Express's connect-pg-simple. The user is
// sess.userId, or sess.passport.user where Passport keeps it; an application that keeps it elsewhere
// needs statements of its own.
//
// json_populate_record makes the text a value of whatever type users.id has, so that the index of users
// is used; a comparison as text would read all users with every request.
//
// expire has no time zone: connect-pg-simple writes it in that of its connection, which is the database's
// TimeZone, and so is ours: the casts go by it.
func presetConnectPgSimple() preset {
	const owner = "COALESCE(s.sess->>'userId', s.sess->'passport'->>'user')"
	// What Express expects to find; it writes an object of its own at the next response.
	const sess = "json_build_object('cookie', json_build_object('originalMaxAge', NULL, 'expires', NULL, 'httpOnly', true, 'path', '/'), " +
		"'userId', (SELECT to_json(u.id) FROM users u WHERE u.id = $2))"
	h := shape{
		table: `"session"`, id: "sid", expires: "expire",
		read: "CAST(s.expire AS timestamptz)", write: "CAST(CAST(@ AS timestamptz) AS timestamp)",
		owner: owner, user: "u.id AS user_id",
		join:   "users u ON u.id = (json_populate_record(NULL::users, json_build_object('id', " + owner + "))).id",
		person: usersColumns,
		insert: `INSERT INTO "session" (sid, sess, expire, gatehouse) VALUES ($1, ` + sess + `, CAST(CAST($3 AS timestamptz) AS timestamp), $4)`,
	}
	return preset{
		token: config.DatabaseToken{Hash: config.TokenPlain}, expiry: config.ExpiryTimestamp, lifetime: 2 * time.Hour,
		cookie:  config.AppCookie{Name: "connect.sid", Scheme: config.CookieExpress},
		queries: h.queries(database.Postgres),
	}
}

// presetLaravel is Laravel's table sessions, SESSION_DRIVER=database. last_activity is the last use, in
// seconds, and Laravel's SESSION_LIFETIME is session.database.expiry.lifetime. Its users table has no role.
func presetLaravel(d database.Dialect) preset {
	// base64 of serialize([]): a session in which nothing is kept.
	const empty = "'YTowOnt9'"
	h := shape{
		table: "sessions", id: "id", expires: "last_activity", owner: "s.user_id",
		user: "u.id AS user_id", join: "users u ON u.id = s.user_id",
		person: "u.email, u.name, u.email_verified_at IS NOT NULL AS email_verified",
		insert: "INSERT INTO sessions (id, user_id, payload, last_activity, gatehouse) VALUES ($1, $2, " + empty + ", $3, $4)",
	}
	return preset{
		token: config.DatabaseToken{Hash: config.TokenPlain}, expiry: config.ExpiryLastUse, lifetime: 2 * time.Hour,
		cookie:  config.AppCookie{Name: "laravel_session", Scheme: config.CookieLaravel},
		queries: h.queries(d),
	}
}
