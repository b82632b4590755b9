package proxy

import (
	"net/http"
	"strings"
	"testing"
)

// judged returns the path of a target that must be accepted.
func judged(t *testing.T, target string) Path {
	t.Helper()
	p, no := JudgeTarget(http.MethodGet, target)
	if no != nil {
		t.Fatalf("%q is refused: %s", target, no.Reason)
	}
	return p
}

// mustRefuse checks that every target gets 400, with a reason that does not quote it.
func mustRefuse(t *testing.T, method string, targets ...string) {
	t.Helper()
	for _, target := range targets {
		p, no := JudgeTarget(method, target)
		switch {
		case no == nil:
			t.Errorf("%s %q is accepted as %+v", method, target, p)
		case no.Status != http.StatusBadRequest || no.Error() == "":
			t.Errorf("%s %q: refusal %+v, want 400 with a reason", method, target, no)
		case len(target) > 4 && strings.Contains(no.Reason, target):
			t.Errorf("%s %q: the reason %q quotes the client", method, target, no.Reason)
		}
	}
}

func TestJudgeTargetRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string][]string{
		"P01_neither_path_nor_URL": {
			"", "x:http://a/admin", "x:%2fadmin", "admin", "?x", "http:/admin", "http:admin", "ftp://a/admin", "file:///admin",
			"http://", "http:///admin", "http://a", "http://a?x=/", "http://a#/", "http://user@a/admin", "http://u:p@a/", "http://a b/",
			"http://a,b/", `http://a\b/admin`, "http://a:99999/", "://a/", "%2fadmin", "evil:443", "**", "*/admin",
		},
		"P02_encoded_dots_and_slashes": {
			"/public/..%2fadmin", "/public/%2e%2e/admin", "/public/.%2E/admin", "/public%2f..%2fadmin", "/%2e/admin", "/a/%2e%2e", "/a/%2e%2e%2fadmin",
		},
		"P03_slashes_and_dots": {
			"//admin", "///a/admin", "//", "/./admin", "/public/../admin", "/admin/.", "/a/..", "/..", "/.", "/public/.../admin", "/public//../admin",
		},
		"P03_dots_behind_a_name": {"/static../admin", "/static../", "/static..//x", "/a/b../c", "/static%2e%2e/admin", "/static.%2e/x", "/static.../x", "/files/x..%2fadmin", "/admin../x", "/x.json../y"},
		"P05_parameters_on_dots": {"/..;/admin", "/.;/admin", "/public/..;x=1/admin", "/public/..;", "/%2e%2e;/admin", "/..%3b/admin"},
		"P06_bytes": {
			`/public\..\admin`, `/\admin`, "/public/%5c..%5cadmin", "/%5Cadmin", "/admin%00", "/%00", "/a%0ab", "/a%0d", "/a%09b", "/a%7f", "/a%1f",
			"/a b", "/a\tb", "/a\x00", "/a\x7f", "/a\r\nX: y", "/%c0%ae%c0%ae/admin", "/%c0%af", "/%e0%80%af", "/%ff", "/%c3", "/%ed%a0%80",
			"/%c2%85", "/caf\xc3\xa9", "/caf\xe9", "/%", "/%2", "/%zz", "/%u0061dmin", "/a%%32%66",
		},
		"P06_blank_dot_segments": {"/public/..%20/admin", "/public/%20../admin", "/public/.%20./admin", "/public/..+/admin", "/public/%2e%2e%20;x/admin", "/public/..:x/admin", "/public/..%23/x", "/public/..%3f"},
		"P07_session_segments":   {"/(S(x))/admin", "/(s(lit3py55t21z5v55vlm25s55))/admin", "/%28S%28x%29%29/admin"},
		"P08_fragment":           {"/public#/../admin", "/public#", "/#", "/a?x#y", "/a?x=/public/#"},
		"P11_query_that_forges":  {"/a?b c", "/a?b\x00", "/a?b\nX: y", "/a?\x7f"},
	}
	for name, targets := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustRefuse(t, http.MethodGet, targets...)
		})
	}
}

func TestJudgeTargetAccepts(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, target, raw, match, query string
	}{
		{"root", "/", "/", "/", ""},
		{"plain", "/a/b-c_d~e/f.g", "/a/b-c_d~e/f.g", "/a/b-c_d~e/f.g", ""},
		{"P03_inner_slashes", "/a//b///c//", "/a//b///c//", "/a/b/c/", ""},
		{"P05_session_id", "/page;jsessionid=1", "/page;jsessionid=1", "/page;jsessionid=1", ""},
		{"P05_root_session_id", "/;jsessionid=1", "/;jsessionid=1", "/;jsessionid=1", ""},
		{"P06_utf8", "/caf%C3%A9/%E2%82%AC", "/caf%C3%A9/%E2%82%AC", "/café/€", ""},
		{"P06_blank", "/a%20b", "/a%20b", "/a b", ""},
		{"P06_needless", "/%61%64min", "/%61%64min", "/admin", ""},
		{"P08_encoded_hash", "/tagged/c%23", "/tagged/c%23", "/tagged/c#", ""},
		{"P08_encoded_question", "/wiki/Who%3F", "/wiki/Who%3F", "/wiki/Who?", ""},
		{"P08_query", "/admin?x=/public/", "/admin", "/admin", "x=/public/"},
		{"P11_odd_query", "/a?a=1;b=2&c=%zz?%00", "/a", "/a", "a=1;b=2&c=%zz?%00"},
		{"P11_raw_bytes", "/a?\xe9\xff", "/a", "/a", "\xe9\xff"},
		{"P11_lone_question", "/a?", "/a", "/a", ""},
		{"dot_names", "/.well-known/x..y/..z/a.", "/.well-known/x..y/..z/a.", "/.well-known/x..y/..z/a.", ""},
		{"gerrit", "/repo/+/refs", "/repo/+/refs", "/repo/+/refs", ""},
		{"brackets", "/a/(b)/c(d(e))", "/a/(b)/c(d(e))", "/a/(b)/c(d(e))", ""},
		{"P13_raw_specials", "/|^[]{}\"<>`'*@!$&,=:", "/|^[]{}\"<>`'*@!$&,=:", "/|^[]{}\"<>`'*@!$&,=:", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := judged(t, row.target)
			if p.Raw != row.raw || p.Match != row.match || p.Query != row.query {
				t.Errorf("raw %q, match %q, query %q", p.Raw, p.Match, p.Query)
			}
			if p.Encoded || p.Asterisk || p.Host != "" {
				t.Errorf("odd flags: %+v", p)
			}
		})
	}
}

func TestJudgeTargetForms(t *testing.T) {
	t.Parallel()
	t.Run("P01_absolute_form", func(t *testing.T) {
		for target, host := range map[string]string{
			"http://a.example/admin?x": "a.example", "HTTPS://A.Example.:8443/admin?x": "A.Example.:8443", "http://[::1]:80/admin?x": "[::1]:80",
		} {
			p := judged(t, target)
			if p.Host != host || p.Raw != "/admin" || p.Query != "x" {
				t.Errorf("%q: %+v", target, p)
			}
		}
		mustRefuse(t, "GET", "http://a//admin", "http://a/../admin", "http://a/%2e%2e/admin", "http://a/b#c")
	})
	t.Run("P02_encoded_is_reported", func(t *testing.T) {
		for target, match := range map[string]string{
			"/a%2fb": "/a%2Fb", "/%2fadmin": "/%2Fadmin", "/%2561dmin": "/%2561dmin", "/100%25": "/100%25", "/a%2Fb//c": "/a%2Fb/c",
		} {
			if p := judged(t, target); !p.Encoded || p.Match != match || p.Raw != target {
				t.Errorf("%q: %+v, want encoded, match %q", target, p, match)
			}
		}
	})
	t.Run("P10_asterisk", func(t *testing.T) {
		p, no := JudgeTarget(http.MethodOptions, "*")
		if no != nil || !p.Asterisk {
			t.Errorf("OPTIONS *: %+v %v", p, no)
		}
		mustRefuse(t, http.MethodGet, "*")
		mustRefuse(t, http.MethodOptions, "**", "*?", "*/admin")
		if p, no := JudgeTarget(http.MethodOptions, "/admin"); no != nil || p.Asterisk {
			t.Errorf("OPTIONS /admin: %+v %v", p, no)
		}
	})
}

func TestAllowsMethod(t *testing.T) {
	t.Parallel()
	allowed := []string{"GET", "HEAD", "POST", "PROPFIND", "CONNECT", "TRACE"}
	t.Run("P04_methods", func(t *testing.T) {
		for method, want := range map[string]bool{
			"GET": true, "PROPFIND": true, "PUT": false, "get": false, "Get": false, "": false, "GET ": false, "CONNECT": false, "TRACE": false,
		} {
			if AllowsMethod(allowed, method) != want {
				t.Errorf("%q: want %v", method, want)
			}
		}
	})
}

func TestJudgeAllocatesNothing(t *testing.T) {
	const target = "/static/v1.2/app-9f.min.js?v=%zz;x"
	rules := rulesOf(t, "/admin", "/static/v1.2 public")
	n := testing.AllocsPerRun(200, func() {
		p, no := JudgeTarget("GET", target)
		if no != nil {
			t.Fatal(no)
		}
		if d, no := rules.Decide(p); no != nil || d.Name != "/static/v1.2" {
			t.Fatal(d, no)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for an ordinary path, want none", n)
	}
}
