package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The values of Problem.Source.
const (
	SourceFile = "file"
	SourceEnv  = "env"
	SourceFlag = "flag"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	// Path is the key, as in the file: rules[2].path. Empty when the whole file is meant.
	Path string
	// Source is where the value comes from: [SourceFile], [SourceEnv] or [SourceFlag].
	Source string
	// File is the config file as it was named to [Load]; empty when there is none or the value is not from it.
	File string
	// Line and Column in File, counted from 1; 0 when nothing stands there, as with a missing key.
	Line, Column int
	// Name is the environment variable or the flag the value comes from; empty for the file.
	Name string
	// What is wrong.
	What string
	// Fix says what would be right.
	Fix string
}

// String gives one line: where, which key, what is wrong; what would be right.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.Name != "":
		b.WriteString(p.Name + ": ")
	case p.File != "" && p.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		b.WriteString(p.File + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.What)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// Errors is every problem of one [Load], in the order of the file, then environment and flags.
type Errors struct {
	Problems []Problem
	// Partial is what could be read, with the defaults in place of what is wrong; nil when nothing
	// could. It is for looking further (`gatehouse check`), never for serving.
	Partial *Config
}

// About reports whether a problem concerns the section (redis, login.file) or a key in it.
func (e *Errors) About(section string) bool {
	return slices.ContainsFunc(e.Problems, func(p Problem) bool { return related(section, p.Path) })
}

// Error gives each problem on its own line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// errorsOf gives the error of the problems; nil when there are none.
func errorsOf(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Errors{Problems: sorted(problems)}
}

// sorted puts the problems into the order in which they are told.
func sorted(problems []Problem) []Problem {
	rank := func(p Problem) int {
		switch {
		case p.Name != "":
			return 2
		case p.Line == 0 && p.Path != "":
			return 1 // a missing key: after what stands in the file
		}
		return 0
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column))
	})
	return problems
}

// fault is what is wrong with one value, before it is known where the value stands.
type fault struct {
	what, fix string
}

// Error lets a fault travel through mapstructure.
func (f *fault) Error() string { return f.what + "; " + f.fix }

func faultf(fix, what string, args ...any) *fault {
	return &fault{what: fmt.Sprintf(what, args...), fix: fix}
}

// related reports whether one of the two keys contains the other: a problem of one then
// makes a second message about the other noise ("upstream is missing" after "upstream is no URL").
func related(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// parent cuts the last step of a key: rules[2].path, rules[2], rules, "".
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}
