package e2e

import (
	"fmt"
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
	g, a := s.usual()
	s.judge(t, g, a, rows)
}

// judge is judgePaths at a gateway of the case's own. Over HTTP/2 a target that is no URL is refused by a reset.
func (s *setup) judge(t *testing.T, g *gateway, a recorded, rows []pathRow) {
	t.Helper()
	for _, row := range rows {
		before := len(a.requests())
		resp := s.one(t, g, "GET "+row.target)
		got := resp.StatusCode
		if refusedWith(resp, refused) {
			got = refused
		}
		reached := len(a.requests()) > before
		ok := got == row.want || row.want == guarded && (got == refused || got == login)
		if !ok {
			t.Errorf("%q: %s, want %d", row.target, resp.Status, row.want)
		}
		if reached != (row.want == passes) {
			t.Errorf("%q: reached the app: %v", row.target, reached)
		}
		if reached && a.last(t).Target != row.target {
			t.Errorf("%q: forwarded as %s", row.target, a.last(t).Target)
		}
	}
}

// refusedRows are targets that must be refused.
func refusedRows(targets ...string) []pathRow {
	rows := make([]pathRow, len(targets))
	for i, target := range targets {
		rows[i] = pathRow{target, refused}
	}
	return rows
}

// pathCases: no spelling of a path leads around a rule (security case group P). The rules are those of
// baseConfig: everything is public but /account, /admin and /api.
var pathCases = []securityCase{
	{"P01_other_forms_of_target", both, func(t *testing.T, s *setup) {
		judgePaths(t, s, refusedRows("x:http://a/admin", "x:%2fadmin", "x:/admin", "admin", "http://u:p@h/public/", "http://u@h/public/", "ftp://h/public/", "http:///public/", "http:admin", "http:/public/",
			"http://h", "http://h?x=/public/", "http://h:x/public/", "http://a b/public/", "?x=/public", "ws://h/public/", "*/public", "HTTPS:/public/"))
		g, a := s.gateway(t, "hosts: [a.example]\n")
		for target, want := range map[string]int{"http://a.example/public/x": 200, "https://a.example/public/x": 200, "HTTP://A.example.:80/public/x": 200, "http://a.example/admin": 303, "https://a.example/admin": 303,
			"http://a.example//admin": 400, "http://a.example/public/../admin": 400, "http://evil.example/public/": 421, "http://a.example@evil.example/public/": 400} {
			if s.h2() {
				want = 400 // :path is no place for a host (RFC 9113, 8.3.1), :authority is
			}
			if resp, _ := s.send(t, g, request{line: "GET " + target, host: "a.example"}); resp.StatusCode != want && !(want == 400 && refusedWith(resp, 400)) {
				t.Errorf("%s: %s, want %d", target, resp.Status, want)
			}
		}
		for _, r := range a.requests() {
			if r.Target != "/public/x" || !strings.HasPrefix(strings.ToLower(r.Host), "a.example") {
				t.Errorf("absolute form was forwarded as %q to host %q", r.Target, r.Host)
			}
		}
		if got, want := len(a.requests()), map[bool]int{false: 3, true: 0}[s.h2()]; got != want {
			t.Errorf("%d absolute forms were forwarded, want %d", got, want)
		}
		// The target's host is the one that counts (RFC 9112, 3.2.2), whatever Host says.
		if s.h2() {
			return
		}
		if got, _ := s.send(t, g, request{line: "GET http://a.example/public/x", host: "evil.example"}); got.StatusCode != 200 || a.last(t).Host != "a.example" {
			t.Errorf("a target of a.example for the host evil.example: %s, the app is told %q", got.Status, a.last(t).Host)
		}
	}},
	{"P02_encoded_slashes_and_dots", both, func(t *testing.T, s *setup) {
		judgePaths(t, s, refusedRows("/public/..%2fadmin", "/public/%2e%2e/admin", "/public/.%2e/admin", "/%2fadmin", "/public%2f..%2fadmin", "/public/a%2Fb", "/public/%2E", "/public/a%252fb", "/public/a%25b"))
		a := startApp(t, nil)
		cfg := strings.Replace(baseConfig(a.url, s.section()), "- path: /public\n    access: public", "- path: /public/private\n  - path: /public\n    access: public\n    encoded_slashes: true", 1)
		g := s.start(t, cfg, withUsers())
		s.judge(t, g, a, []pathRow{{"/public/@a%2Fb", passes}, {"/public/a%2fb%25c", passes}, {"/public/..%2fadmin", refused}, {"/public/%2e%2e%2fadmin", refused}, {"/public/a%2f..%2f..%2fadmin", refused}, {"/other/a%2Fb", refused},
			// What any reading finds protected is: here the slash is one, there it is not, and here it is decoded twice.
			{"/public/private", login}, {"/public/private%2Fx", guarded}, {"/public%2Fprivate", guarded}, {"/public/PRIVATE%2fx", guarded}, {"/public/private%252Fx", guarded}, {"/public/%2Fprivate", guarded}, {"/public/x%2F%2e%2e%2Fprivate", refused},
			{"/%2Fpublic/x", refused}, {"/admin%2F", guarded}, {"/public%2Fx", guarded}})
	}},
	{"P03_slashes_and_dot_segments", both, func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"//admin", refused}, {"///a/admin", refused}, {"//", refused}, {"//evil.example/public/", refused}, {"/./admin", refused}, {"/public/../admin", refused}, {"/public/.", refused}, {"/.", refused}, {"/..", refused},
			{"/public/..", refused}, {"/public//../admin", refused}, {"/public/./x", refused}, {"/admin/..", refused}, {"/public//x", passes}, {"/public///x", passes}, {"/admin//x", login}, {"/admin//health", guarded}, {"/public/...", guarded}, {"/public/.x", passes}, {"/public/..x", passes}})
	}},
	{"P04_methods", both, methodsAreAList},
	{"P05_path_parameters", both, func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"/..;/admin", guarded}, {"/;x/admin", guarded}, {"/admin;x", guarded}, {"/admin;x/y", guarded}, {"/admin/;x", guarded}, {"/;/admin", guarded}, {"/admin;", guarded}, {"/admin;a=b;c=d", guarded},
			{"/public/..;x/admin", guarded}, {"/public/..;/..;/admin", guarded}, {"/public/.;/admin", guarded}, {"/public;/../admin", guarded}, {"/admin%3Bx", guarded}, {"/page;jsessionid=1", passes}, {"/public/x;y=/admin", passes}})
	}},
	{"P06_characters", both, func(t *testing.T, s *setup) {
		rows := refusedRows(`/public\..\admin`, `\admin`, `/public/x\y`, "/public/%5c..%5cadmin", "/public/%5C", "/public/%0d%0aX:1",
			// invalid, overlong, surrogates, beyond Unicode, cut short
			"/public/%ff", "/public/%fe", "/public/%80", "/public/%c0%af", "/public/%c1%bf", "/public/%e0%80%af", "/public/%f0%80%80%af", "/public/%ed%a0%80", "/public/%f4%90%80%80", "/public/%c3", "/public/%c3/x", "/public/%c3%28",
			// encoded twice
			"/%2561dmin", "/public/%252e%252e/admin", "/public/%25", "/public/%255c", "/%25%36%31dmin", "/public/%25%32%66",
			"/public/%zz", "/public/%", "/public/%2", "/public/%u0061", "/public/%0x2f", "/public/\xff", "/public/caf\xc3\xa9", "/public/\x7f")
		for c := range 0x20 {
			rows = append(rows, pathRow{fmt.Sprintf("/public/%%%02x", c), refused})
			if c != '\n' && c != '\r' || s.h2() { // which end the line
				rows = append(rows, pathRow{"/public/" + string(rune(c)), refused})
			}
		}
		rows = append(rows, pathRow{"/public/%7f", refused}, pathRow{"/public/%c2%85", guarded}, pathRow{"/caf%C3%A9", passes}, pathRow{"/public/%f0%9f%98%80", passes})
		judgePaths(t, s, rows)
	}},
	{"P07_spellings_of_a_protected_prefix", both, func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"/ADMIN", login}, {"/Admin/x", login}, {"/aDMIN/", login}, {"/admin.", login}, {"/admin...", login}, {"/admin%20", login}, {"/admin%20%20", login}, {"/admin.%20.", login}, {"/admin/", login}, {"/admin./x", login}, {"/admin%20/x", login},
			{"/ADMIN.%20/", login}, {"/admin%2e", login}, {"/%61dmin", login},
			{"/admin.json", login}, {"/administrator", passes}, {"/adminx", passes}, {"/x/admin", passes}, {"/admin/health", passes}, {"/admin/health/x", passes}, {"/admin/HEALTH", login}, {"/admin/healthy", login}, {"/admin/health.", login}, {"/admin/health%20", login},
			// Letters that become ASCII when somebody folds case: dotless i, Kelvin sign, long s.
			{"/adm%C4%B1n", login}, {"/ap%C4%B1", guardedJSON}, {"/%E2%84%AAey", passes}, {"/caf%C3%A9", passes}})
		// A public prefix opens what it says and nothing that looks like it.
		a := startApp(t, nil)
		g := s.start(t, strings.Replace(baseConfig(a.url, s.section()), "default: public", "default: protected", 1), withUsers())
		s.judge(t, g, a, []pathRow{{"/public", passes}, {"/public/", passes}, {"/public/x", passes}, {"/public/X/y.css", passes}, {"/PUBLIC", login}, {"/Public/x", login}, {"/publicx", login}, {"/public.", login}, {"/public.css", login}, {"/public%20", login}, {"/public-x", login}, {"/publi", login}, {"/x/public", login}, {"/", login},
			{"/public%2e", login}, {"/pub%6cic2", login}, {"/public;x", guarded}})
	}},
	{"P08_fragment_and_query_decide_nothing", both, func(t *testing.T, s *setup) {
		judgePaths(t, s, []pathRow{{"/public#/../admin", refused}, {"/public/#", refused}, {"/#/admin", refused}, {"/admin#/public/", refused}, {"/public/?x#y", refused}, {"/admin%23/public/", guarded}, {"/admin%23", guarded}, {"/admin%3F/public/", guarded}, {"/admin%3f", guarded},
			{"/admin?x=/public/", login}, {"/admin?/public/", login}, {"/admin?", login}, {"/account?/../public/", login}, {"/public/?x=/admin", passes}, {"/public/?x=../admin", passes}, {"/public?/admin", passes}, {"/?/admin", passes}})
	}},
	{"P09_hosts", both, hostsAreFolded},
	{"P10_asterisk", both, func(t *testing.T, s *setup) {
		g, a := s.usual()
		if resp := s.one(t, g, "OPTIONS *"); resp.StatusCode != 204 || resp.Header.Get("Allow") == "" {
			t.Errorf("OPTIONS *: %s", resp.Status)
		}
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
			if resp := s.one(t, g, method+" *"); !refusedWith(resp, 400) {
				t.Errorf("%s *: %s", method, resp.Status)
			}
		}
		if len(a.requests()) != 0 {
			t.Error("it reached the app")
		}
	}},
	{"P11_queries_arrive_byte_for_byte", both, func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "limits: {max_uri: 128KiB, max_header_bytes: 256KiB}\n")
		for _, query := range []string{"?a=1;b=2", "?a=%zz", "?", "?a=%", "?a=b&&c", "?%00=%ff", "?" + strings.Repeat("p=1&", 10_001), "?a=\"<>|^`{}", "?a=../admin", "??", "?a=b?c=d", "?a+b=%20", "?\xff\xc3", "?a[]=1&a[]=2&A=3", "?;", "?&", "?next=//evil"} {
			if got := s.one(t, g, "GET /public/x"+query); got.StatusCode != 200 {
				t.Errorf("%.20s: %s", query, got.Status)
				continue
			}
			if got := a.last(t).Target; got != "/public/x"+query {
				t.Errorf("%.30s arrived as %.60s", query, got)
			}
			if got := s.one(t, g, "GET /account"+query); got.StatusCode != 303 {
				t.Errorf("/account%.20s: %s", query, got.Status)
			}
		}
	}},
	{"P12_no_patterns", onlyH1, func(t *testing.T, _ *setup) {
		for _, pattern := range []string{"*.css", "/*.css", ".css", "/static/*", "/a/**/b", "^/admin", "/x$", "/x/?", "/(a|b)", "/[a-z]", "~ \\\\.css$", "admin"} {
			file := filepath.Join(t.TempDir(), "g.yaml")
			writeFile(t, file, "upstream: http://127.0.0.1:1\nredis: {addresses: [embedded]}\nrules:\n  - {path: \""+pattern+"\", access: public}\n")
			out, code := runCommand(t, "", "check", "--config", file)
			if code != 1 || !strings.Contains(out, "rules[0].path") || !strings.Contains(out, "prefix") && !strings.Contains(out, "slash") && !strings.Contains(out, "never decides") {
				t.Errorf("path %s: exit %d: %s", pattern, code, out)
			}
		}
	}},
	{"P13_what_was_judged_is_what_is_forwarded", both, func(t *testing.T, s *setup) {
		// The gateway strips no prefix and rewrites no path, so there is nothing to judge again.
		rows := []pathRow{}
		for _, c := range "!$&'()*+,-.:=@[]^_`{|}~\"<>" {
			rows = append(rows, pathRow{"/public/a" + string(c) + "b", passes})
		}
		for _, c := range []string{"%20", "%21", "%41", "%7E", "%e2%82%ac", "%3B", "%3F", "%26", "//", "%2B", "+", "/", "a/"} {
			rows = append(rows, pathRow{"/public/a" + c + "b", passes})
		}
		g, a := s.usual()
		for _, row := range rows {
			before := len(a.requests())
			got := s.one(t, g, "GET "+row.target)
			switch reached := a.requests()[before:]; {
			case refusedWith(got, 400) && len(reached) == 0: // refused is safe too
			case got.StatusCode == 200 && len(reached) == 1 && reached[0].Target == row.target:
			default:
				t.Errorf("%s: %s, forwarded as %v", row.target, got.Status, reached)
			}
		}
		if len(a.requests()) < len(rows)*3/4 {
			t.Errorf("only %d of %d ordinary paths were accepted", len(a.requests()), len(rows))
		}
	}},
	{"P14_no_reading_escapes", both, func(t *testing.T, s *setup) {
		// The figure (3 million paths against models of servers) is TestP14_Models in package proxy.
		// Here the sharpest of them run over the wire, before each of an app's possible readings.
		judgePaths(t, s, []pathRow{{"/%61%64%6d%69%6e", login}, {"/aDmIn%20/", login}, {"/admin%09", refused}, {"/public/%2e%2e%2fadmin", refused}, {"/public/..%5cadmin", refused},
			{"/%2e/admin", refused}, {"/public/%252e%252e/admin", refused}, {"/%EF%BD%81dmin", guarded}, {"/admin..", login}, {"/admin/.", refused}, {"/admin;/x", guarded}})
	}},
}

// methodsAreAList (P04).
func methodsAreAList(t *testing.T, s *setup) {
	g, a := s.usual()
	const all = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	for _, line := range []string{"CONNECT /public/../admin", "CONNECT /public/", "CONNECT evil:443", "TRACE /public/", "TRACE /admin", "get /public/", "Get /public/", "PROPFIND /public/", "GETX /public/", "PRI /public/"} {
		resp := s.one(t, g, line)
		// Over HTTP/2 a CONNECT with a path is malformed (RFC 9113, 8.5).
		if malformed := s.h2() && strings.HasPrefix(line, "CONNECT /") && refusedWith(resp, 405); !malformed && (resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != all) {
			t.Errorf("%s: %s, Allow %q", line, resp.Status, resp.Header.Get("Allow"))
		}
	}
	if len(a.requests()) != 0 {
		t.Errorf("the app got %v", a.requests())
	}
	for method := range strings.SplitSeq(all, ", ") {
		if resp := s.one(t, g, method+" /public/", "Content-Length: 0"); resp.StatusCode != 200 || a.last(t).Method != method {
			t.Errorf("%s: %s", method, resp.Status)
		}
	}
	dav, a2 := s.gateway(t, "methods: [GET, PROPFIND]\n")
	if got := s.one(t, dav, "PROPFIND /public/"); got.StatusCode != 200 || a2.last(t).Method != "PROPFIND" {
		t.Errorf("PROPFIND when allowed: %s", got.Status)
	}
	if got := s.one(t, dav, "POST /public/", "Content-Length: 0"); got.StatusCode != 405 || got.Header.Get("Allow") != "GET, PROPFIND" {
		t.Errorf("POST when not allowed: %s", got.Status)
	}
}

// hostsAreFolded (P09).
func hostsAreFolded(t *testing.T, s *setup) {
	g, a := s.gateway(t, "hosts: [a.example.com, \"127.0.0.1\"]\n")
	status := func(g *gateway, host string) *http.Response {
		if s.h2() {
			return dialH2(t, g).open(true, h2Header("GET", "/public/", host, nil)...).answer()
		}
		return parse(t, raw(t, g.addr, "GET /public/ HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"))
	}
	for host, want := range map[string]int{"A.Example.COM.": 200, "a.example.com:8080": 200, "A.EXAMPLE.com.:1": 200, "a.example.com": 200, "b.example.com": 421, "a.example.com.evil": 421, "xa.example.com": 421, "example.com": 421,
		"a,b": 400, "a.example.com,b": 400, "": 400, "a b": 400, "u@a.example.com": 400, "a.example.com..": 400, "a.example.com:x": 400, "a.example.com/": 400, ".": 400, ":80": 400, "a.example.com#": 400, "a.example.com?x": 400} {
		if got := status(g, host); got.StatusCode != want && !(want == 400 && refusedWith(got, 400)) {
			t.Errorf("Host %q: %s, want %d", host, got.Status, want)
		}
	}
	open, a2 := s.usual()
	if got, _ := s.send(t, open, request{line: "GET /public/", host: "any.example"}); got.StatusCode != 200 || a2.last(t).Host != "any.example" {
		t.Errorf("without hosts: %s", got.Status)
	}
	if s.h2() {
		for name, header := range map[string][]field{"neither :authority nor host": {}, "an empty :authority": fields(":authority", "")} {
			header = append(fields(":method", "GET", ":scheme", "https", ":path", "/public/"), append(header, field{Name: strings.ToLower(tagHeader), Value: s.tag})...)
			if got := dialH2(t, open).open(true, header...).answer(); !refusedWith(got, 400) {
				t.Errorf("%s: %s", name, got.Status)
			}
		}
	} else {
		for _, text := range []string{"GET /public/ HTTP/1.0\r\n\r\n", "GET /public/ HTTP/1.1\r\n\r\n", "GET /public/ HTTP/1.1\r\nHost: a.example.com\r\nHost: b\r\n\r\n", "GET /public/ HTTP/1.1\r\nHost: a.example.com\r\nHost: a.example.com\r\n\r\n"} {
			if resp := parse(t, raw(t, open.addr, text)); resp.StatusCode != 400 {
				t.Errorf("%q: %s, want 400", text, resp.Status)
			}
		}
	}
	for _, r := range append(a.requests(), a2.requests()...) {
		if r.Host == "" {
			t.Error("a request reached the app without a host")
		}
	}
}
