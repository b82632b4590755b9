package login_test

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/internal/testmariadb"
	"gatehouse/login/password"
)

func TestDatabaseRehash(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		old := password.New(secret, quick)
		db.exec("UPDATE users SET password_hash = '%s'", old)
		plain, g := newGate(t, withUsers(db)), newGate(t, withUsers(db, rehash))
		plain.login(t, ada)
		g.send(visit{body: typed(ada, "wrong")})
		if got := db.hashOf(t, ada); got != old {
			t.Error("renewed although it is off, or for a wrong password")
		}
		g.login(t, ada)
		renewed := db.hashOf(t, ada)
		h, err := password.Parse(renewed)
		if err != nil || h.Weak() || h.Scheme() != password.Argon2id || !h.Matches(secret) {
			t.Fatalf("the new hash: %v %v", h, err)
		}
		if got := db.hashOf(t, bob); got != old {
			t.Error("another user's hash has changed")
		}
		db.took()
		g.login(t, ada)
		if n := db.took(); db.hashOf(t, ada) != renewed || n != 1 {
			t.Errorf("a good hash was renewed again, %d questions", n)
		}
	})
}

// A password that is changed while somebody logs in with the old one stays changed.
func TestDatabaseRehashLosesARace(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		g := newGate(t, withUsers(db, rehash))
		changed := password.New("changed-meanwhile", password.Default())
		db.beforeExec = func() { db.exec("UPDATE users SET password_hash = '%s' WHERE id = 1", changed) }
		g.login(t, ada)
		if db.hashOf(t, ada) != changed {
			t.Error("the changed password was changed back")
		}
		refused(t, g.send(visit{body: typed(ada, secret)}), "the old password")
	})
}

// bcrypt has read 72 bytes of what was typed: nobody knows whether the rest was right.
func TestDatabaseRehashOfLongPasswords(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		db.exec("UPDATE users SET password_hash = '%s' WHERE id = 1", bcrypt5)
		g := newGate(t, withUsers(db, rehash))
		if a := g.send(visit{body: typed(ada, eighty+"mistyped")}); a.Code != 303 || db.hashOf(t, ada) != bcrypt5 {
			t.Errorf("%d, or renewed with what bcrypt had not read", a.Code)
		}
		if a := g.send(visit{body: typed(ada, eighty)}); a.Code != 303 || db.hashOf(t, ada) == bcrypt5 {
			t.Errorf("%d, or not renewed", a.Code)
		}
	})
}

func TestDatabaseRehashThatFails(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		for name, update := range map[string]string{
			"no such column": "UPDATE users SET pw = $1 WHERE id = $2 AND password_hash = $3",
			"too narrow":     "UPDATE users SET role = $1 WHERE id = $2 AND password_hash = $3", // varchar(50)
		} {
			g := newGate(t, withUsers(db, rehash, func(c *config.LoginDatabase) { c.Rehash.Update = update }))
			before := db.hashOf(t, ada)
			g.login(t, ada)
			g.login(t, ada)
			log := g.logged()
			if db.hashOf(t, ada) != before || strings.Count(log, "could not be renewed") != 1 || strings.Contains(log, "$argon2id$") || strings.Contains(log, secret) {
				t.Errorf("%s: log %s", name, log)
			}
		}
		// The update changes everybody: nothing holds that back, but it is told.
		g := newGate(t, withUsers(db, rehash, func(c *config.LoginDatabase) {
			c.Rehash.Update = "UPDATE users SET password_hash = $1 WHERE id >= $2"
		}))
		g.login(t, ada)
		if log := g.logged(); !strings.Contains(log, "changed several rows") {
			t.Errorf("log %s", log)
		}
	})
}

// MariaDB that is not in strict mode cuts what does not fit, and says nothing.
func TestDatabaseRehashThatIsCut(t *testing.T) {
	t.Parallel()
	server := testmariadb.Start(t, testmariadb.Flags("--sql-mode="))
	db := usersAt(t, sqlServers[1], server.NewDatabase(t))
	db.exec("ALTER TABLE users MODIFY password_hash varchar(60)")
	db.exec("UPDATE users SET password_hash = '%s'", bcrypt5)
	g := newGate(t, withUsers(db, rehash))
	for i, want := range []int{4, 1} { // find, update, look, put back; then no more
		db.took()
		if a := g.send(visit{body: typed(ada, eighty)}); a.Code != 303 || db.hashOf(t, ada) != bcrypt5 {
			t.Errorf("login %d: %d, or the hash was cut", i+1, a.Code)
		}
		if n := db.took(); n != want {
			t.Errorf("login %d: %d questions, want %d", i+1, n, want)
		}
	}
	if log := g.logged(); strings.Count(log, "too narrow for argon2id") != 1 || strings.Contains(log, "$argon2id$") {
		t.Errorf("log %s", log)
	}
}

// Timing as TestLoginTimesTellNothing; the database takes its part of each attempt alike.
func TestDatabaseLoginTimesTellNothing(t *testing.T) {
	for name, hash := range map[string]string{"argon2id": password.New(secret, password.Params{Memory: 2048, Time: 2, Threads: 1}), "bcrypt": bcrypt5} {
		for _, server := range sqlServers {
			t.Run(fmt.Sprintf("L04_times_%s_%s", name, server.name), func(t *testing.T) {
				db := openUsers(t, server.name)
				db.exec("UPDATE users SET password_hash = '%s'", hash)
				db.exec("UPDATE users SET disabled = true WHERE email = '%s'", bob)
				g := newGate(t, withUsers(db, query(allColumns)))
				g.send(visit{body: typed(ada, "wrong")}) // the first account shows what hashes cost here
				m := measurement{accounts: []string{ada, "nobody@example.com", bob}}
				for range 8 {
					if m.run(t, g, 41); m.spread() < 0.05 {
						return
					}
				}
				t.Errorf("median times of known, unknown and disabled accounts differ by %.1f %%", m.spread()*100)
			})
		}
	}
}
