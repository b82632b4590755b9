package login

import (
	"context"
	"strings"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/login/password"
)

// renewal gives what keeps a better hash of the password of the account that name found; nil when its hash
// is good enough.
func (d *databaseAccounts) renewal(name, id, stored string, hash password.Hash) func(context.Context, string) {
	if d.cfg.Rehash.To != config.RehashArgon2id || d.narrow.Load() || hash.Scheme() == password.Argon2id && !hash.Weak() {
		return nil
	}
	return func(ctx context.Context, better string) {
		// The old hash goes along: when the password was changed since we read it, that stays.
		changed, err := d.h.deps.Database.Exec(ctx, d.cfg.Rehash.Update, better, id, stored)
		switch {
		case ctx.Err() != nil: // the person has gone away; the next login does it
		case err != nil:
			d.said.log(d.h.deps.Log.Warn().Err(err), "rehash "+err.Error(), "a password hash could not be renewed: the old one stays and logging in goes on. "+
				"Check login.database.rehash.update, that the database's user may UPDATE, and that the column holds 97 characters")
		case changed > 1:
			d.said.log(d.h.deps.Log.Error().Str("user", id).Int64("rows", changed), "rehash many", "login.database.rehash.update changed several rows: "+
				"one password now opens all of them. Its WHERE must name one user by $2")
		case changed == 1:
			d.putBack(context.WithoutCancel(ctx), name, id, stored, better)
		}
	}
}

// putBack restores the old hash when the new one was cut: MySQL does that silently to what is too long for
// its column, unless it is in strict mode, and nobody could log in to the account any more.
func (d *databaseAccounts) putBack(ctx context.Context, name, id, stored, better string) {
	kept := better
	err := d.h.deps.Database.Query(ctx, d.cfg.Query, []any{name}, func(row *database.Row) error {
		kept = row.String(columnHash)
		return nil
	})
	if err != nil || len(kept) >= len(better) || !strings.HasPrefix(better, kept) {
		return
	}
	d.narrow.Store(true)
	_, err = d.h.deps.Database.Exec(ctx, d.cfg.Rehash.Update, stored, id, kept)
	d.h.deps.Log.Error().Str("user", id).Int("characters", len(kept)).AnErr("putting_back", err).Msg("the column of the password hashes is too narrow for argon2id, " +
		"and the database cuts what is too long: the old hash was put back, and no more are renewed. Make the column hold 97 characters and start the gateway again")
}
