package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatehouse/config"
	"gatehouse/database"
)

// tableRow is one row of the application's table, as a statement gave it.
type tableRow struct {
	id      string
	user    string    // "": nobody's, or inside the payload
	payload *[]byte   // nil: the row names its user
	expires time.Time // zero: the column is NULL, which is no session
	moved   bool
	raw     string    // the column gatehouse
	created time.Time // zero: not known
	now     time.Time
	attributes
}

// live reports whether the row is a session: not moved to Redis, not expired.
func (r *tableRow) live() bool { return !r.moved && !r.expired() }

func (r *tableRow) expired() bool { return !r.now.Before(r.expires) }

// attributes are what the application's tables say of a user now; nil where there is no such column.
type attributes struct {
	email, name, role *string
	verified          *bool
}

// over writes them over what the record remembers: a role that was taken away must not live on in it.
func (a attributes) over(u *User) {
	set := func(to *string, from *string) {
		if from != nil {
			*to = valid(*from)
		}
	}
	set(&u.Email, a.email)
	set(&u.Name, a.name)
	set(&u.Role, a.role)
	if a.verified != nil {
		u.EmailVerified = *a.verified
	}
}

func readAttributes(r *database.Row) (attributes, error) {
	text := func(column string) *string {
		if !r.Has(column) {
			return nil
		}
		s := r.String(column)
		return &s
	}
	a := attributes{email: text("email"), name: text("name"), role: text("role")}
	if r.Has("email_verified") {
		verified, err := r.Bool("email_verified")
		if err != nil {
			return attributes{}, err
		}
		a.verified = &verified
	}
	return a, nil
}

// complete reports a column that a statement should give and does not.
func (s *DatabaseStore) complete(query string, r *database.Row) error {
	user := "user_id"
	if s.payload != nil && r.Has("payload") {
		user = "payload"
	}
	for _, column := range []string{"id", user, "expires_at", "migrated_at", "gatehouse"} {
		if !r.Has(column) {
			return fmt.Errorf("session.database.queries.%s gives no column %s: name it so with AS", query, column)
		}
	}
	return nil
}

// readRow takes the columns by name. query names the statement for the errors, which are of the
// configuration and concern every row.
func (s *DatabaseStore) readRow(query string, r *database.Row) (*tableRow, error) {
	if err := s.complete(query, r); err != nil {
		return nil, err
	}
	row := &tableRow{
		id: r.String("id"), user: r.String("user_id"), moved: !r.Null("migrated_at"), raw: r.String("gatehouse"), now: s.clock(),
	}
	if !r.Has("user_id") {
		payload := r.Bytes("payload")
		row.payload = &payload
	}
	var err error
	if row.expires, err = s.form.read(r); err != nil {
		return nil, fmt.Errorf("session.database.expiry.as is %s, but queries.%s: %w", s.form.as, query, err)
	}
	for column, to := range map[string]*time.Time{"created_at": &row.created, "now": &row.now} {
		if r.Null(column) {
			continue
		}
		if *to, err = r.Time(column); err != nil {
			return nil, fmt.Errorf("session.database.queries.%s: %w", query, err)
		}
	}
	if row.attributes, err = readAttributes(r); err != nil {
		return nil, fmt.Errorf("session.database.queries.%s: %w", query, err)
	}
	return row, nil
}

// rows runs a statement that gives rows of the table.
func (s *DatabaseStore) rows(ctx context.Context, q database.Querier, query, statement string, args ...any) (all []*tableRow, err error) {
	err = q.Query(ctx, statement, args, func(r *database.Row) error {
		row, err := s.readRow(query, r)
		if err == nil {
			all = append(all, row)
		}
		return err
	})
	return all, err
}

// row reads one row; ErrNotFound when there is none. The id is compared here again: to a database whose
// collation ignores case or trailing spaces, a token's neighbours are the same row.
func (s *DatabaseStore) row(ctx context.Context, q database.Querier, id string) (*tableRow, error) {
	all, err := s.rows(ctx, q, "find", s.queries.Find, id)
	if err != nil {
		if database.IsRefusedValue(err) {
			return nil, ErrNotFound // no id of this column's type can be so
		}
		return nil, s.failed(err)
	}
	for _, row := range all {
		if row.id == id {
			return row, nil
		}
	}
	return nil, ErrNotFound
}

// people remembers the users of one call.
type people map[string]*person

// record makes the session of a row, live or not. ErrNotFound: it has no user. ErrCorrupt.
func (s *DatabaseStore) record(ctx context.Context, q database.Querier, row *tableRow, known people) (*Record, error) {
	user, attrs := row.user, row.attributes
	if row.payload != nil {
		p, err := s.personOf(ctx, q, *row.payload, known)
		if err != nil {
			return nil, err
		}
		user, attrs = p.id, p.attributes
	}
	if user == "" {
		return nil, ErrNotFound
	}
	if !validUserID(user) {
		return nil, fmt.Errorf("%w: the user's id is not UTF-8", ErrCorrupt)
	}
	rec, err := s.decodeRow(row, user)
	if err != nil {
		return nil, err
	}
	attrs.over(&rec.User)
	return rec, nil
}

// decodeRow joins what the gateway has noted in the row with what the row says.
func (s *DatabaseStore) decodeRow(row *tableRow, user string) (*Record, error) {
	var noted *Record
	if row.raw != "" {
		var err error
		if noted, err = parseRecord(row.raw); err != nil {
			return nil, fmt.Errorf("%w: column gatehouse: %w", ErrCorrupt, err)
		}
	}
	if noted != nil && rowOf(noted.ID, s.cfg.NewID) == row.id {
		if noted.User.ID != user {
			return nil, fmt.Errorf("%w: the row belongs to another user than its record", ErrCorrupt)
		}
		noted.born = true
		return noted, nil
	}
	if strings.HasPrefix(row.id, rowPrefix) {
		return nil, fmt.Errorf("%w: a row of the gateway without its record", ErrCorrupt)
	}
	return s.applicationRecord(row, user, noted), nil
}

// applicationRecord is the session of a row the application made. What was noted of another user is not this
// session's: an application may log somebody else in on the same row. What was noted under another
// id is, the application has renamed the row: that starts no new absolute limit.
func (s *DatabaseStore) applicationRecord(row *tableRow, user string, noted *Record) *Record {
	id := rowID(row.id)
	now := s.clock().UTC().Truncate(time.Millisecond)
	used := row.lastUse(s.form)
	if used.After(now) {
		used = time.Time{}
	}
	if noted != nil && noted.User.ID == user {
		noted.ID, noted.row, noted.born = id, row.id, false
		if used.After(noted.LastAccessed) {
			noted.LastAccessed = used
		}
		return noted
	}
	// When it was used is not known. Not now, or it would never be due for the renewal that notes its
	// absolute limit; not longer ago than that either, it must not look idle.
	if used.IsZero() {
		used = now.Add(-s.policy.renewEvery())
	}
	created := used
	if !row.created.IsZero() {
		created = row.created.UTC().Truncate(time.Millisecond)
		if used.Before(created) {
			used = created
		}
	}
	return &Record{
		Version: SchemaVersion, ID: id, User: User{ID: user}, CreatedAt: created, LastAccessed: used,
		ExpiresAt: created.Add(s.policy.absolute).Truncate(time.Millisecond), raw: row.raw, row: row.id,
	}
}

// lastUse is when the application last used the session; zero where its table does not say.
func (r *tableRow) lastUse(f expiryForm) time.Time {
	if f.as != config.ExpiryLastUse || r.expires.IsZero() {
		return time.Time{}
	}
	return r.expires.Add(-f.lifetime)
}
