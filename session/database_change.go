package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/database"
)

// Replace writes next over old under the lock of the row. Also errMigrated, which is an ErrNotFound.
func (s *DatabaseStore) Replace(ctx context.Context, old, next *Record, ttl time.Duration) error {
	if err := s.ready(); err != nil {
		return err
	}
	if old.ID != next.ID || old.User.ID != next.User.ID {
		return fmt.Errorf("%w: a session keeps its ID and its user", ErrConflict)
	}
	key := old.Key()
	id, born := s.locate(key)
	if id == "" {
		return ErrNotFound
	}
	stored, raw, err := s.toStore(next, born)
	if err != nil {
		return err
	}
	ctx = shared(ctx)
	ends := s.ends.Load()
	err = s.tx(ctx, func(tx *database.Tx) error {
		current, err := s.locked(ctx, tx, id, born)
		if err != nil {
			return err
		}
		if current.User.ID != next.User.ID {
			return ErrNotFound // the application has logged somebody else in on the row
		}
		if current.raw != old.raw {
			return &ConflictError{Current: current}
		}
		now, err := s.databaseNow(ctx, tx)
		if err != nil {
			return err
		}
		_, err = s.exec(ctx, tx, s.queries.Touch, id, s.form.value(now.Add(max(ttl, time.Millisecond))), raw)
		return err
	})
	switch {
	case err == nil:
		stored.raw, stored.row, stored.born = raw, old.row, born
		s.wrote(stored, ends)
	case errors.Is(err, ErrNotFound):
		s.ending(old.ID)
	}
	return err
}

// locked reads a live session under the lock of its row.
func (s *DatabaseStore) locked(ctx context.Context, tx *database.Tx, id string, born bool) (*Record, error) {
	there, err := s.lock(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, ErrNotFound
	}
	return s.session(ctx, tx, id, born)
}

// Revoke deletes the row. The user is not needed.
func (s *DatabaseStore) Revoke(ctx context.Context, key Key, _ string) (bool, error) {
	if err := s.ready(); err != nil {
		return false, err
	}
	id, _ := s.locate(key)
	if id == "" {
		return false, nil
	}
	defer s.ending(idOf(key))()
	if key.Row != "" {
		return s.revokeRow(shared(ctx), id)
	}
	n, err := s.db.Exec(shared(ctx), s.queries.Delete, id)
	if database.IsRefusedValue(err) {
		return false, nil
	}
	return n > 0, s.failed(err)
}

// revokeRow deletes a row the application made, and none of the gateway's: what their ids are made of is no secret, and
// whoever knows one could log its user out by writing it into the application's cookie.
func (s *DatabaseStore) revokeRow(ctx context.Context, id string) (there bool, err error) {
	err = s.tx(ctx, func(tx *database.Tx) error {
		if there, err = s.lock(ctx, tx, id); err != nil || !there {
			return err
		}
		row, err := s.row(ctx, tx, id)
		if errors.Is(err, ErrNotFound) {
			// Nobody's, such as a cart before its owner has logged in. It goes too: the next person at the browser must
			// not find it. The lock has compared the id, exactly.
			_, err = s.exec(ctx, tx, s.queries.Delete, id)
			return err
		}
		if err != nil {
			return err
		}
		if s.isBorn(row) {
			there = false
			return nil
		}
		_, err = s.exec(ctx, tx, s.queries.Delete, id)
		return err
	})
	if errors.Is(err, ErrNotFound) || database.IsRefusedValue(err) { // no id of the column can be this
		return false, nil
	}
	return there && err == nil, s.failed(err)
}

// isBorn reports whether the gateway made the row.
func (s *DatabaseStore) isBorn(row *tableRow) bool {
	if strings.HasPrefix(row.id, rowPrefix) {
		return true
	}
	if row.raw == "" {
		return false
	}
	noted, err := parseRecord(row.raw)
	return err == nil && rowOf(noted.ID, s.cfg.NewID) == row.id
}

// RevokeUser raises the user's epoch and deletes the rows by one transaction, marked and expired
// ones too. Logins of the user wait for it or have come before it. Where rows do not name their user, the
// rows are looked for and deleted after it: with an error some may be left, and it can be called again.
func (s *DatabaseStore) RevokeUser(ctx context.Context, userID string, except ...ID) ([]ID, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	ctx = shared(ctx)
	known := slices.DeleteFunc(s.known.of(userID), func(id ID) bool { return slices.Contains(except, id) })
	defer s.ending(known...)()
	var ended []ID
	err := s.tx(ctx, func(tx *database.Tx) error {
		ended = nil
		if err := s.supersede(ctx, tx, userID); err != nil || s.queries.List == "" {
			return err
		}
		mine, err := s.ofUser(ctx, tx, userID)
		if err != nil {
			return err
		}
		ended, err = s.deleteRows(ctx, tx, userID, mine, except)
		return err
	})
	if err == nil && s.queries.List == "" {
		var mine []ownRow
		if mine, err = s.ofUser(ctx, s.db, userID); err == nil {
			ended, err = s.deleteRows(ctx, s.db, userID, mine, except)
		}
	}
	s.ending(ended...)
	if errors.Is(err, ErrInvalidUser) {
		return nil, nil // nobody the table can hold
	}
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// supersede makes logins of the user that have begun fail.
func (s *DatabaseStore) supersede(ctx context.Context, tx *database.Tx, userID string) error {
	if !askable(userID) {
		return ErrInvalidUser
	}
	if _, err := s.exec(ctx, tx, s.own.advance, everybody); err != nil {
		return err
	}
	n, err := s.epochOf(ctx, tx, everybody)
	if err != nil {
		return err
	}
	return s.raise(ctx, tx, userID, n)
}

// deleteRows deletes a user's rows but those of the sessions in except, and gives the sessions that
// were live.
func (s *DatabaseStore) deleteRows(ctx context.Context, q database.Querier, userID string, mine []ownRow, except []ID) (ended []ID, err error) {
	for _, m := range mine {
		if m.rec != nil && slices.Contains(except, m.rec.ID) {
			continue
		}
		n, err := s.exec(ctx, q, s.queries.Delete, m.id)
		if err != nil {
			return nil, err
		}
		if n > 0 && m.live() {
			ended = append(ended, m.rec.ID)
		}
	}
	if len(except) > 0 || s.queries.DeleteUser == "" || !s.own.exact {
		return ended, nil
	}
	// And what the application may have added meanwhile.
	_, err = s.exec(ctx, q, s.queries.DeleteUser, userID)
	return ended, err
}
