package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseYAML gives the root node of the file's one document, nil when there is nothing in it.
func parseYAML(data []byte) (*yaml.Node, mark, *fault) {
	if i := invalidUTF8(data); i >= 0 {
		return nil, mark{1 + bytes.Count(data[:i], []byte("\n")), 0}, faultf("save the file as UTF-8", "holds bytes that are not UTF-8")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, mark{}, nil
	} else if err != nil {
		where, f := syntaxFault(data, err)
		return nil, where, f
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return nil, mark{second.Line, second.Column}, faultf("keep one document and delete the --- before the other", "is a second YAML document")
	} else if !errors.Is(err, io.EOF) {
		where, f := syntaxFault(data, err)
		return nil, where, f
	}
	if len(doc.Content) == 0 || null(doc.Content[0]) {
		return nil, mark{}, nil
	}
	return doc.Content[0], mark{}, nil
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

var (
	lineOfError = regexp.MustCompile(`^line ([0-9]{1,9}): `)
	tabIndent   = regexp.MustCompile(`^ *\t`)
	unknownName = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntaxFault turns the parser's error into one that helps. The parser often names the line
// where the enclosing block began; here it is the first line that cannot be read.
func syntaxFault(data []byte, err error) (mark, *fault) {
	lines := strings.SplitAfter(string(data), "\n")
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := lineOfError.FindStringSubmatch(what); m != nil {
		line, _ = strconv.Atoi(m[1]) // only digits are matched
		what = strings.TrimPrefix(what, m[0])
	}
	line = min(line, len(lines))
	if len(data) <= exactUpTo {
		line = firstBroken(lines)
	}
	if m := unknownName.FindStringSubmatch(what); m != nil {
		// The name is not repeated: it may be a password that begins with an asterisk.
		return mark{line, 0}, faultf("put the value in quotes", "a value begins with *, which YAML reads as an alias")
	}
	for i := max(0, line-2); i < min(len(lines), line+1); i++ {
		if tabIndent.MatchString(lines[i]) {
			return mark{i + 1, 0}, faultf("use spaces", "is indented with a tab, which YAML does not allow")
		}
	}
	if strings.Contains(what, "cannot start any token") {
		return mark{line, 0}, faultf("put the value in quotes", "a value begins with a character that means something to YAML (@, `, %% or a tab)")
	}
	return mark{line, 0}, faultf("check indentation, colons, quotes and brackets in this line and above", "is not YAML: %s", what)
}

// exactUpTo is the size of a file, in bytes, up to which the broken line is searched for: each
// try parses the beginning of the file again.
const exactUpTo = 32 << 10

// firstBroken is the number of the line after the longest beginning of the file that can be read.
func firstBroken(lines []string) int {
	for n := len(lines) - 1; n > 0; n-- {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(strings.Join(lines[:n], "")), &doc) == nil {
			return n + 1
		}
	}
	return 1
}
