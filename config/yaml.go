package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mark is where something stands in the file.
type mark struct{ line, column int }

// reader checks the form of the YAML tree against the schema and turns it into the plain tree
// viper takes. It keeps the line of every key, which viper forgets.
//
// What is wrong is reported and left out, so that everything else can still be judged.
type reader struct {
	marks  map[string]mark
	report func(path string, at mark, f *fault)
	// doubt marks a key about which nothing more should be said.
	doubt func(path string)
	// guess marks a key that an unknown one probably meant.
	guess func(path string)
}

func at(n *yaml.Node) mark { return mark{n.Line, n.Column} }

// wrong reports a fault of the value at path. Its line is the key's when the value begins below it.
func (r *reader) wrong(path string, n *yaml.Node, f *fault) {
	where, ok := r.marks[path]
	if !ok {
		where = at(n)
	}
	r.report(path, where, f)
}

// plain rejects what makes a value stand elsewhere than where it is read. Expanding aliases
// can also make a few lines into billions.
func (r *reader) plain(n *yaml.Node, path string) bool {
	if n.Kind == yaml.AliasNode {
		r.wrong(path, n, faultf("write the value itself", "is an alias (*), which is not supported here"))
		return false
	}
	if n.Kind == yaml.ScalarNode && !strings.HasPrefix(n.ShortTag(), "!!") || n.ShortTag() == "!!binary" {
		r.wrong(path, n, faultf("write the plain value", "has the YAML tag %s, which is not supported here", n.ShortTag()))
		return false
	}
	return true
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// section reads a mapping. Nothing (nil) is as good as an empty one.
func (r *reader) section(n *yaml.Node, s *schema, path string) map[string]any {
	out := map[string]any{}
	if !r.plain(n, path) || null(n) {
		return out
	}
	if n.Kind != yaml.MappingNode {
		r.wrong(path, n, faultf("write its keys indented below: "+strings.Join(s.names(), ", "),
			"is %s, keys with values are needed", form(n)))
		return out
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		c, ok := r.key(key, s, path, seen)
		if !ok {
			continue
		}
		childPath := join(path, c.name)
		r.marks[childPath] = at(value)
		if null(value) || value.Kind == yaml.MappingNode || value.Kind == yaml.SequenceNode {
			r.marks[childPath] = at(key) // the value begins on a later line, or nowhere
		}
		if v, ok := r.value(value, c, childPath); ok {
			out[c.name] = v
		}
	}
	return out
}

// key finds a key's schema; unknown and repeated keys are reported.
func (r *reader) key(key *yaml.Node, s *schema, path string, seen map[string]int) (*schema, bool) {
	if key.Kind != yaml.ScalarNode {
		r.report(path, at(key), faultf("write key: value", "has %s as a key", form(key)))
		return nil, false
	}
	if key.ShortTag() == "!!merge" {
		r.report(join(path, "<<"), at(key), faultf("write the keys out", "YAML merge keys are not supported here"))
		return nil, false
	}
	c := s.child(key.Value)
	if c == nil {
		r.report(join(path, shorten(key.Value)), at(key), r.unknown(key.Value, s, path))
		return nil, false
	}
	folded := strings.ToLower(c.name)
	if first, ok := seen[folded]; ok {
		r.report(join(path, c.name), at(key), faultf("delete one of them", "stands twice, first in line %d", first))
		return nil, false
	}
	seen[folded] = key.Line
	return c, true
}

// unknown says which key was probably meant: a similar one here, or one of this name elsewhere.
func (r *reader) unknown(name string, s *schema, path string) *fault {
	name = shorten(name)
	if c := nearest(name, s.names()); c != "" {
		r.guess(join(path, c))
		return faultf(fmt.Sprintf("did you mean %q?", c), "is not a known key")
	}
	if strings.Contains(name, ".") {
		return faultf("write one key per level, each indented below the one before", "is not a known key, dots do not lead into sections")
	}
	var elsewhere []string
	newSchema().walk(func(k *schema) {
		if strings.EqualFold(k.name, name) && k.path != path {
			elsewhere = append(elsewhere, k.path)
		}
	})
	if len(elsewhere) > 0 {
		return faultf("it belongs to "+orList(elsewhere), "is not a known key here")
	}
	return faultf("known are "+strings.Join(s.names(), ", "), "is not a known key")
}

// value reads what stands at one key, or in one element of a list. Nothing at all leaves the default.
func (r *reader) value(n *yaml.Node, s *schema, path string) (any, bool) {
	if s.kind == section {
		return r.section(n, s, path), true
	}
	if !r.plain(n, path) {
		return nil, false
	}
	if null(n) {
		// With a default that is not empty, "headers:" could mean none or the default.
		if s.kind == list && s.index != nil && s.field(Default()).Len() > 0 {
			r.wrong(path, n, faultf("write [] for none, or delete the line for the default", "has no value"))
		}
		return nil, false
	}
	switch s.kind {
	case list:
		return r.list(n, s.elem, path)
	case vault:
		if n.Kind == yaml.SequenceNode {
			return r.list(n, &schema{kind: text, path: s.path + "[]"}, path)
		}
	}
	v, f := r.scalar(n, s)
	if f != nil {
		r.wrong(path, n, f)
		return nil, false
	}
	return v, true
}

// list reads a sequence. An element that is wrong leaves an empty one behind, so that the others
// keep their places.
func (r *reader) list(n *yaml.Node, elem *schema, path string) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		fix := "write each entry on its own line, after a dash"
		if n.Kind == yaml.ScalarNode && elem.kind != section && !strings.ContainsAny(n.Value, "@[]") {
			fix = "write [" + shorten(n.Value) + "]"
		}
		r.wrong(path, n, faultf(fix, "is %s, a list is needed", form(n)))
		return nil, false
	}
	out := []any{}
	for i, item := range n.Content {
		itemPath := fmt.Sprintf("%s[%d]", path, i)
		r.marks[itemPath] = at(item)
		if null(item) {
			r.wrong(itemPath, item, faultf("fill it in or delete it", "is an empty entry"))
		}
		v, ok := r.value(item, elem, itemPath)
		if !ok {
			r.doubt(itemPath)
			v = map[kind]any{text: "", number: 0, boolean: false}[elem.kind]
		}
		out = append(out, v)
	}
	return out, true
}

// scalar reads one plain value. Text keys take numbers as they are written (a password 0123 is
// not 83); numbers and booleans must be such.
func (r *reader) scalar(n *yaml.Node, s *schema) (any, *fault) {
	if n.Kind != yaml.ScalarNode {
		return nil, faultf("write one value", "is %s, one value is needed", form(n))
	}
	quoted := fmt.Sprintf("%q", shorten(n.Value))
	if s.secret {
		quoted = "the value"
	}
	tag := n.ShortTag()
	switch s.kind {
	case number:
		var i int
		if tag == "!!int" && n.Decode(&i) == nil {
			return i, nil
		}
		if tag == "!!str" && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			return nil, faultf("write it without quotes", "%s is text, a number is needed", quoted)
		}
		return nil, faultf("write a number such as "+exampleNumber(s), "%s is not a whole number", quoted)
	case boolean:
		var b bool
		if tag == "!!bool" && n.Decode(&b) == nil {
			return b, nil
		}
		return nil, faultf("write true or false", "%s is neither true nor false", quoted)
	}
	if tag == "!!bool" {
		return nil, faultf("write text; in quotes if the word itself is meant", "is true or false, text is needed")
	}
	return n.Value, nil
}

func exampleNumber(s *schema) string {
	if s.index != nil && s.field(Default()).CanInt() {
		return fmt.Sprint(s.field(Default()).Int())
	}
	return "200"
}

// form names what kind of thing stands in the file.
func form(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "text"
}

// shorten keeps a message readable whatever stands in the file.
func shorten(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(clean); len(runes) > 60 {
		return string(runes[:60]) + "..."
	}
	return clean
}
