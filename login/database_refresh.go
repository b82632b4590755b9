package login

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gatehouse/database"
	"gatehouse/session"
)

func (d *databaseAccounts) refresh() session.Refresh {
	return session.Refresh{Every: d.cfg.Refresh, Backend: BackendDatabase, Application: true, Read: d.read}
}

// read asks the database about a user who is logged in. Only an answer without any row means that there is no such user.
func (d *databaseAccounts) read(ctx context.Context, userID string) (session.Change, error) {
	if strings.ContainsRune(userID, 0) { // PostgreSQL takes it for a mistake in the statement
		return session.Change{}, d.unread(userID, "holds a NUL")
	}
	var found session.Change
	rows, mine := 0, 0
	err := d.h.deps.Database.Query(ctx, d.cfg.RefreshQuery, []any{userID}, func(row *database.Row) error {
		if err := d.hasColumns(row); err != nil {
			return err
		}
		rows++
		// MySQL compares a number with a text by what it can read of it as one: rows of other users come along.
		if row.String(columnID) != userID {
			return nil
		}
		if mine++; mine > 1 {
			return errTwo
		}
		var err error
		found, err = d.profile(userID, row)
		return err
	})
	switch {
	case errors.Is(err, errTwo):
		return session.Change{}, d.unread(userID, "gives two rows for one user")
	case database.IsRefusedValue(err):
		return session.Change{}, d.unread(userID, "cannot compare the user's ID with its column")
	case err != nil:
		return session.Change{}, d.refreshFailure(err)
	case rows == 0:
		return session.Change{}, session.ErrUserMissing
	case mine == 0:
		return session.Change{}, d.unread(userID, "gives rows of other users only, or writes the ID in another way than the login")
	}
	return found, nil
}

// hasColumns finds what is missing in the query, for which everybody would be taken for somebody who may not log in.
func (d *databaseAccounts) hasColumns(row row) error {
	switch {
	case !row.Has(columnID):
		return fmt.Errorf("%w: login.database.refresh_query gives no column %s", errAccounts, columnID)
	case d.cfg.RequireVerifiedEmail && !row.Has(columnVerified):
		return fmt.Errorf("%w: login.database.refresh_query gives no column %s, which require_verified_email needs", errAccounts, columnVerified)
	}
	return nil
}

// profile is what a row says of its user. Columns that are not there leave the session as it is.
func (d *databaseAccounts) profile(userID string, r row) (session.Change, error) {
	var a account
	refused, err := d.state(&a, r)
	switch {
	case err != nil:
		return session.Change{}, d.unread(userID, "gives a value that cannot be read: "+err.Error())
	case refused != "":
		return session.Change{}, fmt.Errorf("%w: %s", session.ErrUserRefused, refused)
	}
	text := func(column string) *string {
		if !r.Has(column) {
			return nil
		}
		s := r.String(column)
		return &s
	}
	c := session.Change{Email: text(columnEmail), Name: text(columnName), Role: text(columnRole)}
	if r.Has(columnVerified) {
		c.EmailVerified = &a.EmailVerified
	}
	return c, nil
}

// unread is about one user: nothing is guessed, the sessions go on.
func (d *databaseAccounts) unread(userID, what string) error {
	d.said.log(d.h.deps.Log.Error().Str("user", userID), "refresh "+userID+" "+what, "login.database.refresh_query "+what+
		": the sessions of this user go on as they are")
	return session.ErrUserUnreadable
}

// refreshFailure is about the query, or the database is away.
func (d *databaseAccounts) refreshFailure(err error) error {
	if !errors.Is(err, database.ErrUnavailable) {
		d.said.log(d.h.deps.Log.Error().Err(err), "refresh query "+err.Error(), "login.database.refresh_query does not work: users who are logged in are "+
			"not read again. Try it with the database's own client, as the user of database.url")
	}
	return err
}
