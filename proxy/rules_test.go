package proxy

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/config"
)

// ruleList reads rules written as "path [public] [encoded] [unix:/path] [role,role]", with ␠ for a
// blank in the path.
func ruleList(lines ...string) []config.Rule {
	var rules []config.Rule
	for _, line := range lines {
		fields := strings.Fields(line)
		rule := config.Rule{Path: strings.ReplaceAll(fields[0], "␠", " ")}
		for _, f := range fields[1:] {
			switch {
			case f == "public":
				rule.Access = config.Public
			case f == "encoded":
				rule.EncodedSlashes = true
			case strings.HasPrefix(f, "unix:"):
				rule.Upstream = &config.Upstream{Socket: f}
			default:
				rule.Roles = strings.Split(f, ",")
			}
		}
		rules = append(rules, rule)
	}
	return rules
}

// rulesOf makes rules with a public default.
func rulesOf(t testing.TB, lines ...string) *Rules {
	t.Helper()
	return rulesFor(t, config.Public, lines...)
}

func rulesFor(t testing.TB, def config.Access, lines ...string) *Rules {
	t.Helper()
	rules, err := NewRules(ruleList(lines...), def)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// decided names the rule that decides a target, or "400".
func decided(rules *Rules, target string) string {
	p, no := JudgeTarget("GET", target)
	if no == nil {
		var d Decision
		if d, no = rules.Decide(p); no == nil {
			return d.Name
		}
	}
	return fmt.Sprint(no.Status)
}

func checkDecisions(t *testing.T, rules *Rules, want map[string]string) {
	t.Helper()
	for target, name := range want {
		if got := decided(rules, target); got != name {
			t.Errorf("%q: decided by %s, want %s", target, got, name)
		}
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	rules := rulesOf(t, "/account", "/admin admin", "/admin/health public", "/api/private", "/Straße", "/keys", "/v1.2", "/a␠b")

	t.Run("longest_prefix_whole_segments", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/": "default", "/x": "default", "/account": "/account", "/account/x/y": "/account", "/accounts": "default", "/account-x": "default",
			"/account_x": "default", "/accoun": "default", "/x/admin": "default", "/admin": "/admin", "/administrator": "default",
			"/admin/health": "/admin/health", "/admin/health/": "/admin/health", "/admin/health/x": "/admin/health", "/admin/healthy": "/admin",
			"/api": "default", "/api/private/x": "/api/private", "/v1.2/x": "/v1.2", "/v1.20": "default", "/a%20b/c": "/a b",
		})
	})
	t.Run("P03_inner_slashes", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/api//private": "/api/private", "/admin//x": "/admin", "/admin/": "/admin",
			// A server that does not collapse sees no /admin/health here.
			"/admin//health": "/admin", "/admin/health//x": "/admin/health",
		})
	})
	t.Run("P05_parameters", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/admin;x": "/admin", "/;x/admin": "/admin", "/admin;x/y": "/admin", "/api;v=1/private": "/api/private", "/api;v=1/private;w/z": "/api/private",
			"/%3bx/admin": "/admin", "/..;/admin": "400", "/admin/health;x": "/admin", "/admin/health/y;x": "/admin/health",
			"/page;jsessionid=1": "default", "/;jsessionid=1": "default", "/account;jsessionid=1": "/account",
		})
	})
	t.Run("P07_folding", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/ADMIN": "/admin", "/Admin/x": "/admin", "/admin.": "/admin", "/admin..": "/admin", "/admin%20": "/admin", "/admin./x": "/admin", "/static%EF%BC%8E%EF%BC%8E/admin": "400",
			"/api%20./private": "/api/private", "/%20api/private": "/api/private", "/%20/admin": "/admin", "/admin.json": "/admin",
			"/ADMIN.HTML": "/admin", "/admin+": "/admin", "/admin~": "/admin", "/admin!x.action": "/admin", "/admin:$DATA": "/admin", "/api::x/private": "/api/private",
			"/+/admin": "/admin", "/api+/private": "/api/private", "/index.php/+/admin": "/admin", "/a+b/admin": "/a b",
			"/admin%3f/x": "/admin", "/admin,x": "/admin", "/admin&x": "/admin", "/admin=": "/admin",
			"/%E2%84%AAeys": "/keys", "/key%C5%BF": "/keys", "/adm%C4%B1n": "/admin", "/ADM%C4%B0N": "/admin", "/stra%C3%9Fe": "/Straße", "/STRASSE": "/Straße", "/stra%E1%BA%9Ee": "/Straße",
			"/%EF%BD%81dmin": "/admin", "/a%C2%ADdmin": "/admin", "/%E2%80%8B/admin": "/admin", "/api%EF%BC%8Fprivate": "/api/private", "/api%EF%BC%BCprivate": "/api/private",
			"/x/%EF%BC%8E%EF%BC%8E/admin": "400", "/x/%E2%80%A5/admin": "400", "/x/.%E2%80%8B./admin": "400",
			"/ADMIN/HEALTH": "/admin", "/admin/Health": "/admin", "/admin/health.": "/admin", "/admin/health%20": "/admin",
		})
	})
	t.Run("P08_hash_and_query", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/admin%23/public/": "/admin", "/admin?x=/public/": "/admin", "/x?/admin": "default", "/tagged/c%23": "default",
			"/admin/health%23": "/admin", "/admin/health/%23": "/admin/health",
		})
	})
	t.Run("P05_path_info_of_scripts", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/index.php/admin": "/admin", "/x/app.php/api/private": "/api/private", "/api/index.php/private": "/api/private", "/INDEX.PHP./admin": "/admin",
			"/index.php;x/admin": "/admin", "/index.php/account/x": "/account", "/a.php/b.php/admin": "/admin", "/index.php/x": "default", "/php/admin": "default",
			"/account/index.php/admin": "/admin", "/a.php/a.php/a.php/a.php/a.php/x": "400",
			// Apache's MultiViews finds index.php by its name without the suffix.
			"/index/admin": "/admin", "/index/admin/x": "/admin", "/index//admin": "/admin", "/%69ndex/admin": "/admin", "/x/index/api/private": "/api/private", "/api/index/private": "/api/private", "/INDEX/admin": "/admin",
			"/index": "default", "/index/x": "default", "/myindex/admin": "default", "/indexes/admin": "default", "/x/index": "default",
		})
	})
}

func TestDecideStrictest(t *testing.T) {
	t.Parallel()
	rules := rulesFor(t, config.Protected, "/pub public", "/pub/a x,y", "/b x", "/c z", "/any", "/other unix:/o")
	t.Run("P05_strictest_reading", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/pub/index.php/b": "/b", "/any/i.php/b": "/b", "/b/i.php/any": "/b", "/pub/a/i.php/b": "/b", "/b/i.php/pub/a": "/b",
			// No reading is stricter than the other.
			"/b/i.php/c": "400", "/any/i.php/other": "400",
			// Against the default, which any logged-in user passes, the rule is stricter.
			"/zz/i.php/other": "/other", "/other/i.php/zz": "/other",
			// A script in a public folder stays public though the default is protected.
			"/pub/i.php/zz": "/pub", "/zz": "default", "/PUB": "default",
		})
	})
}

func TestDecideEncoded(t *testing.T) {
	t.Parallel()
	rules := rulesOf(t, "/admin admin", "/npm public encoded", "/npm/secret", "/npm/plain public", "/git encoded", "/git/@scope admin")
	t.Run("P02_opt_in", func(t *testing.T) {
		checkDecisions(t, rules, map[string]string{
			"/x/a%2fb": "400", "/%2fadmin": "400", "/public/..%2fadmin": "400", "/%2561dmin": "400", "/admin%2fx": "400", "/npm%2fsecret": "400", "/npm/plain/a%2fb": "400",
			"/npm/@a%2fb": "/npm", "/npm/100%25": "/npm", "/npm/a%252fb": "/npm", "/git/a%2Fb": "/git", "/GIT/a%2Fb": "/git",
			"/npm/secret%2fx": "/npm/secret", "/npm/x%2f..%2fsecret": "400", "/npm/%2e%2e%2fadmin": "400", "/npm/..%252fadmin": "400", "/npm/%252e%252e/admin": "400",
			"/npm/%2573ecret": "/npm/secret", "/npm/%252573ecret": "/npm/secret", "/npm/SECRET%2fx": "/npm/secret", "/npm/secret;x%2fy": "400",
			"/npm/a%255cb": "400", "/npm/a%2500": "400", "/npm/%25c0%25ae": "400", "/npm/%252525252525252525252561": "400",
			"/git/@scope%2fpackage": "/git/@scope", "/npm/%2fsecret": "/npm/secret",
		})
	})
	t.Run("P02_root", func(t *testing.T) {
		root := rulesOf(t, "/ public encoded", "/admin")
		checkDecisions(t, root, map[string]string{
			"/%2fadmin": "400", "/x%2fadmin": "/", "/x%2f..%2fadmin": "400", "/%61dmin%2fx": "/admin", "/%2561dmin": "/admin", "/x/%2e%2e%2fadmin": "400",
		})
	})
}

func TestDecideDefaults(t *testing.T) {
	t.Parallel()
	t.Run("an_empty_default_is_protected", func(t *testing.T) {
		rules := rulesFor(t, "", "/pub/ public")
		for target, want := range map[string]config.Access{"/": config.Protected, "/pub": config.Public, "/pub/x": config.Public, "/public": config.Protected, "/Pub": config.Protected} {
			d, no := rules.Decide(judged(t, target))
			if no != nil || d.Access != want {
				t.Errorf("%q: %+v %v, want %s", target, d, no, want)
			}
		}
	})
	t.Run("P14_needless_encoding", func(t *testing.T) {
		rules := rulesFor(t, config.Protected, "/pub public", "/café␠x public", "/a/b public", "/a admin")
		checkDecisions(t, rules, map[string]string{
			// Servers that do not decode before they route see no /pub here, and fall through.
			"/p%75b": "default", "/%70ub/x": "default", "/pub%6cic": "default", "/pub%2e": "default", "/a/%62": "/a",
			"/pub/%61": "/pub", "/pub/x%23": "/pub", "/caf%C3%A9%20x/y": "/café x", "/caf%c3%a9%20x": "/café x", "/c%61f%c3%a9%20x": "default",
		})
	})
	t.Run("a_rule_for_the_root", func(t *testing.T) {
		rules := rulesOf(t, "/", "/x public")
		checkDecisions(t, rules, map[string]string{"/": "/", "/y": "/", "/x": "/x", "/x/": "/x", "/X": "/", "/x.y": "/"})
	})
	t.Run("P10_asterisk_has_no_rule", func(t *testing.T) {
		p, _ := JudgeTarget("OPTIONS", "*")
		for _, p := range []Path{p, {}} {
			if d, no := rulesOf(t).Decide(p); no == nil {
				t.Errorf("%+v is decided: %+v", p, d)
			}
		}
	})
}

func TestAllows(t *testing.T) {
	t.Parallel()
	rules := rulesFor(t, config.Protected, "/admin admin,root", "/any", "/pub public")
	rows := map[string]map[string]bool{
		"/admin": {"admin": true, "root": true, "Admin": false, "": false, "user": false},
		"/any":   {"admin": true, "": true},
		"/x":     {"admin": true, "": true},
		"/pub":   {"": true},
	}
	for target, roles := range rows {
		d, no := rules.Decide(judged(t, target))
		if no != nil {
			t.Fatal(no)
		}
		for role, want := range roles {
			if d.Allows(role) != want {
				t.Errorf("%s for role %q: want %v", target, role, want)
			}
		}
	}
}

func TestNewRulesRefuses(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		rules []string
		says  string
	}{
		{"P12_suffix_pattern", []string{"*.css public"}, "must begin with /"},
		{"P12_pattern", []string{"/static/*.css public"}, "not a pattern"},
		{"encoded", []string{"/a%20b"}, "decoded"},
		{"semicolon", []string{"/a;b"}, "must not hold"},
		{"hash", []string{"/a#b"}, "must not hold"},
		{"double_slash", []string{"/a//b"}, "//"},
		{"dots", []string{"/a/../b"}, "dots"},
		{"dots_behind_a_name", []string{"/a../b"}, "two dots"},
		{"wide_dots", []string{"/a/．．/b"}, "dot segment"},
		{"control", []string{"/a\u0001b"}, "control"},
		{"not_utf8", []string{"/a\xff"}, "UTF-8"},
		{"P07_two_spellings", []string{"/admin", "/Admin."}, "same path"},
		{"P07_public_spelling", []string{"/admin", "/ADMIN public"}, "same path"},
		{"public_twice", []string{"/a public", "/a/ public"}, "already"},
		{"three_problems", []string{"/a", "/b*", "/a public", "c"}, "rules[3]"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewRules(ruleList(row.rules...), config.Public)
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("error %v, want one that says %q", err, row.says)
			}
		})
	}
	t.Run("two_public_spellings_are_two_paths", func(t *testing.T) {
		rules := rulesFor(t, config.Protected, "/a public", "/A public")
		checkDecisions(t, rules, map[string]string{"/a": "/a", "/A": "/A"})
	})
	t.Run("every_problem_at_once", func(t *testing.T) {
		_, err := NewRules(ruleList("/b*", "/a", "/A", "c"), config.Public)
		for _, want := range []string{"rules[0]", "rules[2]", "rules[3]"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %s is missing", err, want)
			}
		}
	})
}

func TestRulesKeepTheirOwnCopy(t *testing.T) {
	t.Parallel()
	cfg := ruleList("/admin admin")
	rules, err := NewRules(cfg, config.Public)
	if err != nil {
		t.Fatal(err)
	}
	cfg[0].Access, cfg[0].Path = config.Public, "/"
	if d, _ := rules.Decide(judged(t, "/admin")); d.Access != config.Protected || d.Rule.Path != "/admin" || d.Rule.Access == config.Public {
		t.Errorf("the decision changed with the config: %+v", d)
	}
}

// BenchmarkDecide judges and decides with ten thousand rules: an ordinary path, an odd one, and
// one made to be slow.
func BenchmarkDecide(b *testing.B) {
	lines := make([]string, 0, 10000)
	for i := range cap(lines) {
		lines = append(lines, fmt.Sprintf("/section-%d/part-%d public", i%100, i))
	}
	rules := rulesOf(b, append(lines, "/admin admin")...)
	for name, target := range map[string]string{
		"plain": "/section-7/part-4207/static/app.min.js", "capital": "/Section-7/Part-4207/x", "session": "/section-7/part-4207/x;jsessionid=1",
		"encoded": "/section-7/part-4207/caf%C3%A9", "dots": "/" + strings.Repeat("a.", 4000), "wide": "/" + strings.Repeat("%EF%BC%A1.", 800),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, _ := JudgeTarget("GET", target)
				if _, no := rules.Decide(p); no != nil {
					b.Fatal(no)
				}
			}
		})
	}
}
