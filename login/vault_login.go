package login

import (
	"fmt"
	"net/http"
	"slices"

	"gatehouse/session"
)

// keep is Collect for a login: with the jar of the browser's previous session as the start, the browser's
// copies of cookies that are in the vault by name, and an error when something does not fit. A login whose
// session cookie is lost would be no login.
func (v *Vault) keep(start *jar, path string, h http.Header, client string) (kept, error) {
	taken := v.take(h, start)
	changes := changesOf(taken, path)
	var adopted []setCookie
	for _, name := range v.cfg.Names {
		// The application did not set it now: it goes on with the value from before the login.
		value, sent := cookieValue(client, name)
		if sent && !start.owns(name) && !slices.ContainsFunc(taken, func(c setCookie) bool { return c.name == name }) {
			adopted = append(adopted, setCookie{name: name, value: value, path: "/"})
		}
	}
	changes = append(changes, changesOf(adopted, "/")...)
	j, err := start.apply(changes, v.clock())
	if err != nil {
		return kept{}, fmt.Errorf("%w: %w", ErrApp, err)
	}
	out := kept{expire: expired(append(taken, adopted...), client)}
	if len(j.owned) == 0 {
		return out, nil
	}
	out.secrets, err = j.encode()
	return out, err
}

// kept is what a login keeps and what the browser must forget for it.
type kept struct {
	secrets []byte
	expire  []setCookie
}

// expired lists what the browser may hold of the vault's cookies: a copy from before the login, where
// the application sets it now and, if the browser sent one, at the path most have.
func expired(taken []setCookie, client string) []setCookie {
	var list []setCookie
	add := func(c setCookie) {
		if !slices.ContainsFunc(list, func(o setCookie) bool { return o.name == c.name && o.path == c.path && o.domain == c.domain }) {
			list = append(list, c)
		}
	}
	for _, c := range taken {
		add(c)
		if _, sent := cookieValue(client, c.name); sent && c.path != "/" {
			add(setCookie{name: c.name, path: "/", secure: c.secure})
		}
	}
	return list
}

// open gives the jar in a session.
func (v *Vault) open(rec *session.Record, token string) (*jar, error) {
	return v.current(v.state(rec.ID), rec, token)
}
