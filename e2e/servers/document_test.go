//go:build apps

package servers

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// documentName is the document; what stands above documentMark in it is written by hand, the rest by this test.
const (
	documentName = "real-servers.md"
	documentMark = "<!-- make real-servers writes from here -->\n"
)

// checkDocument compares the document with what was seen, or writes it. Servers, headers and paths must be all there, and for a
// server of the very version that the document speaks of every cell. Debian's versions change without us: what other
// versions do differently is logged, and no failure.
func checkDocument(t *testing.T, found []*findings) {
	file := filepath.Join(cmp.Or(*docs, filepath.Join("..", "..", "docs")), documentName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	byHand, written, ok := strings.Cut(string(text), documentMark)
	if !ok {
		t.Fatalf("%s has no line %q", file, documentMark)
	}
	tables := render(found)
	if *docs != "" {
		if err := os.WriteFile(file, []byte(byHand+documentMark+"\n"+tables), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, problem := range compare(t, rows(written), rows(tables), found) {
		t.Errorf("docs/%s: %s: `make real-servers` writes it again", documentName, problem)
	}
}

// compare gives what the document lacks or says wrongly.
func compare(t *testing.T, is, want map[string][]string, found []*findings) (problems []string) {
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if want[key] == nil {
			problems = append(problems, key+" is tried no more")
		}
	}
	same := make([]bool, len(found)) // versions
	for i, f := range found {
		if cells := is[serverKey(i, f)]; len(cells) > 1 { // how it serves, version, counts
			same[i] = cells[1] == f.app.version
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		cells := is[key]
		if len(cells) != len(want[key]) {
			problems = append(problems, key+" is missing")
			continue
		}
		if len(cells) != len(found) {
			if cells[0] != want[key][0] { // a server
				problems = append(problems, key+" serves in another way")
			}
			continue
		}
		for i, f := range found {
			switch what := fmt.Sprintf("%s %s, %s: %q, not %q", f.app.name, f.app.version, key, want[key][i], cells[i]); {
			case cells[i] == want[key][i]:
			case same[i]:
				problems = append(problems, what)
			default:
				t.Log("another version than in the document: " + what)
			}
		}
	}
	return problems
}

// rows reads the rows of all tables: first cell to the others.
func rows(text string) map[string][]string {
	all := make(map[string][]string)
	for line := range strings.SplitSeq(text, "\n") {
		line, ok := strings.CutPrefix(line, "| ")
		if !ok || strings.HasPrefix(line, "---") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(line, " |"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all[cells[0]] = cells[1:]
	}
	return all
}

// serverKey is the first cell of a server in the first table.
func serverKey(i int, f *findings) string { return fmt.Sprintf("%d %s", i+1, f.app.name) }

func render(found []*findings) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## The servers\n\nOf %d spellings and of %d random paths so many lead past a server that has no gateway before it to something protected, and so many of %d\nheaders are X-User-Id to its application. With the gateway before it: none.\n\n",
		len(spellings), *hostiles, len(headerForms))
	b.WriteString("| server | how it serves | version | spellings | random paths | headers |\n| --- | --- | --- | --- | --- | --- |\n")
	for i, f := range found {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d |\n", serverKey(i, f), f.app.how, f.app.version, count(f.paths), f.random, count(f.headers))
	}
	table := func(first string, labels []string, read func(f *findings, row int) bool) {
		fmt.Fprintf(&b, "\n| %s |", first)
		for i := range found {
			fmt.Fprintf(&b, " %d |", i+1)
		}
		b.WriteString("\n|" + strings.Repeat(" --- |", len(found)+1) + "\n")
		for row, label := range labels {
			fmt.Fprintf(&b, "| %s |", label)
			for _, f := range found {
				b.WriteString(map[bool]string{true: " ● |", false: "   |"}[read(f, row)])
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n## Headers\n\nWhere the application reads what a client sends as `n`, past the gateway, for its `X-User-Id` (case H02).\n")
	var labels []string
	for _, form := range headerForms {
		labels = append(labels, code(form.lines))
	}
	table("header", labels, func(f *findings, row int) bool { return f.headers[headerForms[row]] })
	b.WriteString("\n## Paths\n\nWhere a path leads, past the gateway, to something protected. The number is that of the case.\n")
	labels = nil
	for _, sp := range spellings {
		labels = append(labels, sp.number+" "+code(sp.path))
	}
	table("path", labels, func(f *findings, row int) bool { return f.paths[spellings[row]] })
	return b.String()
}

func count[K comparable](seen map[K]bool) (n int) {
	for _, yes := range seen {
		if yes {
			n++
		}
	}
	return n
}

// code is text as a code span of Markdown that fits into a table. What cannot be seen is written as in Go.
func code(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case c == '|':
			b.WriteString(`\|`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	if strings.Contains(text, "`") {
		return "`` " + b.String() + " ``"
	}
	return "`" + b.String() + "`"
}
