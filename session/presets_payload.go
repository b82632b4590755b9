package session

import (
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/session/appsession"
)

// presetDjango is Django's table django_session beside auth_user. The user is in the signed payload, so the
// gateway adds no rows. A session whose user has changed the password since is none, as in Django: the
// column password of queries.user says so; without that column it is not looked at.
func presetDjango(d database.Dialect) preset {
	name := "TRIM(first_name || ' ' || last_name)"
	if d == database.MySQL {
		name = "TRIM(CONCAT(first_name, ' ', last_name))"
	}
	h := shape{
		table: "django_session", id: "session_key", expires: "expire_date", user: "s.session_data AS payload",
		lookup: "SELECT email, " + name + " AS name, password, CASE WHEN is_superuser THEN 'superuser' WHEN is_staff THEN 'staff' ELSE '' END AS role FROM auth_user WHERE id = $1 AND is_active",
	}
	return preset{
		token: config.DatabaseToken{Hash: config.TokenPlain}, expiry: config.ExpiryTimestamp, lifetime: 2 * time.Hour,
		cookie:  config.AppCookie{Name: "sessionid", Scheme: config.CookiePlain},
		queries: h.queries(d),
	}
}

func djangoPayload(keys []string) payloadReader {
	return func(payload []byte) (string, func(string) bool) {
		id, err := appsession.DjangoSession(string(payload), keys)
		if err != nil {
			return "", nil
		}
		return id.UserID, func(password string) bool { return id.MatchesPassword(password, keys) }
	}
}

// presetRails is the table sessions of activerecord-session_store beside users. The user is user_id in the
// payload, or Devise's user, so the gateway adds no rows. The last use is updated_at, which Rails writes
// in UTC. Where the payload is Devise's and queries.user gives encrypted_password as column password,
// a session whose user has changed the password since is none.
func presetRails(d database.Dialect) preset {
	h := shape{
		table: "sessions", id: "session_id", expires: "updated_at", user: "s.data AS payload", created: "s.created_at",
		read: "CAST(EXTRACT(EPOCH FROM s.updated_at) AS bigint)", write: "CAST(to_timestamp(CAST(@ AS bigint)) AT TIME ZONE 'UTC' AS timestamp)",
		lookup: "SELECT u.email, u.name, u.email_verified, u.role FROM users u WHERE u.id = $1",
	}
	if d == database.MySQL {
		h.read = "TIMESTAMPDIFF(SECOND, '1970-01-01', s.updated_at)"
		h.write = "TIMESTAMPADD(SECOND, @, '1970-01-01')"
	}
	return preset{
		token:  config.DatabaseToken{Hash: config.TokenSHA256, Encoding: config.TokenHex, Prefix: "2::"},
		expiry: config.ExpiryLastUse, lifetime: 2 * time.Hour,
		cookie:  config.AppCookie{Name: "_session_id", Scheme: config.CookiePlain},
		queries: h.queries(d),
	}
}

func railsPayload(payload []byte) (string, func(string) bool) {
	id, err := appsession.RailsUser(payload, []string{"user_id"})
	if err != nil {
		return "", nil
	}
	if id != "" {
		return id, nil
	}
	devise, err := appsession.DeviseSession(payload, "user")
	if err != nil {
		return "", nil
	}
	return devise.UserID, devise.MatchesPassword
}
