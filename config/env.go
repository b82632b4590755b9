package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// setting is a value from outside the file.
type setting struct {
	path, name, source string
	value              any
}

// envSettings reads the GATEHOUSE_* variables. An empty one counts as not set, as Compose files
// produce them for variables that are not there.
func envSettings(env []string, root *schema, report func(setting, *fault)) []setting {
	known := map[string]*schema{}
	var names []string
	root.walk(func(s *schema) {
		if name := s.env(); name != "" {
			known[name] = s
			names = append(names, name)
		}
	})
	values := map[string]string{}
	for _, entry := range env {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, envPrefix) {
			values[name] = value
		}
	}
	var out []setting
	for _, name := range sortedKeys(values) {
		value, s := values[name], known[name]
		if s == nil {
			if !serviceLink(name, value) {
				report(setting{name: name, source: SourceEnv}, unknownEnv(name, names, root))
			}
			continue
		}
		if value == "" {
			continue
		}
		set := setting{path: s.path, name: name, source: SourceEnv}
		v, f := textValue(value, s)
		if f != nil {
			report(set, f)
			continue
		}
		set.value = v
		out = append(out, set)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var (
	serviceName = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$`)
	servicePort = regexp.MustCompile(`_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)
)

// serviceLink recognises the variables Kubernetes and Docker put into every container for a
// service named gatehouse or gatehouse-something. They are nobody's typing error.
func serviceLink(name, value string) bool {
	m := servicePort.FindStringSubmatch(name)
	return serviceName.MatchString(name) || m != nil && (m[1] != "" || strings.Contains(value, "://"))
}

func unknownEnv(name string, known []string, root *schema) *fault {
	path := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "_", "."))
	for _, c := range root.children {
		if c.env() == "" && c.kind == list && (path == c.path || strings.HasPrefix(path, c.path+".")) {
			return faultf("write them into the config file", "%s cannot be set by environment", c.path)
		}
	}
	if n := nearest(name, known); n != "" {
		return faultf("did you mean "+n+"?", "is not a known variable")
	}
	return faultf("delete it; variables are named after the keys, such as GATEHOUSE_REDIS_PASSWORD for redis.password", "is not a known variable")
}

// textValue turns the text of a variable or flag into what would stand in the file.
// Lists are separated by commas.
func textValue(value string, s *schema) (any, *fault) {
	switch s.kind {
	case number:
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return nil, faultf("write a number such as "+exampleNumber(s), "%q is not a whole number", shorten(value))
		}
		return n, nil
	case boolean:
		b, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return nil, faultf("write true or false", "%q is neither true nor false", shorten(value))
		}
		return b, nil
	case vault:
		if word := strings.TrimSpace(value); word == vaultHTTPOnly || word == vaultNone {
			return word, nil
		}
		return textList(value, &schema{kind: text})
	case list:
		return textList(value, s.elem)
	}
	return value, nil
}

func textList(value string, elem *schema) (any, *fault) {
	var out []any
	for item := range strings.SplitSeq(value, ",") {
		v, f := textValue(strings.TrimSpace(item), elem)
		if f != nil {
			return nil, f
		}
		out = append(out, v)
	}
	return out, nil
}

// flagSettings takes the command line's overrides. Text is read as in the environment.
func flagSettings(overrides map[string]any, root *schema, report func(setting, *fault)) []setting {
	known := map[string]*schema{}
	root.walk(func(s *schema) {
		if s.index != nil {
			known[strings.ToLower(s.path)] = s
		}
	})
	var out []setting
	for _, key := range sortedKeys(overrides) {
		set := setting{path: key, name: "--" + key, source: SourceFlag, value: overrides[key]}
		s := known[strings.ToLower(key)]
		if s == nil {
			report(set, faultf("name a key of the config file, such as redis.password", "is not a known key"))
			continue
		}
		set.path = s.path
		value, f := flagValue(overrides[key], s)
		if f != nil {
			report(set, f)
			continue
		}
		if set.value = value; value != nil {
			out = append(out, set)
		}
	}
	return out
}

// flagValue brings an override into the form the file has: text, numbers, booleans and lists of them.
func flagValue(value any, s *schema) (any, *fault) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return textValue(v, s)
	case fmt.Stringer:
		return textValue(v.String(), s)
	case int:
		if s.kind == number {
			return v, nil
		}
	case bool:
		if s.kind == boolean {
			return v, nil
		}
	case []string:
		return textValue(strings.Join(v, ","), s)
	}
	return nil, faultf("give it as text, in the form of the config file", "has a value of the type %T", value)
}
