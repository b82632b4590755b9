package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The bounds of a jar. Sealed and encoded once more as text it must stay below
// session.MaxSealedSize.
const (
	maxJarSize = 40 << 10 // bytes of JSON
	maxOwned   = 128      // names
)

// ErrJarFull: the application set more cookies than a session may keep. Those that did not fit were
// dropped; they are not given to the browser either.
var ErrJarFull = errors.New("login: the application's cookies do not fit into the session")

// jar holds one session's vaulted cookies. It is never changed, so requests share it.
type jar struct {
	// version counts the changes. Of two copies of one session's jar the higher one is newer.
	version uint64
	cookies []cookie // longest path first, then oldest first (RFC 6265, section 5.4)
	owned   []string // every name that was ever in it: the browser's cookies of these names are dropped
}

// cookie is identified by name, domain and path together, as in a browser.
type cookie struct {
	name, value, domain, path string
	expires                   time.Time // zero: never
}

// change is what one Set-Cookie line does to a jar.
type change struct {
	cookie
	deletes bool
}

func (c cookie) same(d cookie) bool {
	return c.name == d.name && c.domain == d.domain && c.path == d.path
}

// changeOf turns a line of an answer to a request for path into a change.
func changeOf(s setCookie, path string) change {
	c := change{cookie: cookie{name: s.name, value: s.value, path: s.path, expires: s.expires}, deletes: s.deletes}
	c.domain = strings.ToLower(strings.TrimPrefix(s.domain, "."))
	if c.path == "" {
		c.path = defaultPath(path)
	}
	return c
}

// owns reports whether the browser may not have a cookie of this name any more.
func (j *jar) owns(name string) bool { return slices.Contains(j.owned, name) }

// alters reports whether a change is worth writing down. A cookie that is only sent again with a
// later expiry is not, until the expiry has moved by a tenth of the life that is left: many
// applications do so in every answer, and each write costs a round trip and everybody's cached
// copy (S09).
func (j *jar) alters(c change, now time.Time) bool {
	i := slices.IndexFunc(j.cookies, c.cookie.same)
	if i < 0 {
		return !c.deletes || !j.owns(c.name)
	}
	old := j.cookies[i]
	if c.deletes || old.value != c.value || old.expires.IsZero() != c.expires.IsZero() {
		return true
	}
	if c.expires.IsZero() {
		return false // a session cookie, sent again as it was
	}
	return c.expires.Sub(old.expires).Abs() > c.expires.Sub(now)/10
}

// apply gives the jar after the changes, or j itself when none is worth a write. With ErrJarFull
// the jar is still good: what did not fit was left out.
func (j *jar) apply(changes []change, now time.Time) (*jar, error) {
	next := &jar{version: j.version + 1, cookies: slices.Clone(j.cookies), owned: slices.Clone(j.owned)}
	next.cookies = slices.DeleteFunc(next.cookies, func(c cookie) bool { return c.expired(now) })
	var full error
	altered := false
	for _, c := range changes {
		if !next.alters(c, now) {
			continue
		}
		if !next.put(c) {
			full = fmt.Errorf("%w: %s has %d bytes", ErrJarFull, c.name, len(c.value))
			continue
		}
		altered = true
	}
	if !altered {
		return j, full
	}
	slices.SortStableFunc(next.cookies, func(a, b cookie) int { return len(b.path) - len(a.path) })
	return next, full
}

// put makes one change in place, and reports whether it fitted.
func (j *jar) put(c change) bool {
	i := slices.IndexFunc(j.cookies, c.cookie.same)
	more := 0
	if !c.deletes {
		more = c.size()
	}
	if i >= 0 {
		more -= j.cookies[i].size()
	}
	if !j.owns(c.name) {
		more += ownedSize(c.name)
	}
	if more > 0 && j.size()+more > maxJarSize {
		return false
	}
	j.own(c.name)
	switch {
	case c.deletes && i >= 0:
		j.cookies = slices.Delete(j.cookies, i, i+1)
	case c.deletes:
	case i >= 0:
		j.cookies[i] = c.cookie // keeps its place: the age counts from the first setting
	default:
		j.cookies = append(j.cookies, c.cookie)
	}
	return true
}

// own remembers a name. Beyond the bound the oldest name that has no cookie any more is forgotten.
func (j *jar) own(name string) {
	if j.owns(name) {
		return
	}
	j.owned = append(j.owned, name)
	if len(j.owned) <= maxOwned {
		return
	}
	dead := slices.IndexFunc(j.owned[:maxOwned], func(n string) bool {
		return !slices.ContainsFunc(j.cookies, func(c cookie) bool { return c.name == n })
	})
	if dead >= 0 {
		j.owned = slices.Delete(j.owned, dead, dead+1)
	}
}

// header is the Cookie header for a request for path.
func (j *jar) header(path, client string, now time.Time) string {
	path, _, _ = strings.Cut(path, "?")
	header := dropCookies(client, j.owned)
	for _, c := range j.cookies {
		if c.expired(now) || !pathMatches(path, c.path) {
			continue
		}
		if header != "" {
			header += "; "
		}
		header += c.name + "=" + c.value
	}
	return header
}

func (c cookie) expired(now time.Time) bool { return !c.expires.IsZero() && !c.expires.After(now) }

// size is at least what the cookie takes as JSON: base64 and the field names.
func (c cookie) size() int {
	return (len(c.name)+len(c.value)+len(c.domain)+len(c.path)+9)*4/3 + 64
}

func (j *jar) size() int {
	size := 64
	for _, c := range j.cookies {
		size += c.size()
	}
	for _, name := range j.owned {
		size += ownedSize(name)
	}
	return size
}

func ownedSize(name string) int { return (len(name)+3)*4/3 + 4 }

// The form in which a jar is kept. Names and values are bytes, which need not be UTF-8: as JSON
// strings they would come back changed.
type jarJSON struct {
	Version uint64       `json:"n"`
	Cookies []cookieJSON `json:"cookies,omitempty"`
	Owned   [][]byte     `json:"owned,omitempty"`
}

type cookieJSON struct {
	Name    []byte `json:"n"`
	Value   []byte `json:"v"`
	Domain  []byte `json:"d,omitempty"`
	Path    []byte `json:"p"`
	Expires int64  `json:"e,omitempty"` // ms since 1970
}

func (j *jar) encode() ([]byte, error) {
	out := jarJSON{Version: j.version}
	for _, c := range j.cookies {
		stored := cookieJSON{Name: []byte(c.name), Value: []byte(c.value), Domain: []byte(c.domain), Path: []byte(c.path)}
		if !c.expires.IsZero() {
			stored.Expires = c.expires.UnixMilli()
		}
		out.Cookies = append(out.Cookies, stored)
	}
	for _, name := range j.owned {
		out.Owned = append(out.Owned, []byte(name))
	}
	return json.Marshal(out)
}

// decodeJar reads what encode gave; nothing is an empty jar.
func decodeJar(data []byte) (*jar, error) {
	if len(data) == 0 {
		return &jar{}, nil
	}
	var in jarJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("login: the session's cookies cannot be read: %w", err)
	}
	j := &jar{version: in.Version}
	for _, c := range in.Cookies {
		read := cookie{name: string(c.Name), value: string(c.Value), domain: string(c.Domain), path: string(c.Path)}
		if c.Expires != 0 {
			read.expires = time.UnixMilli(c.Expires)
		}
		j.cookies = append(j.cookies, read)
	}
	for _, name := range in.Owned {
		j.owned = append(j.owned, string(name))
	}
	return j, nil
}
