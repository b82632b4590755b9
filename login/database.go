package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"gatehouse/config"
	"gatehouse/database"
)

// databaseAccounts is backend database: the application's users table.
type databaseAccounts struct {
	h      *Handler
	cfg    config.LoginDatabase
	decoys decoys
	said   onceEach
	// narrow: the column of the hashes cuts new ones.
	narrow atomic.Bool
}

func newDatabaseBackend(cfg config.Login, h *Handler) (backend, error) {
	if h.deps.Database == nil {
		return nil, errors.New("login.backend is database, but there is no database: write database.url")
	}
	return newFormBackend(cfg, h, &databaseAccounts{h: h, cfg: cfg.Database}), nil
}

func (*databaseAccounts) name() string { return BackendDatabase }

// close has nothing to do: the database is whoever's opened it.
func (*databaseAccounts) close() error { return nil }

// known would be a question to the database, which an attempt over the limit is not worth.
func (*databaseAccounts) known(string) string { return "" }

// errTwo: the query gave a second row.
var errTwo = errors.New("login: two accounts")

// find asks the database. What was typed reaches it as a parameter and never as part of a statement.
func (d *databaseAccounts) find(ctx context.Context, typed string) (account, error) {
	name := strings.TrimSpace(typed) // phones add a space behind an address they complete
	// PostgreSQL takes neither of these as text. No account is named so; nothing would be, too.
	if name == "" || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return d.nobody(name), nil
	}
	found := d.nobody(name)
	rows := 0
	err := d.h.deps.Database.Query(ctx, d.cfg.Query, []any{name}, func(row *database.Row) error {
		if rows++; rows > 1 {
			return errTwo
		}
		var err error
		found, err = d.account(name, row)
		return err
	})
	switch {
	case errors.Is(err, errTwo):
		d.said.log(d.h.deps.Log.Error().Str("user", found.ID), "two "+found.ID, "login.database.query gave two accounts for one name: "+
			"nobody can log in under it. Make the query find one, or the column unique")
		return d.closed(found, reasonAmbiguous), nil
	case err != nil && d.noValue(err):
		return d.nobody(name), nil
	case err != nil:
		return account{}, d.failure(ctx, err)
	}
	return found, nil
}

// noValue: what was typed is none of the values its column has, such as letters for a customer's number.
// There is no such account then.
func (d *databaseAccounts) noValue(err error) bool {
	if !database.IsRefusedValue(err) {
		return false
	}
	d.said.log(d.h.deps.Log.Warn().Err(err), "value", "the database cannot compare what somebody typed as the account with the column in "+
		"login.database.query: it was taken for an unknown account. If nobody can log in, compare $1 with a text")
	return true
}

// nobody is the account that is not there: the work is the same (L04).
func (d *databaseAccounts) nobody(name string) account {
	return account{hash: d.decoys.hash(), decoy: true, refused: reasonBadCredentials, limit: "name " + name}
}

// closed is an account that no password opens.
func (d *databaseAccounts) closed(a account, reason string) account {
	a.hash, a.decoy, a.refused, a.renew = d.decoys.hash(), true, reason, nil
	return a
}

// failure is what the person gets 503 for. Errors of the database never hold what was asked for: people type
// their password as the account by mistake.
func (d *databaseAccounts) failure(ctx context.Context, err error) error {
	if errors.Is(err, database.ErrUnavailable) || errors.Is(err, errAccounts) || ctx.Err() != nil {
		return err
	}
	d.said.log(d.h.deps.Log.Error().Err(err), "query "+err.Error(), "the database refuses login.database.query: nobody can log in. "+
		"Try it with the database's own client, as the user of database.url")
	return fmt.Errorf("%w: %w", errAccounts, err)
}
