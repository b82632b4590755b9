package login_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/login"
	"gatehouse/session"
)

// safe is one session and its vault.
type safe struct {
	t        *testing.T
	vault    *login.Vault
	sessions *appSessions
	token    string
	rec      *session.Record // as some request found it
	log      *logBuffer
	mu       sync.Mutex
	now      time.Time
}

func openSafe(t *testing.T, cfg config.Vault) *safe {
	t.Helper()
	s := &safe{t: t, sessions: &appSessions{records: map[session.ID]*session.Record{}}, log: &logBuffer{}}
	s.now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	s.vault = login.NewVault(cfg, s.sessions, zerolog.New(s.log), s.clock)
	var err error
	s.token, s.rec, err = s.sessions.Create(t.Context(), session.Login{User: session.User{ID: "17"}, Began: began()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *safe) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *safe) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// find reads the session as a request would that comes after everything else.
func (s *safe) find() {
	s.t.Helper()
	found, err := s.sessions.Find(s.t.Context(), s.token)
	if err != nil {
		s.t.Fatal(err)
	}
	s.rec = found.Record
}

// set is an answer to a request for path with these Set-Cookie lines; it gives those that passed.
func (s *safe) set(path string, lines ...string) ([]string, error) {
	h := http.Header{"Set-Cookie": append([]string{}, lines...)}
	err := s.vault.Incoming(s.t.Context(), s.rec, s.token, path, h)
	return h["Set-Cookie"], err
}

// mustSet is set, with all lines taken and no error.
func (s *safe) mustSet(path string, lines ...string) {
	s.t.Helper()
	if passed, err := s.set(path, lines...); err != nil || len(passed) != 0 {
		s.t.Fatalf("%q: passed %q, %v", lines, passed, err)
	}
}

func (s *safe) want(path, client, want string) {
	s.t.Helper()
	got, err := s.vault.Outgoing(s.rec, s.token, path, client)
	if err != nil || got != want {
		s.t.Errorf("%s with %q:\n got %q, %v\nwant %q", path, client, got, err, want)
	}
}

var httpOnly = config.Vault{HTTPOnly: true}

func TestVaultChoice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, line string
		cfg        config.Vault
		kept       bool
	}{
		{"HttpOnly", "a=1; HttpOnly", httpOnly, true},
		{"any case", "a=1;httponly", httpOnly, true},
		{"with a value", "a=1; HttpOnly=false", httpOnly, true},
		{"with blanks", "a=1;\t hTTponly =x", httpOnly, true},
		{"not HttpOnly", "a=1; Secure", httpOnly, false},
		{"in the value", "a=HttpOnly", httpOnly, false},
		{"named", "a=1", config.Vault{Names: []string{"b", "a"}}, true},
		{"other name", "c=1; HttpOnly", config.Vault{Names: []string{"b", "a"}}, false},
		{"other case", "A=1", config.Vault{Names: []string{"a"}}, false},
		{"none", "a=1; HttpOnly", config.Vault{}, false},
		{"control character hides HttpOnly", "a=1\x00; HttpOnly", httpOnly, true},
		{"control character", "a=1\x01", httpOnly, true},
		{"no name", "=1; HttpOnly", httpOnly, true},
		{"no name, readable", "a", httpOnly, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := openSafe(t, c.cfg)
			passed, err := s.set("/", "x=0; Path=/", c.line, "y=0")
			if want := []string{"x=0; Path=/", c.line, "y=0"}; err != nil || !c.kept && fmt.Sprint(passed) != fmt.Sprint(want) {
				t.Errorf("passed %q, %v", passed, err)
			}
			if c.kept && fmt.Sprint(passed) != "[x=0; Path=/ y=0]" {
				t.Errorf("passed %q", passed)
			}
		})
	}
}

func TestVaultReplay(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	s.want("/", "c=1", "c=1")
	s.mustSet("/shop/cart?x=/y", "sid=1; Path=/; HttpOnly", "cart=2; HttpOnly", "bad=3; Path=shop; HttpOnly", "deep=4; Path=/shop/cart/items; HttpOnly")
	s.want("/", "", "sid=1")
	s.want("/shop", "c=1", "c=1; cart=2; bad=3; sid=1")
	s.want("/shop/cart/items/7?a=b", "", "deep=4; cart=2; bad=3; sid=1")
	s.want("/shopping", "", "sid=1")
	s.want("/shop/cart/itemsx", "", "cart=2; bad=3; sid=1")

	t.Log("same name, other path or domain: another cookie")
	s.mustSet("/", "sid=5; Path=/shop; HttpOnly", "sid=6; Path=/; Domain=.Example.com; HttpOnly")
	s.want("/shop", "", "cart=2; bad=3; sid=5; sid=1; sid=6")
	s.mustSet("/", "sid=; Domain=example.com; Path=/; Max-Age=0")
	s.want("/shop", "", "cart=2; bad=3; sid=5; sid=1")
	s.find()
	s.want("/shop", "", "cart=2; bad=3; sid=5; sid=1")

	t.Log("byte for byte")
	for _, value := range []string{`{"x":1, "y":[2]}`, `"quoted"`, "a=b==", "caf\xe9\xff", "ünï", "a b\tc", ""} {
		s := openSafe(t, httpOnly)
		s.mustSet("/", "v="+value+" ; Path=/; HttpOnly")
		s.find()
		s.want("/", `k={"z": 1};l="x,y"`, `k={"z": 1};l="x,y"; v=`+value)
	}
}

func TestVaultOwnership(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	s.mustSet("/", "app_sid=1; Path=/; HttpOnly")
	for _, client := range []string{
		"app_sid=0", " app_sid = 0", "app_sid", `"app_sid"=0`, "app.sid=0", "app sid=0", "app_sid[x]=0", "app%5fsid=0", "App_Sid=0", "APP%5FSID=0",
		"=app_sid=0", "a=1, app_sid=0", "a=1 app_sid=0", `a="x"app_sid=0`, "a='app_sid =0", "app_sid=0; app_sid=2;app.sid=3",
	} {
		s.want("/", client, "app_sid=1")
		s.want("/", "a=b; "+client+";c=d", "a=b;c=d; app_sid=1")
	}
	for _, client := range []string{"app_sid2=0", "xapp_sid=0", "a=app_sid", "a=xapp_sid=0", "app-sid=0", "a=1;;b=2", `a="b;c"`, "a=b;"} {
		s.want("/", client, client+"; app_sid=1")
	}

	t.Log("deleted without HttpOnly, as applications do, and owned from then on")
	for _, deletion := range []string{
		"app_sid=; Path=/; Max-Age=0", "app_sid=x; Path=/; Max-Age=-1", `app_sid=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/`,
		"app_sid=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/", "app_sid=; Path=/; Expires=Wed, 01-Jan-70 00:00:00 GMT",
		"app_sid=; Path=/; Expires=Tue, 01 Jan 2030 00:00:00 GMT",
	} {
		s.mustSet("/", "app_sid=1; Path=/; HttpOnly")
		s.mustSet("/", deletion)
		s.want("/", "app_sid=old; a=b", "a=b")
		s.find()
		s.want("/", "app_sid=old; a=b", "a=b")
		if passed, err := s.set("/", "app_sid=again; Path=/"); err != nil || len(passed) != 0 {
			t.Errorf("set without HttpOnly: passed %q, %v", passed, err)
		}
	}
	t.Log("set and deleted in one answer")
	s.mustSet("/", "tmp=1; Path=/; HttpOnly", "tmp=; Path=/; Max-Age=0")
	s.want("/", "tmp=0", "app_sid=again")
}

func TestVaultExpiry(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	s.mustSet("/", "a=1; HttpOnly; Max-Age=60", "b=2; HttpOnly; Expires=Wed, 02 Jan 2030 03:06:05 GMT", "c=3; HttpOnly",
		"d=4; HttpOnly; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "e=5; HttpOnly; Max-Age=9999999999999999999999", "f=6; HttpOnly; Max-Age=1e3")
	s.want("/", "", "a=1; b=2; c=3; d=4; e=5; f=6")
	s.find()
	s.wait(time.Minute)
	s.want("/", "a=0", "b=2; c=3; e=5; f=6")
	s.wait(time.Minute)
	s.want("/", "", "c=3; e=5; f=6")
	s.wait(500 * 24 * time.Hour)
	s.want("/", "", "c=3; f=6")
}

func TestVaultCollect(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	h := http.Header{"Set-Cookie": {"sid=1; HttpOnly", "seen=1"}}
	jar, names := s.vault.Collect("/login", h)
	if fmt.Sprint(names, h["Set-Cookie"]) != "[sid] [seen=1]" {
		t.Errorf("names %q, left %q", names, h["Set-Cookie"])
	}
	s.rec = &session.Record{ID: session.ID{1}, Sealed: jar}
	s.want("/", "sid=0", "sid=1")
	if jar, names := s.vault.Collect("/login", http.Header{"Set-Cookie": {"seen=1"}}); jar != nil || names != nil {
		t.Errorf("out of nothing: %q %q", jar, names)
	}
}

func TestVaultForget(t *testing.T) {
	t.Parallel()
	s := openSafe(t, httpOnly)
	s.mustSet("/", "sid=1; HttpOnly")
	s.want("/", "", "sid=1")
	s.vault.Forget([]session.ID{s.rec.ID, {9}})
	s.want("/", "", "") // s.rec is from before the cookie
}

// BenchmarkOutgoing is what a request of a logged-in user pays.
func BenchmarkOutgoing(b *testing.B) {
	sessions := &appSessions{records: map[session.ID]*session.Record{}}
	v := login.NewVault(httpOnly, sessions, zerolog.Nop(), nil)
	jar, _ := v.Collect("/login", http.Header{"Set-Cookie": {"sessionid=0123456789abcdef0123456789abcdef; Path=/; HttpOnly"}})
	for name, rec := range map[string]*session.Record{"jar": {ID: session.ID{1}, Sealed: jar}, "none": {ID: session.ID{2}}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Outgoing(rec, "token", "/account", "csrftoken=0123456789abcdef; theme=dark"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
