package proxy

import (
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse/config"
)

const (
	// maxDecodings is how often an opted-in path may be encoded; more is an attack.
	maxDecodings = 8
	// maxScripts bounds the scripts in one path, and so the work it makes.
	maxScripts = 4
)

// Decide finds the rule of a path. A path that servers read in several ways gets the strictest
// decision of all readings: one that is protected in any of them is never public. It is refused
// with 400 when no decision is the strictest, or when it has %2F or %25 and its rule does not
// opt in.
func (r *Rules) Decide(p Path) (Decision, *Refusal) {
	if p.Match == "" || p.Match[0] != '/' {
		return Decision{}, refuse("no path to decide on")
	}
	if !p.Encoded && !isOdd(p.Match) {
		return r.rule(p.plain, p.literal, p.Match).Decision, nil
	}
	v := verdict{rules: r}
	v.read(p.plain, p.literal)
	if p.Encoded {
		v.decodings(p.plain, p.literal)
	}
	if v.no != nil {
		return Decision{}, v.no
	}
	return v.strictest.Decision, nil
}

// rule is the longest prefix. Public prefixes are compared with the path as servers see it that do
// less than they might: with // still in it, since /admin//health is not the public /admin/health to
// all, and only up to literal, where the first character is percent-encoded that need not be. An Express application that serves
// /public does not see it in /publ%69c, and answers from a route that was meant to be protected.
func (r *Rules) rule(plain string, literal int, folded string) *entry {
	protected := r.protected.longest(folded, len(folded), &endsProtected)
	public := r.public.longest(plain, literal, &endsPublic)
	switch {
	case public != nil && (protected == nil || public.size > protected.size):
		return public
	case protected != nil:
		return protected
	}
	return r.fallback
}

// isOdd reports whether a path needs more than one look: it is not in folded form, has path
// parameters or a plus, or a segment that is not the last one and might be a script.
func isOdd(path string) bool {
	var before byte
	dot := false
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '/':
			if dot || strings.HasSuffix(path[:i], "/"+indexScript) {
				return true
			}
		case c == '.':
			dot = true
		case c >= 'A' && c <= 'Z', c == ' ', c == '+', c == ';', c == ':', c >= utf8.RuneSelf:
			return true
		}
		before = c
	}
	return before == '.'
}

// verdict collects the readings of one path.
type verdict struct {
	rules     *Rules
	strictest *entry
	no        *Refusal
}

// read adds what servers make of a decoded path: as it is; without path parameters, as Tomcat has
// it (P05); without these and without what follows a colon, as NTFS has it; and for each of them
// what remains when a segment is a script.
func (v *verdict) read(path string, literal int) {
	v.readOne(path, literal)
	if strings.Contains(path, ";") {
		v.readCut(path, ";")
	}
	if strings.Contains(path, ":") {
		v.readCut(path, ";:")
	}
}

func (v *verdict) readCut(path, chars string) {
	path = cutSegments(path, chars)
	v.readOne(path, len(path))
}

func (v *verdict) readOne(path string, literal int) {
	folded, no := foldPath(path)
	if no != nil {
		v.no = no
		return
	}
	v.add(v.rules.rule(path, literal, folded))
	v.scripts(folded)
	if strings.Contains(folded, "+") {
		// PHP's urldecode makes blanks of plus signs, which routers trim: /+/admin.
		if blank, no := foldPath(strings.ReplaceAll(folded, "+", " ")); no == nil {
			v.addNamed(blank)
			v.scripts(blank)
		}
	}
}

// scripts adds the readings of PATH_INFO: CGI and PHP run /shop/index.php for
// /shop/index.php/admin, and the application routes on what comes after the script, to which
// it may add the script's folder. Only rules that name such a path count: a public folder
// with scripts in it stays public when the default is protected.
func (v *verdict) scripts(folded string) {
	found := 0
	for i, start := 1, 1; i < len(folded); i++ {
		if folded[i] != '/' {
			continue
		}
		if isScript(folded[start:i]) {
			if found++; found > maxScripts {
				v.no = refuse("too many scripts in path")
				return
			}
			v.addNamed(folded[i:])
			v.addNamed(folded[:start-1] + folded[i:])
		}
		start = i + 1
	}
}

// addNamed adds a reading if a rule other than the root's protects it.
func (v *verdict) addNamed(folded string) {
	if e := v.rules.protected.longest(folded, len(folded), &endsProtected); e != nil && e.size > 0 {
		v.add(e)
	}
}

// decodings adds the readings of a path with %2F and %25: decoded once more, and again until there
// is nothing left to decode. The rule of the literal path must have opted in (P02).
func (v *verdict) decodings(path string, literal int) {
	folded, no := foldPath(path)
	if no != nil {
		v.no = no
		return
	}
	if e := v.rules.rule(path, literal, folded); e.Rule == nil || !e.Rule.EncodedSlashes {
		v.no = refuse("%2F or %25 in path, and its rule does not set encoded_slashes")
		return
	}
	for range maxDecodings {
		next := decodeLoosely(path)
		if next == path {
			return
		}
		if path = next; strings.HasPrefix(path, "//") || judgeText(path) != nil || judgeSegments(path) != nil {
			v.no = refuse("encoded dot segment or forbidden character in path")
			return
		}
		v.read(path, len(path))
	}
	v.no = refuse("path encoded too many times")
}

// add keeps the stricter of what it has and e.
func (v *verdict) add(e *entry) {
	if v.strictest == nil {
		v.strictest = e
		return
	}
	if v.strictest = stricter(v.strictest, e); v.strictest == nil {
		v.strictest, v.no = e, refuse("readings of the path fall under different rules")
	}
}

// stricter gives the entry that lets through no request the other would not, nil if neither does.
func stricter(a, b *entry) *entry {
	switch {
	case a == b || b.Access == config.Public:
		return a
	case a.Access == config.Public:
		return b
	case b.Rule == nil: // the default: whoever is logged in
		return a
	case a.Rule == nil:
		return b
	case a.Rule.Upstream.String() != b.Rule.Upstream.String():
		return nil
	case allRoles(a.Rule.Roles, b):
		return a
	case allRoles(b.Rule.Roles, a):
		return b
	}
	return nil
}

// allRoles reports whether e lets all these roles through; no roles are all there are.
func allRoles(roles []string, e *entry) bool {
	if len(roles) == 0 {
		return len(e.Rule.Roles) == 0
	}
	return !slices.ContainsFunc(roles, func(role string) bool { return !e.Allows(role) })
}

// cutSegments drops, in each segment, the first of the characters and what follows it.
func cutSegments(path, chars string) string {
	b := make([]byte, 0, len(path))
	skip := false
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/':
			skip = false
		case strings.IndexByte(chars, c) >= 0:
			skip = true
		}
		if !skip {
			b = append(b, path[i])
		}
	}
	return string(b)
}

// indexScript is the name under which Apache's MultiViews runs index.php: /index/admin is /index.php/admin there. It would
// run any other script by its name too, but which names are scripts cannot be told from outside, and the
// script in front of everything is called this.
const indexScript = "index"

// isScript goes by what the names of scripts end in.
func isScript(segment string) bool {
	if segment == indexScript {
		return true
	}
	dot := strings.LastIndexByte(segment, '.')
	if dot < 0 {
		return false
	}
	switch segment[dot:] {
	case ".php", ".php3", ".php4", ".php5", ".php7", ".php8", ".phtml", ".cgi", ".fcgi", ".pl", ".py", ".rb", ".asp", ".aspx", ".ashx", ".cfm", ".jsp":
		return true
	}
	return false
}

// decodeLoosely decodes %XX once and leaves a % that begins none.
func decodeLoosely(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}
