package proxy

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/session"
)

const cookieName = "__Host-gatehouse"

func cutCookies(lines ...string) (string, int) {
	h := http.Header{}
	if lines != nil {
		h["Cookie"] = lines
	}
	n := CutCookie(h, cookieName)
	if len(h["Cookie"]) > 1 {
		return "several lines", n
	}
	return strings.Join(h["Cookie"], "|"), n
}

func TestCutCookie(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		lines []string
		want  string
		n     int
	}{
		{"S02_none", nil, "", 0},
		{"S02_not_there", []string{`a=1;b="2; 3" ;  j={"x":1}; `}, `a=1;b="2; 3" ;  j={"x":1}; `, 0},
		{"S02_alone", []string{"__Host-gatehouse=t"}, "", 1},
		{"S02_alone_semicolons", []string{" ; __Host-gatehouse=t ;; "}, "", 1},
		{"S02_first", []string{"__Host-gatehouse=t; a=1; b=2"}, "a=1; b=2", 1},
		{"S02_middle", []string{"a=1; __Host-gatehouse=t; b=2"}, "a=1; b=2", 1},
		{"S02_last", []string{"a=1; __Host-gatehouse=t"}, "a=1", 1},
		{"S02_json_survives", []string{`__Host-gatehouse=t; j={"x":1}; k=[1,2]`}, `j={"x":1}; k=[1,2]`, 1},
		{"S02_odd_spacing", []string{"a = 1 ;__Host-gatehouse=t;b=  2;;c"}, "a = 1 ;b=  2;;c", 1},
		{"S02_twice", []string{"__Host-gatehouse=t; a=1; __Host-gatehouse=u"}, "a=1", 2},
		{"S02_several_lines", []string{"a=1", "__Host-gatehouse=t", "b=2"}, "a=1; b=2", 1},
		{"S02_lines_are_joined", []string{"a=1", "b=2"}, "a=1; b=2", 0},
		{"S02_all_lines", []string{"__Host-gatehouse=t", "__Host-gatehouse=u"}, "", 2},
		{"S02_any_case", []string{"__HOST-Gatehouse=t; a=1"}, "a=1", 1},
		{"S02_quoted", []string{`"__Host-gatehouse"=t; __Host-gatehouse="t"; a=1`}, "a=1", 2},
		{"S02_blanks", []string{"\t __Host-gatehouse \t= t ; a=1"}, "a=1", 1},
		{"S02_no_value", []string{"__Host-gatehouse; a=1"}, "a=1", 1},
		{"S02_no_name", []string{"=__Host-gatehouse=t; a=1"}, "a=1", 1},
		{"S02_percent", []string{"__Host%2Dgatehouse=t; %5f%5FHost-gatehouse=t; %20__Host-gatehouse%20=t; a=1"}, "a=1", 3},
		{"S02_php_dots", []string{"._Host-gatehouse=t; [_Host-gatehouse=t; a=1"}, "a=1", 2},
		{"S02_comma", []string{"a=1,__Host-gatehouse=t, b=2; c=3"}, "a=1, b=2; c=3", 1},
		{"S02_comma_in_ours", []string{"__Host-gatehouse=t,x=1; c=3"}, "c=3", 1},
		{"S02_other_names", []string{"__Host-gatehouse2=x; x__Host-gatehouse=y; gatehouse=z; a=__Host-gatehouse"}, "__Host-gatehouse2=x; x__Host-gatehouse=y; gatehouse=z; a=__Host-gatehouse", 0},
		{"S02_in_quotes", []string{`a="x; __Host-gatehouse=t; y"`}, `a="x; y"`, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got, n := cutCookies(row.lines...); got != row.want || n != row.n {
				t.Errorf("left %q, cut %d; want %q, %d", got, n, row.want, row.n)
			}
		})
	}
}

func TestCutCookieAllocatesNothing(t *testing.T) {
	h := http.Header{"Cookie": {`a=1; b={"x":1}; _ga=GA1.2.3`}}
	if n := testing.AllocsPerRun(100, func() { CutCookie(h, cookieName) }); n != 0 {
		t.Errorf("%v allocations with nothing to cut", n)
	}
}

func TestDropSetCookie(t *testing.T) {
	t.Parallel()
	t.Run("S02_dropped", func(t *testing.T) {
		for _, line := range []string{
			"__Host-gatehouse=evil; Path=/", "__host-GATEHOUSE=evil", " __Host-gatehouse =evil", "\t__Host-gatehouse\t=evil", "__Host-gatehouse\x00=evil", "__Host-\x01gatehouse=evil",
			"__Host-gatehouse", "__Host-gatehouse; Max-Age=0", "=__Host-gatehouse=evil", `"__Host-gatehouse"=evil`, "__Host%2dgatehouse=evil",
		} {
			h := http.Header{"Set-Cookie": {"a=1; HttpOnly", line, "b=2"}}
			if n := DropSetCookie(h, cookieName); n != 1 || !slices.Equal(h["Set-Cookie"], []string{"a=1; HttpOnly", "b=2"}) {
				t.Errorf("%q: dropped %d, left %q", line, n, h["Set-Cookie"])
			}
		}
	})
	t.Run("S02_others_stay", func(t *testing.T) {
		lines := []string{"a=__Host-gatehouse=x", "x__Host-gatehouse=1", "sid=1; __Host-gatehouse=2", `j={"x":1}; Path=/`}
		h := http.Header{"Set-Cookie": slices.Clone(lines)}
		if n := DropSetCookie(h, cookieName); n != 0 || !slices.Equal(h["Set-Cookie"], lines) {
			t.Errorf("dropped %d, left %q", n, h["Set-Cookie"])
		}
	})
	t.Run("S02_only_ours", func(t *testing.T) {
		h := http.Header{"Set-Cookie": {"__Host-gatehouse=1", "__Host-gatehouse=2"}}
		if n := DropSetCookie(h, cookieName); n != 2 || len(h) != 0 {
			t.Errorf("dropped %d, left %v", n, h)
		}
	})
	t.Run("S02_a_shared_slice_is_not_changed", func(t *testing.T) {
		lines := []string{"__Host-gatehouse=1", "a=1", "b=2"}
		DropSetCookie(http.Header{"Set-Cookie": lines}, cookieName)
		if !slices.Equal(lines, []string{"__Host-gatehouse=1", "a=1", "b=2"}) {
			t.Errorf("now %q", lines)
		}
	})
}

// cookieModels are servers that read a Cookie header: the names they find.
var cookieModels = map[string]func(line string) []string{
	"RFC 6265": func(line string) []string {
		return cookieNames(line, ";", func(s string) string { return strings.Trim(s, " \t") })
	},
	"Rack, comma": func(line string) []string {
		return cookieNames(strings.ReplaceAll(line, ",", ";"), ";", func(s string) string { return strings.TrimSpace(unescapeOnce(s)) })
	},
	"PHP": func(line string) []string {
		return cookieNames(line, ";", func(s string) string {
			return strings.NewReplacer(".", "_", " ", "_").Replace(strings.TrimLeft(unescapeOnce(s), " \t\r\n"))
		})
	},
	"without regard to case or quotes": func(line string) []string {
		return cookieNames(line, ";", func(s string) string { return strings.Trim(strings.ToLower(s), " \t\"") })
	},
	"net/http": func(line string) []string {
		var names []string
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {line}}}).Cookies() {
			names = append(names, c.Name)
		}
		return names
	},
}

func cookieNames(line, sep string, clean func(string) string) []string {
	var names []string
	for pair := range strings.SplitSeq(line, sep) {
		name, _, _ := strings.Cut(pair, "=")
		names = append(names, clean(name))
	}
	return names
}

// checkCut holds the properties of cutting: no model finds the cookie afterwards, nor does the
// gateway itself; what was another cookie is still there, byte for byte and in order; cutting again
// changes nothing.
func checkCut(t *testing.T, lines []string) {
	t.Helper()
	h := http.Header{"Cookie": slices.Clone(lines)}
	n := CutCookie(h, cookieName)
	if len(h["Cookie"]) > 1 {
		t.Fatalf("%q: %d lines are left", lines, len(h["Cookie"]))
	}
	left := strings.Join(h["Cookie"], "")
	cookies := session.NewCookies(config.Cookie{Name: cookieName}, 0)
	if _, found := cookies.Read(h); found != 0 {
		t.Fatalf("%q: the gateway finds its cookie in %q", lines, left)
	}
	if _, found := cookies.Read(http.Header{"Cookie": lines}); found > n {
		t.Fatalf("%q: %d found, %d cut", lines, found, n)
	}
	for model, names := range cookieModels {
		for _, name := range names(left) {
			if strings.EqualFold(name, cookieName) {
				t.Fatalf("%q: %s finds the cookie in %q", lines, model, left)
			}
		}
	}
	rest := left
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			// Pairs that hold neither a comma nor our name, in whatever spelling, must survive.
			if pair = strings.Trim(pair, " \t"); pair == "" || strings.ContainsAny(pair, ",") || isOurs(pair, cookieName) {
				continue
			}
			_, after, ok := strings.Cut(rest, pair)
			if !ok {
				t.Fatalf("%q: %q is lost in %q", lines, pair, left)
			}
			rest = after
		}
	}
	if again := CutCookie(h, cookieName); again != 0 || strings.Join(h["Cookie"], "") != left {
		t.Fatalf("%q: cutting twice cuts %d more from %q", lines, again, left)
	}
}

// TestS02_CutCookieProperties checks random lines made of what cookies are made of.
func TestS02_CutCookieProperties(t *testing.T) {
	t.Parallel()
	parts := []string{
		cookieName, cookieName, "__host-GATEHOUSE", "__Host%2Dgatehouse", "._Host-gatehouse", "a", "sid", "=", "=", "=", ";", ";", "; ", "; ", ",", " ", "\t", `"`, "1", "token", `{"x":1}`, "%20", "%", "x=y", "",
	}
	seed := p14Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 2))
	t.Logf("seed %d", seed)
	for range 100_000 {
		lines := make([]string, 1+rnd.IntN(3)/2)
		for i := range lines {
			for range rnd.IntN(12) {
				lines[i] += parts[rnd.IntN(len(parts))]
			}
		}
		checkCut(t, lines)
	}
}

// FuzzCutCookie looks for lines that break those properties.
func FuzzCutCookie(f *testing.F) {
	f.Add("a=1; __Host-gatehouse=t", "b=2")
	f.Add(`"__Host-gatehouse"=t;=__Host-gatehouse=1,__Host-gatehouse=2`, "")
	f.Add("%5F_Host-gatehouse=t; ._host-gatehouse", `j={"x":1}`)
	f.Fuzz(func(t *testing.T, first, second string) { checkCut(t, []string{first, second}) })
}
