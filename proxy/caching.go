package proxy

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// keepPrivate keeps an answer made for one user out of shared caches (S13): what invites them is taken back, and
// whatever is not no-store becomes private. That is so for every answer, whatever its status and whatever else it says. Without a
// word of the application's, caches guess a lifetime for 200, 301, 404 and others (RFC 9111, 4.2.2); Expires alone is enough for
// them, and neither Set-Cookie nor Vary keeps an answer out (7.3 and 4.1).
//
// What is said to one kind of cache alone goes before Cache-Control there (RFC 9213, 2.2), and so it goes away.
//
// A page behind a protected rule is not stored at all, or the Back button would show it after logout,
// unless the application says for how long the browser may keep it. no-cache and max-age=0, which Rails
// and Laravel send by default, are not enough: browsers ask nobody before they show a page from memory.
func keepPrivate(resp *http.Response, protected bool) {
	h := resp.Header
	for name := range h {
		if isTargeted(name) {
			delete(h, name)
		}
	}
	given := directives(h["Cache-Control"])
	kept := slices.DeleteFunc(slices.Clone(given), isShared)
	if len(kept) < len(given) || !has(kept, "private") && !has(kept, "no-store") {
		kept = append([]string{"private"}, slices.DeleteFunc(kept, isPrivate)...)
	}
	if protected && isPage(h) && !mayLast(kept) && !has(kept, "no-store") {
		kept = append(kept, "no-store")
	}
	if !slices.Equal(kept, given) {
		h["Cache-Control"] = []string{strings.Join(kept, ", ")}
	}
}

// isTargeted reports whether a header speaks to one kind of cache alone: CDN-Cache-Control and those of its form (RFC 9213),
// Surrogate-Control, Edge-Control, and what nginx obeys before Cache-Control.
func isTargeted(name string) bool {
	switch name {
	case "Surrogate-Control", "Edge-Control", "X-Accel-Expires":
		return true
	}
	return strings.HasSuffix(name, "-Cache-Control")
}

// directives splits the lines of a Cache-Control header. A comma in quotes belongs to its directive: private="a, b".
func directives(lines []string) []string {
	var out []string
	for _, line := range lines {
		begin, quoted := 0, false
		for i := 0; i <= len(line); i++ {
			switch {
			case i == len(line) || line[i] == ',' && !quoted:
				if directive := strings.TrimSpace(line[begin:i]); directive != "" {
					out = append(out, directive)
				}
				begin = i + 1
			case line[i] == '"':
				quoted = !quoted
			case line[i] == '\\' && quoted:
				i++
			}
		}
	}
	return out
}

// isShared reports whether a directive invites shared caches. must-understand does: a cache that knows it ignores the no-store
// beside it (RFC 9111, 5.2.2.3). So does private="Set-Cookie", which keeps back that header and lets the rest be stored (5.2.2.7).
func isShared(directive string) bool {
	name, value := splitDirective(directive)
	return name == "public" || name == "s-maxage" || name == "must-understand" || name == "private" && value != ""
}

func isPrivate(directive string) bool {
	name, _ := splitDirective(directive)
	return name == "private"
}

// mayLast reports whether the browser may use the answer again without asking.
func mayLast(all []string) bool {
	lasts := false
	for _, directive := range all {
		switch name, value := splitDirective(directive); name {
		case "no-cache":
			return false
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64)
			lasts = err == nil && seconds > 0
		}
	}
	return lasts
}

func splitDirective(directive string) (name, value string) {
	name, value, _ = strings.Cut(directive, "=")
	return strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
}

func has(all []string, directive string) bool {
	return slices.ContainsFunc(all, func(d string) bool { return strings.EqualFold(d, directive) })
}

func isPage(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "text/html" || kind == "application/xhtml+xml")
}
