package session

import (
	"strings"

	"gatehouse/config"
	"gatehouse/database"
)

// shape is a sessions table; its statements are made from it. Every %s in them is a name, never a value.
type shape struct {
	table string // s in the statements
	id    string // its id column
	// expires is the column, read what is selected of it when that is not the column as it is, and write what is
	// made of the parameter when that is not the parameter: @ stands for it.
	expires, read, write string
	// owner is what names the row's user; "" when only the payload does.
	owner string
	// user is what is selected for who the user is: a column user_id, or payload.
	user string
	// join brings in the user, as u; its columns are in person.
	join, person string
	created      string // selected as created_at, if there is such a column
	insert       string
	lookup       string // queries.user
}

func (h shape) queries(d database.Dialect) config.SessionQueries {
	stamp := "clock_timestamp()"
	if d == database.MySQL {
		stamp = "UTC_TIMESTAMP(6)"
	}
	id, columns := "s."+h.id, h.columns(stamp)
	from := " FROM " + h.table + " s"
	inner, outer := from, from
	if h.join != "" {
		inner, outer = from+" JOIN "+h.join, from+" LEFT JOIN "+h.join
	}
	q := config.SessionQueries{
		Find:   columns + inner + " WHERE " + id + " = $1",
		Lock:   "SELECT " + id + " AS id" + from + " WHERE " + id + " = $1 FOR UPDATE",
		Insert: h.insert,
		Touch:  "UPDATE " + h.table + " SET " + h.expires + " = " + h.given("$2") + ", gatehouse = $3 WHERE " + h.id + " = $1",
		Mark:   "UPDATE " + h.table + " SET migrated_at = " + stamp + " WHERE " + h.id + " = $1",
		Delete: "DELETE FROM " + h.table + " WHERE " + h.id + " = $1",
		// Of a user who is gone the columns are NULL: nobody's.
		Scan:          columns + outer + " WHERE " + id + " > $1 ORDER BY " + id + " LIMIT $2",
		Count:         h.count(d),
		DeleteExpired: h.deleteExpired(d),
		User:          h.lookup,
	}
	if h.owner != "" {
		q.List = columns + inner + " WHERE " + h.owner + " = $1"
		q.DeleteUser = "DELETE FROM " + h.table + " WHERE " + strings.ReplaceAll(h.owner, "s.", "") + " = $1"
	}
	return q
}

func (h shape) columns(stamp string) string {
	expires := "s." + h.expires
	if h.read != "" {
		expires = h.read
	}
	list := []string{"s." + h.id + " AS id", h.user, expires + " AS expires_at", "s.migrated_at", "s.gatehouse", stamp + " AS now"}
	if h.person != "" {
		list = append(list, h.person)
	}
	if h.created != "" {
		list = append(list, h.created+" AS created_at")
	}
	return "SELECT " + strings.Join(list, ", ")
}

// given is a parameter in the column's form.
func (h shape) given(parameter string) string {
	if h.write == "" {
		return parameter
	}
	return strings.ReplaceAll(h.write, "@", parameter)
}

// count: what belongs to nobody can be no session of the gateway's and is none to move.
func (h shape) count(d database.Dialect) string {
	now := h.given("$1")
	live, expired := "s.migrated_at IS NULL AND s."+h.expires+" > "+now, "s.migrated_at IS NULL AND s."+h.expires+" <= "+now
	if h.owner != "" {
		live += " AND " + h.owner + " IS NOT NULL"
	}
	if d == database.MySQL {
		return "SELECT COALESCE(SUM(" + live + "), 0) AS live, COUNT(s.migrated_at) AS moved, COALESCE(SUM(" + expired + "), 0) AS expired FROM " + h.table + " s"
	}
	return "SELECT COUNT(*) FILTER (WHERE " + live + ") AS live, COUNT(s.migrated_at) AS moved, COUNT(*) FILTER (WHERE " + expired + ") AS expired FROM " + h.table + " s"
}

// deleteExpired takes the oldest first. In PostgreSQL it passes over rows that somebody works on.
func (h shape) deleteExpired(d database.Dialect) string {
	dead := " WHERE " + h.expires + " <= " + h.given("$1") + " ORDER BY " + h.expires + " LIMIT $2"
	if d == database.MySQL {
		return "DELETE FROM " + h.table + dead
	}
	return "WITH dead AS MATERIALIZED (SELECT " + h.id + " AS dead_id FROM " + h.table + dead + " FOR UPDATE SKIP LOCKED) DELETE FROM " +
		h.table + " USING dead WHERE " + h.table + "." + h.id + " = dead.dead_id"
}
