package proxy

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// keepPrivate keeps an answer made for one user out of shared caches (S13): `public` and s-maxage
// are taken back, and an answer that says nothing becomes private.
//
// A page behind a protected rule is not stored at all, or the Back button would show it after logout,
// unless the application says for how long the browser may keep it. no-cache and max-age=0, which Rails
// and Laravel send by default, are not enough: browsers ask nobody before they show a page from memory.
func keepPrivate(resp *http.Response, protected bool) {
	h := resp.Header
	given := directives(h["Cache-Control"])
	kept := slices.DeleteFunc(slices.Clone(given), isShared)
	if len(kept) < len(given) || !has(kept, "private") && !has(kept, "no-store") {
		kept = append([]string{"private"}, slices.DeleteFunc(kept, func(d string) bool { return strings.EqualFold(d, "private") })...)
	}
	if protected && isPage(h) && !mayLast(kept) && !has(kept, "no-store") {
		kept = append(kept, "no-store")
	}
	if !slices.Equal(kept, given) {
		h["Cache-Control"] = []string{strings.Join(kept, ", ")}
	}
}

// directives splits the lines of a Cache-Control header.
func directives(lines []string) []string {
	var out []string
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			if directive = strings.TrimSpace(directive); directive != "" {
				out = append(out, directive)
			}
		}
	}
	return out
}

// isShared reports whether a directive invites shared caches.
func isShared(directive string) bool {
	name, _ := splitDirective(directive)
	return name == "public" || name == "s-maxage"
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
