package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// What may become of a path.
const (
	passes  = 200
	login   = 303
	refused = 400
	// guarded: 400 or 303, but the app never sees it.
	guarded = -1
	// guardedJSON: 401, since the rule says so.
	guardedJSON = 401
)

type pathRow struct {
	target string
	want   int
}

// judgePaths sends each target as it is, anonymously, and looks at the answer and at the app.
func judgePaths(t *testing.T, s *setup, rows []pathRow) {
	t.Helper()
	g, a := s.gateway(t, "")
	for _, row := range rows {
		before := len(a.requests())
		got := one(t, g, "GET "+row.target+" HTTP/1.1").StatusCode
		reached := len(a.requests()) > before
		ok := got == row.want || row.want == guarded && (got == refused || got == login)
		if !ok {
			t.Errorf("%s: %d, want %d", row.target, got, row.want)
		}
		if reached != (row.want == passes) {
			t.Errorf("%s: reached the app: %v", row.target, reached)
		}
		if reached && a.last(t).Target != row.target {
			t.Errorf("%s: forwarded as %s", row.target, a.last(t).Target)
		}
	}
}

// pathCases: no spelling of a path leads around a rule (security case group P). The rules are those of
// baseConfig: everything is public but /account, /admin and /api.
var pathCases = []securityCase{
	{"P01_other_forms_of_target", func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"x:http://a/admin", refused}, {"x:%2fadmin", refused}, {"admin", refused}, {"http://u:p@h/public/", refused},
			{"ftp://h/public/", refused}, {"http:///public/", refused}, {"http:admin", refused}, {"?x=/public", refused}})
		g, a := s.gateway(t, "hosts: [a.example]\n")
		for target, want := range map[string]int{"http://a.example/public/x": 200, "http://a.example/admin": 303, "http://evil.example/public/": 421} {
			if got := rawStatusHost(t, g, "GET "+target+" HTTP/1.1", "a.example"); got != want {
				t.Errorf("%s: %d, want %d", target, got, want)
			}
		}
		if r := a.last(t); r.Target != "/public/x" || r.Host != "a.example" {
			t.Errorf("absolute form was forwarded as %q to host %q", r.Target, r.Host)
		}
	}},
	{"P02_encoded_slashes_and_dots", func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"/public/..%2fadmin", refused}, {"/public/%2e%2e/admin", refused}, {"/%2fadmin", refused}, {"/public%2f..%2fadmin", refused}, {"/public/a%2Fb", refused}})
		a := startApp(t, nil)
		g := start(t, strings.Replace(baseConfig(a.url, s.section()), "- path: /public\n    access: public", "- path: /public\n    access: public\n    encoded_slashes: true", 1), withUsers())
		for target, want := range map[string]int{"/public/@a%2Fb": 200, "/public/..%2fadmin": 400, "/public/%2e%2e%2fadmin": 400, "/other/a%2Fb": 400} {
			if got := one(t, g, "GET "+target+" HTTP/1.1").StatusCode; got != want {
				t.Errorf("with encoded_slashes below /public: %s: %d, want %d", target, got, want)
			}
		}
		if got := a.last(t).Target; got != "/public/@a%2Fb" {
			t.Errorf("forwarded as %s", got)
		}
	}},
	{"P03_slashes_and_dot_segments", func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"//admin", refused}, {"///a/admin", refused}, {"/./admin", refused}, {"/public/../admin", refused}, {"/public/.", refused},
			{"/public/..", refused}, {"/public//x", passes}, {"/admin//x", login}})
	}},
	{"P04_methods", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "")
		for _, line := range []string{"CONNECT /public/../admin HTTP/1.1", "CONNECT evil:443 HTTP/1.1", "TRACE /public/ HTTP/1.1", "get /public/ HTTP/1.1", "PROPFIND /public/ HTTP/1.1"} {
			resp := one(t, g, line)
			if resp.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(resp.Header.Get("Allow"), "GET") {
				t.Errorf("%s: %s, Allow %q", line, resp.Status, resp.Header.Get("Allow"))
			}
		}
		if len(a.requests()) != 0 {
			t.Errorf("the app got %v", a.requests())
		}
		dav, a := s.gateway(t, "methods: [GET, PROPFIND]\n")
		if got := one(t, dav, "PROPFIND /public/ HTTP/1.1").StatusCode; got != 200 || a.last(t).Method != "PROPFIND" {
			t.Errorf("PROPFIND when allowed: %d", got)
		}
		if got := one(t, dav, "POST /public/ HTTP/1.1", "Content-Length: 0").StatusCode; got != 405 {
			t.Errorf("POST when not allowed: %d", got)
		}
	}},
	{"P05_path_parameters", func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"/..;/admin", guarded}, {"/;x/admin", guarded}, {"/admin;x", guarded}, {"/admin;x/y", guarded}, {"/admin/;x", guarded},
			{"/public/..;x/admin", guarded}, {"/page;jsessionid=1", passes}})
	}},
	{"P06_characters", func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{`/public\..\admin`, refused}, {"/public/%5c..%5cadmin", refused}, {"/public/%00", refused}, {"/public/%0a", refused}, {"/public/%0d%0aX:1", refused},
			{"/public/%7f", refused}, {"/public/%ff", refused}, {"/public/%c0%af", refused}, {"/public/%e0%80%af", refused}, {"/%2561dmin", refused}, {"/public/%zz", refused},
			{"/public/%", refused}, {"/caf%C3%A9", passes}})
	}},
	{"P07_spellings_of_a_protected_prefix", func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"/ADMIN", login}, {"/Admin/x", login}, {"/admin.", login}, {"/admin%20", login}, {"/admin/", login}, {"/admin%2e", login}, {"/%61dmin", login},
			{"/admin.json", login}, {"/administrator", passes}, {"/admin/health", passes}, {"/admin/health/x", passes}, {"/admin/HEALTH", login}, {"/admin/healthy", login},
			// Letters that become ASCII when somebody folds case: dotless i, Kelvin sign, long s.
			{"/adm%C4%B1n", login}, {"/ap%C4%B1", guardedJSON}, {"/%E2%84%AAey", passes}, {"/caf%C3%A9", passes}})
	}},
	{"P08_fragment_and_query_decide_nothing", func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"/public#/../admin", refused}, {"/admin%23/public/", guarded}, {"/admin?x=/public/", login}, {"/public/?x=/admin", passes}, {"/public/?x=../admin", passes}})
	}},
	{"P09_hosts", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "hosts: [a.example.com, \"127.0.0.1\"]\n")
		for host, want := range map[string]int{"A.Example.COM.": 200, "a.example.com:8080": 200, "a.example.com": 200, "b.example.com": 421, "a.example.com.evil": 421, "a,b": 400, "": 400, "a b": 400, "u@a.example.com": 400} {
			if got := rawStatusHost(t, g, "GET /public/ HTTP/1.1", host); got != want {
				t.Errorf("Host %q: %d, want %d", host, got, want)
			}
		}
		open, a2 := s.gateway(t, "")
		if got := rawStatusHost(t, open, "GET /public/ HTTP/1.1", "any.example"); got != 200 {
			t.Errorf("without hosts: %d", got)
		}
		for _, r := range append(a.requests(), a2.requests()...) {
			if r.Host == "" {
				t.Error("a request reached the app without a host")
			}
		}
		if resp := parse(t, raw(t, open.addr, "GET /public/ HTTP/1.0\r\n\r\n")); resp.StatusCode != 400 {
			t.Errorf("HTTP/1.0 without Host: %s, want 400", resp.Status)
		}
	}},
	{"P10_asterisk", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "")
		if resp := one(t, g, "OPTIONS * HTTP/1.1"); resp.StatusCode >= 300 {
			t.Errorf("OPTIONS *: %s", resp.Status)
		}
		if resp := one(t, g, "GET * HTTP/1.1"); resp.StatusCode != 400 {
			t.Errorf("GET *: %s", resp.Status)
		}
		if len(a.requests()) != 0 {
			t.Error("it reached the app")
		}
	}},
	{"P11_queries_arrive_byte_for_byte", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "limits: {max_uri: 128KiB, max_header_bytes: 256KiB}\n")
		for _, query := range []string{"?a=1;b=2", "?a=%zz", "?", "?a=%", "?a=b&&c", "?%00=%ff", "?" + strings.Repeat("p=1&", 10_001), "?a=\"<>|^`{}", "?a=../admin"} {
			if got := one(t, g, "GET /public/x"+query+" HTTP/1.1").StatusCode; got != 200 {
				t.Errorf("%.20s: %d", query, got)
				continue
			}
			if got := a.last(t).Target; got != "/public/x"+query {
				t.Errorf("%.30s arrived as %.60s", query, got)
			}
		}
	}},
	{"P12_no_patterns", func(t *testing.T, s *setup) {
		for _, pattern := range []string{"*.css", "/static/*", "/a/**/b", "^/admin", "/x$", "admin"} {
			file := filepath.Join(t.TempDir(), "g.yaml")
			writeFile(t, file, "upstream: http://127.0.0.1:1\nredis: {addresses: [embedded]}\nrules:\n  - {path: \""+pattern+"\", access: public}\n")
			out, code := runCommand(t, "", "check", "--config", file)
			if code != 1 || !strings.Contains(out, "rules[0].path") || !strings.Contains(out, "prefix") && !strings.Contains(out, "slash") {
				t.Errorf("path %s: exit %d: %s", pattern, code, out)
			}
		}
	}},
	{"P13_what_was_judged_is_what_is_forwarded", func(t *testing.T, s *setup) {
		rows := []pathRow{}
		for _, c := range "!$&'()*+,-.:=@[]^_`{|}~\"<>" {
			rows = append(rows, pathRow{"/public/a" + string(c) + "b", passes})
		}
		for _, c := range []string{"%20", "%21", "%41", "%7E", "%e2%82%ac", "%3B", "%3F", "%26"} {
			rows = append(rows, pathRow{"/public/a" + c + "b", passes})
		}
		g, a := s.gateway(t, "")
		for _, row := range rows {
			before := len(a.requests())
			got := one(t, g, "GET "+row.target+" HTTP/1.1").StatusCode
			switch reached := a.requests()[before:]; {
			case got == 400 && len(reached) == 0: // refused is safe too
			case got == 200 && len(reached) == 1 && reached[0].Target == row.target:
			default:
				t.Errorf("%s: %d, forwarded as %v", row.target, got, reached)
			}
		}
		if len(a.requests()) < len(rows)/2 {
			t.Errorf("only %d of %d ordinary paths were accepted", len(a.requests()), len(rows))
		}
	}},
	{"P14_no_reading_escapes", func(t *testing.T, s *setup) {
		// The figure (3 million paths against models of servers) is TestP14_Models in package proxy.
		// Here the sharpest of them run over the wire, before each of an app's possible readings.
		judgePaths(t, s, []pathRow{{"/%61%64%6d%69%6e", login}, {"/aDmIn%20/", login}, {"/admin%09", refused}, {"/public/%2e%2e%2fadmin", refused}, {"/public/..%5cadmin", refused},
			{"/%2e/admin", refused}, {"/public/%252e%252e/admin", refused}, {"/%EF%BD%81dmin", guarded}, {"/admin..", login}, {"/admin/.", refused}, {"/admin;/x", guarded}})
	}},
}

// rawStatusHost sends a request line with exactly this Host header.
func rawStatusHost(t *testing.T, g *gateway, requestLine, host string) int {
	t.Helper()
	return parse(t, raw(t, g.addr, requestLine+"\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")).StatusCode
}
