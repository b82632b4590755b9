package login

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/login/password"
)

// The columns of an account. All but the first two may be missing, or NULL.
const (
	columnID          = "id"
	columnHash        = "password_hash"
	columnEmail       = "email"
	columnName        = "name"
	columnVerified    = "email_verified"
	columnRole        = "role"
	columnDisabled    = "disabled"
	columnLockedUntil = "locked_until"
)

// row is what is needed of *database.Row.
type row interface {
	Has(column string) bool
	Null(column string) bool
	String(column string) string
	Bool(column string) (bool, error)
	Time(column string) (time.Time, error)
}

// account reads a row. An error is about the query, for which every account would fail; what is wrong with
// one account alone closes that one.
func (d *databaseAccounts) account(name string, r row) (account, error) {
	for _, column := range []string{columnID, columnHash} {
		if !r.Has(column) {
			d.said.log(d.h.deps.Log.Error().Str("column", column), "column "+column, "login.database.query gives no column "+column+
				": nobody can log in. Select it, or name yours with AS "+column)
			return account{}, fmt.Errorf("%w: login.database.query gives no column %s", errAccounts, column)
		}
	}
	a := account{known: name}
	a.Email, a.Name, a.Role = r.String(columnEmail), r.String(columnName), r.String(columnRole)
	if a.Email != "" {
		a.known = a.Email
	}
	id, err := userID(r.String(columnID))
	if err != nil {
		a.limit = "name " + name
		return d.unreadable(a, columnID, err), nil
	}
	a.ID, a.limit = id, "id "+id
	if a.refused, err = d.state(&a, r); err != nil {
		return d.unreadable(a, "", err), nil
	}
	// A column of fixed width is filled up with spaces.
	a.hash, err = password.Parse(strings.TrimRight(r.String(columnHash), " "))
	switch {
	case errors.Is(err, password.ErrUnusable):
		return d.closed(a, reasonNoPassword), nil
	case err != nil:
		return d.unreadable(a, columnHash, err), nil
	}
	d.decoys.seen(a.hash)
	a.renew = d.renewal(name, id, r.String(columnHash), a.hash)
	return a, nil
}

// state says why nobody may log in to the account, whatever the password; "" when somebody may. What it
// cannot read it does not guess; but a reason in an earlier column is enough: somebody who is disabled must not stay logged in
// for a date that makes no sense.
func (d *databaseAccounts) state(a *account, r row) (string, error) {
	disabled, disabledErr := r.Bool(columnDisabled)
	lockedUntil, lockedErr := r.Time(columnLockedUntil)
	verified, verifiedErr := r.Bool(columnVerified)
	a.EmailVerified = verified
	switch {
	case disabledErr != nil:
		return "", disabledErr
	case disabled:
		return reasonDisabled, nil
	case lockedErr != nil:
		return "", lockedErr
	case lockedUntil.After(d.h.deps.Clock()):
		return reasonLocked, nil
	case verifiedErr != nil:
		return "", verifiedErr
	case d.cfg.RequireVerifiedEmail && !verified:
		return reasonUnverified, nil
	}
	return "", nil
}

// unreadable closes an account whose row is not what it should be, and tells the operator, once for each.
func (d *databaseAccounts) unreadable(a account, column string, err error) account {
	log := d.h.deps.Log.Error().Str("user", a.ID).Err(err)
	if column != "" {
		log = log.Str("column", column)
	}
	d.said.log(log, "row "+a.ID+" "+err.Error(), "an account of login.database.query cannot be read: nobody can log in to it. Set it right in the database")
	return d.closed(a, reasonUnreadable)
}
