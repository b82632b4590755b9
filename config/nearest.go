package config

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// nearest gives the candidate most like word, or "" when none is similar enough to be meant.
// Case, hyphens and underscores do not count as differences worth more than any other spelling.
func nearest(word string, candidates []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	best, bestDistance := "", 0
	for _, c := range candidates {
		d := levenshtein.ComputeDistance(fold(word), fold(c))
		if best == "" || d < bestDistance {
			best, bestDistance = c, d
		}
	}
	// A third of the letters, and at least two: "rol" still finds "roles", "banana" finds nothing.
	if bestDistance > max(2, len(word)/3) || bestDistance >= len(best) {
		return ""
	}
	return best
}

// oneOf finds fault with a value that is none of the allowed ones, and names the nearest.
func oneOf(value string, allowed ...string) *fault {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	fix := "write " + orList(allowed)
	if n := nearest(value, allowed); n != "" {
		fix = "did you mean " + n + "? Known are " + orList(allowed)
	}
	if value == "" {
		return faultf(fix, "is missing")
	}
	return faultf(fix, "%q is not a known value", value)
}

// orList joins words: a, b or c.
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
