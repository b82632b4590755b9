package config

import (
	"regexp"
	"strconv"
	"strings"
)

// sqlText is what stands in a statement without being part of it: quoted text and names, comments.
var sqlText = regexp.MustCompile("(?s)'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\\*.*?\\*/")

var sqlParameter = regexp.MustCompile(`\$([0-9]+)`)

// statement says what a statement of the file must have. It is no parser: it finds what somebody
// slips in by mistake, before the database would refuse it at the first login.
type statement struct {
	// verbs a statement begins with; none: any.
	verbs []string
	// must are the parameters that stand in it, each with what it is; at most max ones are given.
	must []parameter
	max  int
}

type parameter struct {
	number int
	is     string
}

// check finds fault with a statement. example is a right one, or "".
func (s statement) check(sql, example string) *fault {
	bare := strings.TrimSpace(sqlText.ReplaceAllString(sql, " "))
	bare = strings.TrimSpace(strings.TrimSuffix(bare, ";"))
	if strings.Contains(bare, ";") {
		return faultf("write one statement", "holds several statements")
	}
	if bare == "" {
		return faultf("write "+example, "is empty")
	}
	verb, _, _ := strings.Cut(strings.Join(strings.Fields(bare), " "), " ")
	if len(s.verbs) > 0 && !containsFold(s.verbs, verb) {
		return faultf("write "+example, "does not begin with %s", orList(s.verbs))
	}
	used := map[int]bool{}
	for _, m := range sqlParameter.FindAllStringSubmatch(bare, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil || n < 1 || n > s.max {
			return faultf("use "+parameters(s.max), "holds %s, which is given no value", shorten(m[0]))
		}
		used[n] = true
	}
	for _, p := range s.must {
		if used[p.number] {
			continue
		}
		name := "$" + strconv.Itoa(p.number)
		if strings.Contains(sql, name) {
			return faultf("write "+name+" without quotes around it", "holds %s only as text, not as the place of %s", name, p.is)
		}
		fix := "write " + name + " where " + p.is + " goes"
		if example != "" {
			fix += ", as in " + example
		}
		return faultf(fix, "does not hold %s", name)
	}
	return nil
}

func parameters(n int) string {
	if n == 1 {
		return "$1 only"
	}
	return "$1 to $" + strconv.Itoa(n)
}

func containsFold(words []string, word string) bool {
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
