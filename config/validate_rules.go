package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// ownPrefix is the folder of the gateway's own endpoints.
const ownPrefix = "/.gatehouse"

// entry is the key of a list's entry.
func entry(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// rules checks each rule, and that no two say different things about one path.
func (k *checker) rules(c *Config) {
	folded := map[string]int{}
	for i, r := range c.Rules {
		key := entry("rules", i)
		if f := checkRulePath(r.Path); f != nil {
			k.add(key+".path", f)
		} else if first, ok := folded[foldPath(r.Path)]; ok {
			k.add(key+".path", checkTwin(c.Rules[first], r, first))
		} else {
			folded[foldPath(r.Path)] = i
		}
		k.add(key+".access", oneOf(string(r.Access), string(Public), string(Protected)))
		k.roles(key+".roles", r)
		if r.Unauthenticated != "" {
			k.add(key+".unauthenticated", oneOf(r.Unauthenticated, AnswerJSON, AnswerRedirect))
		}
		if r.Upstream != nil {
			k.add(key+".upstream", checkNotItself(r.Upstream, c.Listen))
		}
		k.add(key+".websocket", checkWebSocket(r, c.Upstream))
		if r.MaxBody != nil && *r.MaxBody < 0 {
			k.add(key+".max_body", faultf("write a size such as 1GiB, or 0 for no limit", "is negative"))
		}
		if r.SecurityHeaders != nil {
			k.securityHeaders(key+".security_headers", *r.SecurityHeaders, r.SecurityHeaders.Over(c.SecurityHeaders))
		}
		if r.RequestLimits != nil {
			k.requestLimits(key+".request_limits", *r.RequestLimits)
		}
	}
}

func foldPath(p string) string { return cases.Fold().String(p) }

// checkTwin judges two rules whose paths are the same but for capitals. Protected prefixes match
// whatever the case (case P07), so the two would contradict each other.
func checkTwin(a, b Rule, first int) *fault {
	if a.Path == b.Path {
		return faultf("join the two", "%q also stands in rules[%d]", b.Path, first)
	}
	if a.Access != b.Access || !slices.Equal(a.Roles, b.Roles) {
		return faultf("give both the same access and roles, or delete one",
			"%q differs from %q in rules[%d] only in case, but not everybody may pass both", b.Path, a.Path, first)
	}
	return nil
}

// roles checks who may pass.
func (k *checker) roles(key string, r Rule) {
	if r.Roles != nil && len(r.Roles) == 0 {
		k.add(key, faultf("name a role, or delete the line to let every logged-in user pass", "is an empty list"))
	}
	if len(r.Roles) > 0 && r.Access == Public {
		k.add(key, faultf("delete the roles, or write access: protected", "a public path has no roles, anybody may pass"))
	}
	for i, role := range r.Roles {
		switch {
		case strings.TrimSpace(role) == "":
			k.add(entry(key, i), faultf("name a role or delete the entry", "is empty"))
		case strings.TrimSpace(role) != role:
			k.add(entry(key, i), faultf(fmt.Sprintf("write %q", strings.TrimSpace(role)), "%q has spaces around it and would never match", role))
		}
	}
}

// checkWebSocket finds a rule that promises what its upstream cannot do: the upgrade is of HTTP/1.1 alone (RFC
// 9113, 8.6).
func checkWebSocket(r Rule, upstream *Upstream) *fault {
	if r.Upstream != nil {
		upstream = r.Upstream
	}
	if r.WebSocket == nil || !*r.WebSocket || upstream == nil || !upstream.HTTP2 {
		return nil
	}
	return faultf("give these paths an http:// or https:// upstream, or delete the line", "no WebSocket can be opened at %s, which is asked by HTTP/2", upstream)
}

// checkRulePath wants a plain prefix of whole segments.
func checkRulePath(p string) *fault {
	if f := checkPattern(p); f != nil {
		return f
	}
	if f := checkPath(p, "/admin"); f != nil {
		return f
	}
	if p != "/" && strings.HasSuffix(p, "/") {
		return faultf(fmt.Sprintf("write %q", strings.TrimRight(p, "/")), "%q ends with a slash, but a rule covers whole segments anyway", p)
	}
	for segment := range strings.SplitSeq(p, "/") {
		if strings.TrimRight(segment, ". ") != segment {
			return faultf("write it without", "%q has a segment that ends with a dot or space, which some systems ignore", p)
		}
	}
	return nil
}

// checkPattern refuses what looks like more than a prefix. A suffix or unanchored pattern opens
// more than it says: a public *.css opens /admin/x.css (case P12).
func checkPattern(p string) *fault {
	const fix = "write a plain prefix such as /static"
	switch {
	case strings.ContainsAny(p, "*[]"):
		return faultf(fix, `%q is a pattern, rules are prefixes: a public "*.css" would open /admin/x.css`, p)
	case strings.HasPrefix(p, "^") || strings.HasSuffix(p, "$") || strings.ContainsAny(p, "|"):
		return faultf(fix, "%q is a regular expression, rules are prefixes: an unanchored one opens more than it says", p)
	case strings.ContainsAny(p, "{}<>") || strings.Contains(p, "/:"):
		return faultf(fix, "%q has a placeholder, rules are prefixes: it would never match a real path", p)
	case strings.HasPrefix(p, ".") && !strings.Contains(p, "/"):
		return faultf(fix, `%q is a suffix, rules are prefixes: a public ".css" would open /admin/x.css`, p)
	}
	return nil
}

// checkPath wants a path as it is after decoding, in the one form that no server reads differently.
func checkPath(p, example string) *fault {
	switch {
	case p == "":
		return faultf("write a path such as "+example, "is missing")
	case !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		return faultf("write it without", "%q has control characters", p)
	case strings.Contains(p, "://"):
		return faultf("write the path only, such as "+example, "%q is a URL", p)
	case strings.Contains(p, `\`):
		return faultf(fmt.Sprintf("write %q", strings.ReplaceAll(p, `\`, "/")), "%q has a backslash", p)
	case !strings.HasPrefix(p, "/"):
		return faultf(fmt.Sprintf("write %q", "/"+p), "%q does not begin with a slash", p)
	case strings.ContainsAny(p, "?#"):
		return faultf(fmt.Sprintf("write %q", p[:strings.IndexAny(p, "?#")]), "%q has a query or fragment, which never decides", p)
	case strings.Contains(p, "%"):
		return faultf("write the characters themselves, decoded", "%q is percent-encoded", p)
	case strings.Contains(p, ";"):
		return faultf("write it without", "%q has a semicolon, which some servers cut off", p)
	case strings.Contains(p, "//"):
		return faultf("write each slash once", "%q has an empty segment (//)", p)
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return faultf("write the path it leads to", "%q has a dot segment", p)
		}
	}
	if f := foldPath(p); f == ownPrefix || strings.HasPrefix(f, ownPrefix+"/") {
		return faultf("choose another path", "%q belongs to the gateway itself", p)
	}
	return nil
}
