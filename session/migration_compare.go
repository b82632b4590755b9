package session

import (
	"context"
	"errors"
	"strings"
)

// compare looks whether the copy in Redis says the same as the row, off the request's path, and mends
// it if not. Only sessions born in the table have one.
func (m *MigratingStore) compare(rec *Record) {
	if !rec.born {
		return
	}
	select {
	case m.comparisons <- rec:
	default: // one of the next requests is compared instead
	}
}

func (m *MigratingStore) compareAll() {
	for {
		select {
		case <-m.stop:
			return
		case rec := <-m.comparisons:
			m.compareOne(rec)
		}
	}
}

func (m *MigratingStore) compareOne(rec *Record) {
	found, err := m.redis.Find(context.Background(), Key{Tag: TagOf(rec.User.ID), ID: rec.ID})
	switch {
	case errors.Is(err, ErrNotFound):
		m.stats.add(statNoCopy) // it was made before state shadow, or while Redis was away
		return
	case err != nil:
		m.stats.add(statErrors)
		return
	}
	m.stats.add(statCompared)
	fields := differences(rec, found.Record)
	if len(fields) == 0 {
		return
	}
	m.stats.add(statMismatches)
	m.opts.Log.Warn().Str("session", rec.ID.Short()).Str("fields", strings.Join(fields, ",")).
		Msg("the copy of a session in Redis differs from its row in the database; it is mended")
	m.refreshCopy(rec)
}

// differences names the fields in which a session's record in Redis differs from its row. LastAccessed is none of
// them: the two are not renewed in one step.
func differences(row, copied *Record) (fields []string) {
	differ := func(name string, is bool) {
		if is {
			fields = append(fields, name)
		}
	}
	differ("userId", row.User.ID != copied.User.ID)
	differ("email", row.User.Email != copied.User.Email)
	differ("name", row.User.Name != copied.User.Name)
	differ("emailVerified", row.User.EmailVerified != copied.User.EmailVerified)
	differ("role", row.User.Role != copied.User.Role)
	if row.raw != "" { // else the row does not tell when the session was made
		differ("createdAt", !row.CreatedAt.Equal(copied.CreatedAt))
		differ("expiresAt", !row.ExpiresAt.Equal(copied.ExpiresAt))
	}
	return fields
}
