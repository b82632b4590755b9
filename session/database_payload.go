package session

import (
	"context"

	"gatehouse/database"
)

// payloadReader finds the user inside what a framework has written. valid, which may be nil, says whether the session
// still holds for a user with that password hash. "" is nobody: an anonymous visitor's, or not to be read.
type payloadReader func(payload []byte) (userID string, valid func(passwordHash string) bool)

// person is a user as the statement queries.user gives one.
type person struct {
	id       string
	password *string // nil: the statement does not give it, and it is not checked
	attributes
}

// userIn gives the user a row says it belongs to.
func (s *DatabaseStore) userIn(row *tableRow) string {
	if row.payload == nil {
		return row.user
	}
	id, _ := s.payload(*row.payload)
	return id
}

// personOf gives the user of a payload. ErrNotFound: it names none, the user is gone, or the session
// ended when the password was changed.
func (s *DatabaseStore) personOf(ctx context.Context, q database.Querier, payload []byte, known people) (*person, error) {
	id, valid := s.payload(payload)
	if !askable(id) {
		return nil, ErrNotFound
	}
	p, seen := known[id]
	if !seen {
		var err error
		if p, err = s.askPerson(ctx, q, id); err != nil {
			return nil, err
		}
		known[id] = p
	}
	if p == nil || valid != nil && p.password != nil && !valid(*p.password) {
		return nil, ErrNotFound
	}
	return p, nil
}

// askPerson gives nil for a user who is gone.
func (s *DatabaseStore) askPerson(ctx context.Context, q database.Querier, id string) (p *person, err error) {
	err = q.Query(ctx, s.queries.User, []any{id}, func(r *database.Row) error {
		attrs, err := readAttributes(r)
		p = &person{id: id, attributes: attrs}
		if r.Has("password") {
			password := r.String("password")
			p.password = &password
		}
		return err
	})
	if database.IsRefusedValue(err) {
		return nil, nil
	}
	return p, s.failed(err)
}
