//go:build apps

package servers

import (
	"math/rand/v2"
	"strings"
	"testing"

	"gatehouse/internal/hostile"
)

// spelling is a path that some server may take for a protected one, and the case it belongs to.
type spelling struct{ number, path string }

var spellings = func() (all []spelling) {
	add := func(number string, paths ...string) {
		for _, p := range paths {
			all = append(all, spelling{number, p})
		}
	}
	add("P02", "/%2fadmin/", "/public/..%2fadmin/", "/public/..%2Fadmin", "/public/%2e%2e/admin/", "/public/%2e%2e%2fadmin/", "/public%2f..%2fadmin/", "/admin%2f", "/admin%2fx", "/api%2fprivate",
		"/files/..%2fadmin/", "/files/x%2f..%2f..%2fadmin/", "/files%2fsecret/", "/files/%2fsecret/", "/files/secret%2f", "/files/secret%2fx", "/files/.%2fsecret/", "/files/..%252fadmin/", "/files/%252e%252e%252fadmin/", "/files/x%2f..%2fsecret/")
	add("P03", "//admin/", "///admin/", "//admin", "//x/admin/", "/./admin/", "/.//admin/", "/public/../admin/", "/public/../admin", "/public//../admin/", "/public/./../admin/", "/x/../admin/", "/%2e/admin/", "/public/.%2e/admin/",
		"/admin//", "/admin//x", "/api//private/", "/files//secret/", "/public//secret/", "/api/./private/", "/api/x/../private/", "/admin/health/../", "/admin/health/../x", "/admin/health/..", "//public/..//admin/", "/../admin/", "/files../admin/", "/files..//admin", "/files%2e%2e/keys/", "/files..%2fadmin/", "/files.../admin/", "/files./../admin/", "/public../admin/")
	add("P05", "/admin;x", "/admin;x/", "/admin/;x", "/admin;/x", "/;x/admin/", "/;/admin/", "/.;/admin/", "/..;/admin/", "/public/..;/admin/", "/public/..;x=1/admin/", "/public;x/../admin/", "/public/;/../admin/", "/public/%2e%2e;/admin/",
		"/admin;jsessionid=1/x", "/admin%3bx", "/%3b/admin/", "/admin/health;/../", "/admin/health/..;/x", "/api/;x/private/", "/api;x/private/", "/files/secret;x=/", "/public/..%3b/admin/", "/keys;.css")
	add("P06", `/public\..\admin\`, `/\admin/`, `\admin/`, "/%5cadmin/", "/public/..%5cadmin/", "/public/..%5c/admin/", "/public%5c..%5cadmin/", "/admin%00", "/admin/%00", "/admin%00.html", "/admin/x%00.css", "/public/%00/../../admin/", "/admin%0a", "/admin/%0a", "/admin%0d", "/admin%09", "/adm\tin/", "/%09/admin/",
		"/%2561dmin/", "/%25%36%31dmin/", "/%u0061dmin/", "/%c0%afadmin/", "/public/%c0%ae%c0%ae/admin/", "/admin%c0%af", "/admin%ff", "/\xff/../admin/", "/admin\x7f", "/admin%7f", "/admin#/public/", "/admin%23/public/", "/admin/?/public/", "/admin%3f/public/", "/admin/\xc2\xa0")
	add("P07", "/admin", "/admin/", "/admin/x", "/ADMIN/", "/Admin/", "/aDmIn", "/ADMIN/x", "/API/PRIVATE/", "/api/PRIVATE/", "/KEYS/", "/Account/", "/admin.", "/admin./", "/admin/.", "/admin..", "/admin.../", "/admin%20", "/admin%20/", "/admin/%20", "/%20admin/", "/%20/admin/", "/admin+", "/+admin/", "/admin+/", "/%61dmin/", "/%61%64%6d%69%6e/", "/adm%69n/x", "/admin%2e", "/admin%2ex",
		"/admin.html", "/admin.json", "/admin.php", "/admin~", "/admin:x", "/admin::$INDEX_ALLOCATION/", "/admin,x", "/admin|x", "/admin/index.html", "/admin/index.php", "/admin/index", "/admin/INDEX.HTML", "/admin/index.php/x", "/admin/index.html/x",
		"/adm%C4%B1n/", "/adm%C4%B0n/", "/%E2%84%AAeys/", "/key%C5%BF/", "/%EF%BD%81dmin/", "/admin%E2%80%8B/", "/ad%C2%ADmin/", "/public%EF%BC%8F..%EF%BC%8Fadmin/", "/admin/HEALTH/", "/admin/health%20/x", "/admin/health.json", "/admin/healthx")
	// Scripts that route on what follows them, with their suffix and without.
	add("P14", "/index.php/admin", "/index.php/admin/", "/index.php//admin/", "/index.php/ADMIN", "/index.php/public/../admin", "/INDEX.PHP/admin", "/index.php%2fadmin", "/index.php/%61dmin", "/index.php;x/admin", "/index/admin", "/index/admin/", "/index.php./admin", "/index.php%20/admin", "/public/index.php/admin", "/public/../index.php/admin",
		"/index.cgi/admin", "/index.cgi/admin/", "/index.cgi//admin", "/index.CGI/admin", "/INDEX.CGI/admin", "/index.cgi/public/../admin", "/router.php/admin", "/router/admin", "/./index/admin", "/index//admin", "/%69ndex/admin", "/index.php.x/admin", "/index.html/admin", "/x/admin", "/static/admin/")
	return all
}()

// findings are what was seen of one application.
type findings struct {
	app *app
	// headers and paths say what gets through past the gateway.
	headers map[headerForm]bool
	paths   map[spelling]bool
	// random is how many of P14's paths did.
	random int
}

// tries sends paths past the gateway and through it.
type tries struct {
	g               *gateway
	direct, through *client
	// reached counts the secrets past the gateway, open what the gateway let pass to public areas.
	reached, open int
}

func (f *findings) tries(g *gateway) *tries {
	return &tries{g: g, direct: f.app.client(), through: newClient(g.addr)}
}

func (s *tries) close() {
	s.direct.close()
	s.through.close()
}

// past says whether a path leads to something secret when nothing is in between.
func (s *tries) past(path string) (straight answer, reaches bool) {
	straight = s.direct.get(path, "")
	if reaches = strings.Contains(straight.raw, secret); reaches {
		s.reached++
	}
	return straight, reaches
}

// stranger and user send a path through the gateway: no stranger gets what is secret, no user what is for admins. straight is the
// server's own answer: what it refuses is not the gateway's failure.
func (s *tries) stranger(t *testing.T, path string, straight answer) {
	t.Helper()
	s.pass(t, "a stranger", path, "", secret, straight)
}

func (s *tries) user(t *testing.T, path string, straight answer) {
	t.Helper()
	s.pass(t, "a user", path, s.g.user, secretRole, straight)
}

func (s *tries) pass(t *testing.T, who, path, cookie, forbidden string, straight answer) {
	t.Helper()
	got := s.through.get(path, cookie)
	switch {
	case strings.Contains(got.raw, forbidden):
		t.Errorf("escape: %s gets %s at %q:\n%s", who, forbidden, path, got.raw)
	case got.status == 0 && !strings.ContainsAny(path, "\r\n"):
		t.Errorf("%s at %q: the gateway's answer is %q", who, path, got.raw)
	case got.status >= 500 && straight.status != 0 && straight.status < 500:
		t.Errorf("%s at %q: the gateway answers %d, the server itself %d:\n%s", who, path, got.status, straight.status, got.raw)
	case strings.Contains(got.raw, public):
		s.open++
	}
}

// tryPaths are the cases P02, P03 and P05 to P07: no spelling of a protected path leads past its rule.
func (f *findings) tryPaths(t *testing.T, g *gateway) {
	s := f.tries(g)
	defer s.close()
	f.paths = make(map[spelling]bool)
	for _, sp := range spellings {
		straight, reaches := s.past(sp.path)
		f.paths[sp] = reaches
		s.stranger(t, sp.path, straight)
		s.user(t, sp.path, straight)
	}
	// The markers come through the gateway, for whoever may see them.
	for _, c := range []struct{ path, lines, want string }{
		{"/admin/", g.admin, secretRole}, {"/files/secret/", g.admin, secretRole}, {"/account/", g.user, secretSession}, {"/api/private/", g.user, secretSession},
		{"/admin/health/", "", public}, {"/public/", "", public}, {"/files/", g.user, public},
	} {
		if got := s.through.get(c.path, c.lines); got.status != 200 || !strings.Contains(got.raw, c.want) {
			t.Errorf("%s with %q: %s is missing in %q", c.path, c.lines, c.want, got.raw)
		}
	}
	if s.reached < 10 {
		t.Errorf("past the gateway only %d of %d spellings reach something secret: this shows nothing", s.reached, len(spellings))
	}
}

// tryRandom is case P14: no random path does.
func (f *findings) tryRandom(t *testing.T, g *gateway) {
	s := f.tries(g)
	defer s.close()
	rnd := rand.New(rand.NewPCG(*seed, 0))
	buf := make([]byte, 0, 256)
	for i := range *hostiles {
		path := hostile.Path(rnd, buf)
		straight, _ := s.past(path)
		if i%4 == 3 {
			s.user(t, path, straight)
		} else {
			s.stranger(t, path, straight)
		}
	}
	f.random = s.reached
	t.Logf("-seed %d: of %d paths %d reach something secret past the gateway; through it %d reach something public", *seed, *hostiles, s.reached, s.open)
	if s.reached < *hostiles/200 || s.open < *hostiles/400 {
		t.Errorf("of %d paths only %d reach something secret past the gateway and %d something public through it: this shows little", *hostiles, s.reached, s.open)
	}
}
