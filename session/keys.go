package session

import (
	"crypto/sha256"
	"strings"
)

// keyspace names Redis's keys (design: Sessions). The braces are literal: they are the Cluster hash tag,
// which puts all keys of a user into one slot.
type keyspace struct{ prefix string }

const sessionKeyword = "session:{"

func (k keyspace) session(key Key) string { return k.sessionByID(key.Tag, key.ID.String()) }

func (k keyspace) sessionByID(tag Tag, id string) string {
	return k.prefix + sessionKeyword + string(tag) + "}:" + id
}

func (k keyspace) index(userID string) string {
	return k.prefix + "user_sessions:{" + string(TagOf(userID)) + "}:" + userID
}

// generation is the point in the login sequence at which all of the user's sessions were last revoked.
func (k keyspace) generation(userID string) string {
	return k.prefix + "user_gen:{" + string(TagOf(userID)) + "}:" + userID
}

// sequence counts revocations of all sessions of any user. It gives the epochs.
func (k keyspace) sequence() string { return k.prefix + "login_seq" }

// limit is the bucket of a rate limit. The name is hashed: it may be what somebody typed as an account.
func (k keyspace) limit(name string) string {
	sum := sha256.Sum256([]byte(name))
	return k.prefix + "login_limit:{" + encoding.EncodeToString(sum[:16]) + "}"
}

// alias leads from a session of the application, by the ID of its row, to the one it has become. The row's
// id column itself may be the application's token.
func (k keyspace) alias(row ID) string { return k.prefix + "app_session:{" + row.String() + "}" }

// migration is the shared state of the migration.
func (k keyspace) migration() string { return k.prefix + "migration" }

// sessionID gives the ID out of a session's key, without making garbage: it is called for every
// key Redis says has changed.
func (k keyspace) sessionID(name string) (ID, bool) {
	rest, ok := strings.CutPrefix(name, k.prefix)
	if !ok || !strings.HasPrefix(rest, sessionKeyword) {
		return ID{}, false
	}
	if rest = rest[len(sessionKeyword):]; len(rest) < tagChars+2 || rest[tagChars:tagChars+2] != "}:" {
		return ID{}, false
	}
	return ParseID(rest[tagChars+2:])
}
