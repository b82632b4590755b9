package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/config"
)

// Decision says who may pass with a path.
type Decision struct {
	// Rule that decided; nil when it was the default.
	Rule *config.Rule
	// Name is the rule's path, or "default".
	Name string
	// Access is public or protected, never empty.
	Access config.Access
}

// Allows reports whether a session with this role may pass. Roles are compared byte for byte.
func (d Decision) Allows(role string) bool {
	return d.Access == config.Public || d.Rule == nil || len(d.Rule.Roles) == 0 || slices.Contains(d.Rule.Roles, role)
}

// Rules find the longest prefix of a path that the config names. They are immutable.
//
// Protected and public prefixes are compared in different ways, since errors in the two directions
// cost different things. A protected prefix matches whatever some server may take for it: in folded
// form (foldPath), and followed by anything but a letter, digit, - or _, so that /admin covers
// /admin.json (Rails), /admin;x (Tomcat), /admin:x (NTFS) and /admin~ too. A public prefix matches
// byte for byte and whole segments only. A public prefix inside a protected one opens just that.
//
// Each lookup is a question to a map per candidate prefix, so the number of rules does not matter.
type Rules struct {
	protected prefixes // by folded path
	public    prefixes // by path as written
	fallback  *entry
}

// entry is one rule, or the default.
type entry struct {
	Decision
	// size is the length of the folded prefix: of two that match, the longer is more specific.
	size int
}

// prefixes are rules by prefix, without trailing slash. lengths tells which lengths occur, so that
// a path full of boundaries costs no lookups that cannot succeed.
type prefixes struct {
	rules   map[string]*entry
	lengths []bool
}

func (p *prefixes) add(prefix string, e *entry) {
	if p.rules == nil {
		p.rules = make(map[string]*entry)
	}
	if missing := len(prefix) + 1 - len(p.lengths); missing > 0 {
		p.lengths = append(p.lengths, make([]bool, missing)...)
	}
	p.rules[prefix], p.lengths[len(prefix)] = e, true
}

// longest gives the entry of the longest prefix of path, of at most limit bytes, that ends where
// isEnd allows, or nil.
func (p *prefixes) longest(path string, limit int, isEnd *[256]bool) *entry {
	for n := min(limit, len(p.lengths)-1); n >= 0; n-- {
		if p.lengths[n] && (n == len(path) || isEnd[path[n]]) {
			if e := p.rules[path[:n]]; e != nil {
				return e
			}
		}
	}
	return nil
}

// What may follow a prefix: a protected one is generous, a public one is not.
var endsProtected, endsPublic = func() (protected, public [256]bool) {
	for c := range 128 {
		b := byte(c)
		word := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-' || b == '_'
		protected[c] = !word
	}
	// Of /npm/@scope%2Fx the decoded reading finds /npm/@scope. The literal one stays with /npm, the
	// rule that has opted in to such paths.
	protected['%'] = false
	public['/'] = true
	return protected, public
}()

// NewRules takes the config's rules and the access of paths none of them names (empty: protected).
// It refuses, all problems at once, rules whose meaning would depend on the reader: patterns
// (P12), encoded or ambiguous paths, and two rules for what some servers take for one path.
func NewRules(cfg []config.Rule, def config.Access) (*Rules, error) {
	r := &Rules{fallback: &entry{Decision: Decision{Name: "default", Access: access(def)}}}
	taken := make(map[string]*entry) // by folded path
	var problems []error
	for i, rule := range slices.Clone(cfg) {
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("rules[%d].path %q: %s", i, rule.Path, fmt.Sprintf(format, args...)))
		}
		if why := badPrefix(rule.Path); why != "" {
			problem("%s", why)
			continue
		}
		path := strings.TrimSuffix(rule.Path, "/")
		folded, no := foldPath(path)
		if no != nil {
			problem("%s", no.Reason)
			continue
		}
		e := &entry{Decision: Decision{Rule: &rule, Name: rule.Path, Access: access(rule.Access)}, size: len(folded)}
		if other := taken[folded]; other != nil && (e.Access != config.Public || other.Access != config.Public) {
			problem("some servers take it for the same path as %q; keep one of the two rules", other.Name)
			continue
		}
		if e.Access == config.Public {
			if r.public.rules[path] != nil {
				problem("there is a rule for this path already; keep one of the two")
				continue
			}
			r.public.add(path, e)
		} else {
			r.protected.add(folded, e)
		}
		taken[folded] = e
	}
	return r, errors.Join(problems...)
}

// each visits the rules.
func (r *Rules) each(visit func(*config.Rule)) {
	for _, all := range []prefixes{r.protected, r.public} {
		for _, e := range all.rules {
			visit(e.Rule)
		}
	}
}

// access gives config's default its name. Only the exact word opens a path.
func access(a config.Access) config.Access {
	if a == config.Public {
		return config.Public
	}
	return config.Protected
}

// badPrefix says what is wrong with a rule's path, and what would be right.
func badPrefix(path string) string {
	switch {
	case !strings.HasPrefix(path, "/"):
		return "it must begin with /"
	case strings.Contains(path, "*"):
		return "it is a prefix, not a pattern: a public *.css would open /admin/x.css as well; name the folder"
	case strings.Contains(path, "%"):
		return "write it decoded: rules are compared with the decoded path"
	case strings.ContainsAny(path, "?#;:\\"):
		return "it must not hold any of ? # ; : \\, at which some servers end a path"
	case strings.Contains(path, "//"):
		return "it must not hold //"
	case judgeText(path) != nil:
		return "it must be UTF-8 without control characters"
	case judgeSegments(path) != nil:
		return "it must not hold segments of dots only, nor folders that end in two dots"
	}
	return ""
}
