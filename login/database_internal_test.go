package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/login/password"
	"gatehouse/session"
)

// columns is a row. A value that is an error is that of reading it; nil is NULL.
type columns map[string]any

func (c columns) Has(column string) bool  { _, ok := c[column]; return ok }
func (c columns) Null(column string) bool { return c[column] == nil }

func (c columns) String(column string) string {
	if c.Null(column) {
		return ""
	}
	return fmt.Sprint(c[column])
}

func (c columns) Bool(column string) (bool, error) {
	err, _ := c[column].(error)
	b, _ := c[column].(bool)
	return b, err
}

func (c columns) Time(column string) (time.Time, error) {
	err, _ := c[column].(error)
	at, _ := c[column].(time.Time)
	return at, err
}

// noon is the time of every test here.
var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

func newAccounts(cfg config.LoginDatabase, db database.Querier) (*databaseAccounts, *bytes.Buffer) {
	log := new(bytes.Buffer)
	return &databaseAccounts{cfg: cfg, h: &Handler{deps: Deps{
		Database: db, Log: zerolog.New(log), Clock: func() time.Time { return noon },
	}}}, log
}

// quickHash is of the password "right".
var quickHash = password.New("right", password.Params{Memory: 8, Time: 1, Threads: 1})

// with is a row of everything, changed by pairs of column and value; a value of "-" takes the column away.
func with(changes ...any) columns {
	c := columns{"id": 7, "password_hash": quickHash, "email": "ada@example.com", "name": "Ada", "role": "admin", "email_verified": true, "disabled": false, "locked_until": nil}
	for i := 0; i+1 < len(changes); i += 2 {
		if column := changes[i].(string); changes[i+1] == "-" {
			delete(c, column)
		} else {
			c[column] = changes[i+1]
		}
	}
	return c
}

func TestAccountOfARow(t *testing.T) {
	t.Parallel()
	everything := session.User{ID: "7", Email: "ada@example.com", Name: "Ada", Role: "admin", EmailVerified: true}
	but := func(change func(*session.User)) session.User { u := everything; change(&u); return u }
	for _, tt := range []struct {
		name    string
		row     columns
		want    session.User
		refused string
		logs    string
	}{
		{"everything", with(), everything, "", ""},
		{"required alone", columns{"id": 7, "password_hash": quickHash}, session.User{ID: "7"}, "", ""},
		{"no email", with("email", "-"), but(func(u *session.User) { u.Email = "" }), "", ""},
		{"email NULL", with("email", nil), but(func(u *session.User) { u.Email = "" }), "", ""},
		{"name NULL", with("name", nil), but(func(u *session.User) { u.Name = "" }), "", ""},
		{"no role", with("role", "-"), but(func(u *session.User) { u.Role = "" }), "", ""},
		{"verified NULL", with("email_verified", nil), but(func(u *session.User) { u.EmailVerified = false }), "", ""},
		{"all digits of the id", with("id", int64(9223372036854775807)), but(func(u *session.User) { u.ID = "9223372036854775807" }), "", ""},
		{"a text as id", with("id", "0a6f-x"), but(func(u *session.User) { u.ID = "0a6f-x" }), "", ""},
		{"filled up with spaces", with("password_hash", quickHash+"   "), everything, "", ""},
		{"disabled", with("disabled", true), everything, reasonDisabled, ""},
		{"disabled NULL", with("disabled", nil), everything, "", ""},
		{"locked", with("locked_until", noon.Add(time.Second)), everything, reasonLocked, ""},
		{"no longer locked", with("locked_until", noon), everything, "", ""},
		{"no password", with("password_hash", nil), everything, reasonNoPassword, ""},
		{"empty password", with("password_hash", ""), everything, reasonNoPassword, ""},
		{"Django's unusable password", with("password_hash", "!aB3"), everything, reasonNoPassword, ""},
		{"unknown hash", with("password_hash", "cleartext"), everything, reasonUnreadable, "password_hash"},
		{"id NULL", with("id", nil), but(func(u *session.User) { u.ID, u.EmailVerified = "", false }), reasonUnreadable, `"column":"id"`},
		{"id of no UTF-8", with("id", "\xff\xfe"), but(func(u *session.User) { u.ID, u.EmailVerified = "", false }), reasonUnreadable, `"column":"id"`},
		{"id with a space", with("id", " 7"), but(func(u *session.User) { u.ID, u.EmailVerified = "", false }), reasonUnreadable, "white space"},
		{"id too long", with("id", strings.Repeat("7", 257)), but(func(u *session.User) { u.ID, u.EmailVerified = "", false }), reasonUnreadable, "256"},
		{"disabled is no boolean", with("disabled", errors.New("column disabled: no boolean")), everything, reasonUnreadable, "column disabled"},
		{"email_verified is no boolean", with("email_verified", errors.New("column email_verified: no boolean")), but(func(u *session.User) { u.EmailVerified = false }), reasonUnreadable, "column email_verified"},
		{"disabled, whatever else there is", with("disabled", true, "email_verified", errors.New("no boolean"), "locked_until", errors.New("no time")),
			but(func(u *session.User) { u.EmailVerified = false }), reasonDisabled, ""},
		{"locked, whatever else there is", with("locked_until", noon.Add(time.Second), "email_verified", errors.New("no boolean")),
			but(func(u *session.User) { u.EmailVerified = false }), reasonLocked, ""},
		{"locked_until is no time", with("locked_until", errors.New("column locked_until: no time")), everything, reasonUnreadable, "column locked_until"},
	} {
		d, log := newAccounts(config.LoginDatabase{}, nil)
		a, err := d.account("typed", tt.row)
		if err != nil || a.User != tt.want || a.refused != tt.refused {
			t.Errorf("%s: %+v, refused %q, %v", tt.name, a.User, a.refused, err)
		}
		if opens := a.hash.Matches("right"); opens == a.decoy {
			t.Errorf("%s: the password opens it: %v, decoy: %v", tt.name, opens, a.decoy)
		}
		if !strings.Contains(log.String(), tt.logs) || tt.logs == "" && log.Len() > 0 || strings.Contains(log.String(), "cleartext") {
			t.Errorf("%s: log %s", tt.name, log)
		}
	}
}

func TestRequireVerifiedEmail(t *testing.T) {
	t.Parallel()
	d, _ := newAccounts(config.LoginDatabase{RequireVerifiedEmail: true}, nil)
	for _, tt := range []struct {
		row  columns
		want string
	}{
		{with(), ""}, {with("email_verified", false), reasonUnverified},
		{with("email_verified", nil), reasonUnverified}, {with("email_verified", "-"), reasonUnverified},
	} {
		if a, err := d.account("typed", tt.row); err != nil || a.refused != tt.want {
			t.Errorf("%v: refused %q, %v", tt.row["email_verified"], a.refused, err)
		}
	}
}

func TestMissingColumn(t *testing.T) {
	t.Parallel()
	for _, column := range []string{"id", "password_hash"} {
		d, log := newAccounts(config.LoginDatabase{}, nil)
		for range 3 {
			_, err := d.account("typed", with(column, "-"))
			if !errors.Is(err, errAccounts) || !strings.Contains(err.Error(), "login.database.query") || !strings.Contains(err.Error(), column) {
				t.Errorf("%s: %v", column, err)
			}
		}
		if n := strings.Count(log.String(), "login.database.query gives no column "+column); n != 1 {
			t.Errorf("%s: told %d times: %s", column, n, log)
		}
	}
}

// fails is a database whose answer is always the error.
type fails struct {
	err   error
	asked int
}

func (f *fails) Query(context.Context, string, []any, func(*database.Row) error) error {
	f.asked++
	return f.err
}

func (f *fails) Exec(context.Context, string, ...any) (int64, error) { f.asked++; return 0, f.err }

func TestAccountsWhenTheDatabaseSaysNo(t *testing.T) {
	t.Parallel()
	const typed = "my-secret-typed-by-mistake"
	away := errors.Join(database.ErrUnavailable, errors.New("connection refused"))
	for _, tt := range []struct {
		name    string
		err     error
		is      error
		refused string
		logs    string
	}{
		{"away", away, database.ErrUnavailable, "", ""},
		{"no table", errors.New("relation users does not exist (SQLSTATE 42P01)"), errAccounts, "", "relation users does not exist"},
	} {
		d, log := newAccounts(config.LoginDatabase{}, &fails{err: tt.err})
		for range 3 {
			a, err := d.find(t.Context(), typed)
			if tt.is != nil && !errors.Is(err, tt.is) || tt.is == nil && (err != nil || !a.decoy) || a.refused != tt.refused {
				t.Errorf("%s: %+v %v", tt.name, a, err)
			}
			if strings.Contains(fmt.Sprint(err, log), typed) {
				t.Errorf("%s: what was typed is shown: %v %s", tt.name, err, log)
			}
		}
		if lines := strings.Count(log.String(), "\n"); !strings.Contains(log.String(), tt.logs) || lines > 1 || (lines == 1) != (tt.logs != "") {
			t.Errorf("%s: log %s", tt.name, log)
		}
	}
}

// What no database has as an account is not asked for.
func TestAccountsNotAskedFor(t *testing.T) {
	t.Parallel()
	db := &fails{err: errors.New("asked")}
	d, _ := newAccounts(config.LoginDatabase{}, db)
	for _, typed := range []string{"", "  ", "ada\x00", "\xff\xfe", "\u3000"} {
		a, err := d.find(t.Context(), typed)
		if err != nil || !a.decoy || a.refused != reasonBadCredentials || a.known != "" || a.limit == "" {
			t.Errorf("%q: %+v %v", typed, a, err)
		}
	}
	if db.asked > 0 {
		t.Errorf("asked %d times", db.asked)
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	const bcrypt10 = "$2y$10$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q"
	strong := password.New("right", password.Default())
	for _, tt := range []struct {
		name, to, hash string
		renews         bool
	}{
		{"off", "", quickHash, false},
		{"weak argon2id", "argon2id", quickHash, true},
		{"good argon2id", "argon2id", strong, false},
		{"good bcrypt", "argon2id", bcrypt10, true},
	} {
		d, _ := newAccounts(config.LoginDatabase{Rehash: config.Rehash{To: tt.to}}, nil)
		if a, err := d.account("typed", with("password_hash", tt.hash)); err != nil || (a.renew != nil) != tt.renews {
			t.Errorf("%s: renews %v, %v", tt.name, a.renew != nil, err)
		}
	}
	// A failure is told once, and there is nothing to return.
	d, log := newAccounts(config.LoginDatabase{Rehash: config.Rehash{To: "argon2id"}}, &fails{err: errors.New("permission denied")})
	a, err := d.account("typed", with())
	if err != nil {
		t.Fatal(err)
	}
	a.renew(t.Context(), strong)
	a.renew(t.Context(), strong)
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "login.database.rehash.update") || !strings.Contains(text, "permission denied") || strings.Contains(text, "$argon2id$") {
		t.Errorf("log %s", text)
	}
}

func TestDecoys(t *testing.T) {
	t.Parallel()
	parse := func(text string) password.Hash {
		h, err := password.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	bcrypt := func(cost int) password.Hash {
		return parse(fmt.Sprintf("$2y$%02d$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q", cost))
	}
	var d decoys
	if got, want := d.hash().Cost(), parse(password.New("x", password.Default())).Cost(); got != want {
		t.Errorf("before any: %s, want %s", got, want)
	}
	d.seen(bcrypt(5))
	d.seen(bcrypt(6))
	if got := d.hash().Cost(); got != bcrypt(5).Cost() {
		t.Errorf("of two as common the first stays: %s", got)
	}
	d.seen(bcrypt(6))
	if got := d.hash(); got.Cost() != bcrypt(6).Cost() || got.Matches(strings.Repeat("x", 80)) {
		t.Errorf("the most common: %s, or it matches a password", got.Cost())
	}
	// A table that is renewed is seen as it is now, and no number of costs fills the memory.
	for i := range 5000 {
		d.seen(parse(password.New("x", password.Params{Memory: uint32(8 + i%40), Time: 1, Threads: 1})))
	}
	for range 2 * maxSeen {
		d.seen(bcrypt(4))
	}
	if got := d.hash().Cost(); got != bcrypt(4).Cost() || len(d.costs) > maxCosts {
		t.Errorf("%s, %d costs", got, len(d.costs))
	}
}

func TestOnceEach(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := zerolog.New(&log)
	var o onceEach
	for i := range 3 * maxSaid {
		o.log(logger.Error(), "always", "a")
		o.log(logger.Error(), fmt.Sprint(i), "b")
	}
	// Bounded memory costs a repetition now and then.
	if n := strings.Count(log.String(), `"message":"a"`); n < 1 || n > 5 || len(o.said) > maxSaid {
		t.Errorf("told %d times, %d remembered", n, len(o.said))
	}
}
