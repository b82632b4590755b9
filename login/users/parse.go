package users

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxText bounds each text of an entry, in bytes: all of them go into the session's record, which
// holds 4 KiB, and into headers.
const maxText = 256

// Problem is one thing that is wrong in the file.
type Problem struct {
	Line    int
	Message string
}

// InvalidError says everything that is wrong with a file.
type InvalidError struct {
	// Path of the file; empty from [Parse].
	Path     string
	Problems []Problem
}

// Error lists the problems, one per line.
func (e *InvalidError) Error() string {
	path := cmp.Or(e.Path, "users")
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d: %s", path, p.Line, p.Message)
	}
	return strings.Join(lines, "\n")
}

// Parse reads a user file. An empty one has no users. Errors: *InvalidError.
func Parse(data []byte) (*Set, error) {
	_, set, err := parse(data)
	return set, err
}

// parse also gives the document, nil when the file is empty.
func parse(data []byte) (*yaml.Node, *Set, error) {
	p := &parser{set: &Set{byAccount: map[string]int{}, byID: map[string]int{}}, ids: map[string]int{}, seed: sha256.New()}
	doc, err := decode(data)
	switch {
	case err != nil:
		p.problem(syntaxLine(data), "%s", syntaxMessage(err))
	case doc != nil:
		p.document(doc)
	}
	if len(p.problems) > 0 {
		slices.SortStableFunc(p.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return nil, nil, &InvalidError{Problems: p.problems}
	}
	p.seed.Sum(p.set.decoyKey[:0])
	return doc, p.set, nil
}

// decode reads the one document of a file.
func decode(data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc := new(yaml.Node)
	if err := dec.Decode(doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds several documents; remove the lines ---")
	}
	return doc, nil
}

var syntaxForm = regexp.MustCompile(`(?s)^yaml: (?:line \d+: )?(.*)$`)

// maxSearched is the size of file up to which a syntax error is searched for its line, in bytes: the
// search reads the file once per line.
const maxSearched = 64 << 10

// syntaxLine is where the YAML breaks: the line after the longest beginning that is YAML. The parser
// itself tells the line where the broken block began, or the one before.
func syntaxLine(data []byte) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(data) > maxSearched {
		return 1
	}
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := decode(bytes.Join(lines[:n], nil)); err == nil {
			return n + 1
		}
	}
	return 1
}

func syntaxMessage(err error) string {
	if m := syntaxForm.FindStringSubmatch(err.Error()); m != nil {
		return "this is no YAML: " + m[1]
	}
	return err.Error()
}
