package database

import (
	"net/url"
	"os"
	"strings"
	"sync/atomic"
)

// credentials are of the database's user.
type credentials struct{ user, password string }

// login gives the credentials for a new connection. A URL in a file is read again each time: a password
// that is rotated needs no restart. Other changes in the file do.
type login struct {
	first credentials
	file  string // "" without one
	last  atomic.Pointer[credentials]
}

func newLogin(u *url.Userinfo) *login {
	l := &login{first: credentialsOf(u)}
	l.last.Store(&l.first)
	return l
}

func credentialsOf(u *url.Userinfo) credentials {
	password, _ := u.Password()
	return credentials{user: u.Username(), password: password}
}

// current keeps to the last ones while the file is being written or is gone.
func (l *login) current() credentials {
	if l.file == "" {
		return l.first
	}
	if text, err := os.ReadFile(l.file); err == nil {
		if t, err := parseURL(strings.TrimRight(string(text), "\r\n")); err == nil {
			l.last.Store(&t.login.first)
		}
	}
	return *l.last.Load()
}

// user is the one of the last connection, for messages.
func (l *login) user() string { return l.last.Load().user }
