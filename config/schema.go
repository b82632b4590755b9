package config

import (
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// kind is how a key is written in the file.
type kind int

const (
	section kind = iota // a mapping with known keys
	list                // a sequence of elem
	text                // text of any form; parsed types such as durations included
	number              // a whole number
	boolean             // true or false
	vault               // text or a sequence of text
)

// schema is what may stand at one place of the file. It is derived from the types in this
// package, so that a new field is at once a known key with an environment variable and line numbers.
type schema struct {
	kind     kind
	name     string       // the key, such as path
	path     string       // from the top, such as rules[].path
	typ      reflect.Type // of the field
	index    []int        // of the field in Config; nil below a list
	file     bool         // names a file, resolved against the config file's folder
	secret   bool         // its value never stands in a message
	children []*schema    // of a section
	elem     *schema      // of a list
}

const envPrefix = "GATEHOUSE_"

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	rateType     = reflect.TypeFor[Rate]()
	urlType      = reflect.TypeFor[*url.URL]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	upstreamType = reflect.TypeFor[*Upstream]()
	vaultType    = reflect.TypeFor[Vault]()
	secretType   = reflect.TypeFor[Secret]()
)

// newSchema derives the schema of Config.
func newSchema() *schema { return schemaOf(reflect.TypeFor[Config](), "", "", []int{}) }

// schemaOf derives the schema of one type. index is nil below lists, where it would not lead anywhere.
func schemaOf(t reflect.Type, name, path string, index []int) *schema {
	s := &schema{name: name, path: path, typ: t, index: index, secret: t == secretType}
	switch t {
	case durationType, sizeType, rateType, urlType, prefixType, upstreamType:
		s.kind = text
		return s
	case vaultType:
		s.kind = vault
		return s
	}
	switch t.Kind() {
	case reflect.Struct:
		s.kind = section
		s.children = fieldsOf(t, path, index)
	case reflect.Slice:
		s.kind = list
		s.elem = schemaOf(t.Elem(), name, path+"[]", nil)
	case reflect.Int:
		s.kind = number
	case reflect.Bool:
		s.kind = boolean
	case reflect.Pointer:
		p := schemaOf(t.Elem(), name, path, index)
		p.typ = t
		return p
	default:
		s.kind = text
	}
	return s
}

func fieldsOf(t reflect.Type, path string, index []int) []*schema {
	var fields []*schema
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("mapstructure")
		var fieldIndex []int
		if index != nil {
			fieldIndex = append(append([]int{}, index...), i)
		}
		s := schemaOf(f.Type, name, join(path, name), fieldIndex)
		s.file = f.Tag.Get("file") == "true"
		fields = append(fields, s)
	}
	return fields
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// child finds a key of a section the way viper does, whatever its case.
func (s *schema) child(name string) *schema {
	for _, c := range s.children {
		if strings.EqualFold(c.name, name) {
			return c
		}
	}
	return nil
}

// names lists the keys of a section.
func (s *schema) names() []string {
	names := make([]string, len(s.children))
	for i, c := range s.children {
		names[i] = c.name
	}
	return names
}

// walk visits every key that holds a value, lists of sections before their elements.
func (s *schema) walk(visit func(*schema)) {
	if s.kind != section {
		visit(s)
	}
	for _, c := range s.children {
		c.walk(visit)
	}
	if s.kind == list && s.elem.kind == section {
		s.elem.walk(visit)
	}
}

// env is the key's environment variable; empty for keys that only the file can hold:
// lists of sections and what is in them.
func (s *schema) env() string {
	if s.index == nil || s.kind == section || (s.kind == list && s.elem.kind == section) {
		return ""
	}
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.path, ".", "_"))
}

// field is the key's place in c. Only for keys that are not below a list.
func (s *schema) field(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index)
}
