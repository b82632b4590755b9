package sample

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// sessionCookie names the application's own session. HttpOnly, so the gateway's vault keeps it.
	sessionCookie = "legacy_session"
	// csrfCookie holds the CSRF token for scripts, as Django's does. The browser keeps it.
	csrfCookie = "csrftoken"
	// sessionLife is counted from the last login or first visit.
	sessionLife = 24 * time.Hour
	// maxSessions bounds memory: every visitor of the login form gets a session.
	maxSessions = 10_000
)

// session is what the application keeps about one browser, before and after login.
type session struct {
	user    *User // nil before login
	csrf    string
	expires time.Time
}

// sessions is the application's session table.
type sessions struct {
	clock func() time.Time
	table *lru.Cache[string, *session]
}

func newSessions(clock func() time.Time) *sessions {
	table, err := lru.New[string, *session](maxSessions)
	if err != nil {
		panic(err) // only a size below one is refused
	}
	return &sessions{clock: clock, table: table}
}

// find gives the session of a request, or nil.
func (s *sessions) find(r *http.Request) *session {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	found, ok := s.table.Get(c.Value)
	if !ok || !s.clock().Before(found.expires) {
		return nil
	}
	return found
}

// start makes a session with a new id and a new CSRF token, and ends the one the request came with:
// an id from before the login must not be worth anything after it (session fixation).
func (s *sessions) start(w http.ResponseWriter, r *http.Request, u *User) *session {
	s.drop(r)
	id := rand.Text()
	fresh := &session{user: u, csrf: rand.Text(), expires: s.clock().Add(sessionLife)}
	s.table.Add(id, fresh)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}) // #nosec G124 -- the demo runs over http
	http.SetCookie(w, &http.Cookie{Name: csrfCookie, Value: fresh.csrf, Path: "/", SameSite: http.SameSiteLaxMode})            // #nosec G124 -- its script reads this one, over http
	return fresh
}

// end ends the request's session and removes both cookies.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	s.drop(r)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1}) // #nosec G124 -- deletes
	http.SetCookie(w, &http.Cookie{Name: csrfCookie, Path: "/", MaxAge: -1})    // #nosec G124 -- deletes
}

func (s *sessions) drop(r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.table.Remove(c.Value)
	}
}

// allows reports whether a form was sent from a page of this session.
func (s *session) allows(token string) bool {
	return s != nil && subtle.ConstantTimeCompare([]byte(s.csrf), []byte(token)) == 1
}
