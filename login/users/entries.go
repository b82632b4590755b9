package users

import (
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"

	"gatehouse/login/password"
)

type parser struct {
	set      *Set
	ids      map[string]int // ID → line
	seed     hash.Hash
	problems []Problem
}

func (p *parser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

// document reads the top level: users, and next_id, which `users remove` writes.
func (p *parser) document(doc *yaml.Node) {
	root := doc
	if doc.Kind == yaml.DocumentNode {
		root = doc.Content[0]
	}
	if isNull(root) {
		return
	}
	fields := p.mapping(root, "the file", "users", "next_id")
	if n := fields["next_id"]; n != nil {
		next, ok := numericID(n.Value)
		if !ok || n.ShortTag() != "!!int" {
			p.problem(n.Line, "next_id must be a whole number below 2^53")
		}
		p.set.nextID = next
	}
	list := fields["users"]
	if list == nil || isNull(list) {
		return
	}
	if list.Kind != yaml.SequenceNode {
		p.problem(list.Line, "users must be a list; each user begins with - id:")
		return
	}
	for _, entry := range list.Content {
		p.user(entry)
	}
}

// userKeys are the keys of an entry in the order they are written.
var userKeys = []string{"id", "email", "name", "role", "email_verified", "disabled", "password_hash"}

func (p *parser) user(entry *yaml.Node) {
	fields := p.mapping(entry, "a user", userKeys...)
	if fields == nil {
		return
	}
	u := User{
		ID:            p.id(entry, fields["id"]),
		Email:         p.email(entry, fields["email"]),
		Name:          p.text("name", fields["name"]),
		Role:          p.text("role", fields["role"]),
		EmailVerified: p.boolean("email_verified", fields["email_verified"]),
		Disabled:      p.boolean("disabled", fields["disabled"]),
		Hash:          p.hash(entry, fields["password_hash"]),
		Line:          entry.Line,
	}
	account := Fold(u.Email)
	if i, twice := p.set.byAccount[account]; twice && account != "" {
		p.problem(fields["email"].Line, "email %q is the same account as in line %d; spelling does not make it another", u.Email, p.set.users[i].Line)
	}
	if line, twice := p.ids[u.ID]; twice && u.ID != "" {
		p.problem(fields["id"].Line, "id %s is also in line %d; the application would take the two for one", u.ID, line)
	}
	p.ids[u.ID] = entry.Line
	p.set.byAccount[account] = len(p.set.users)
	p.set.byID[u.ID] = len(p.set.users)
	p.set.users = append(p.set.users, u)
}

// mapping gives the values by key; nil when n is no mapping.
func (p *parser) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		p.problem(n.Line, "%s must be made of keys and values; known keys: %s", what, strings.Join(known, ", "))
		return nil
	}
	fields := make(map[string]*yaml.Node, len(known))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, key.Value):
			p.problem(key.Line, "unknown key %q%s; known keys: %s", key.Value, nearest(key.Value, known), strings.Join(known, ", "))
		case fields[key.Value] != nil:
			p.problem(key.Line, "%s is given twice", key.Value)
		default:
			fields[key.Value] = value
		}
	}
	return fields
}

// nearest suggests the known word that was probably meant.
func nearest(word string, known []string) string {
	for _, k := range known {
		if levenshtein.ComputeDistance(strings.ToLower(word), k) <= 2 {
			return fmt.Sprintf(" (did you mean %s?)", k)
		}
	}
	return ""
}

func (p *parser) id(entry, n *yaml.Node) string {
	if n == nil || isNull(n) {
		p.problem(entry.Line, "id is missing; it is what the application gets as X-User-Id")
		return ""
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		// 007, 0x1F and 1_000 are numbers to YAML, and not to the application as they are written.
		if v, err := strconv.ParseInt(n.Value, 10, 64); err != nil || strconv.FormatInt(v, 10) != n.Value {
			p.problem(n.Line, "id %s can be read in two ways; write it in quotes", n.Value)
		}
		return n.Value
	}
	id := p.text("id", n)
	if strings.TrimSpace(id) != id || id == "" && n.ShortTag() == "!!str" {
		p.problem(n.Line, "id must not be empty nor begin or end with a space")
	}
	return id
}

func (p *parser) email(entry, n *yaml.Node) string {
	if n == nil || isNull(n) {
		p.problem(entry.Line, "email is missing; it is what people log in with")
		return ""
	}
	email := p.text("email", n)
	if local, host, ok := strings.Cut(email, "@"); !ok || local == "" || host == "" || strings.ContainsFunc(email, unicode.IsSpace) {
		p.problem(n.Line, "email %q is none; write name@example.com", email)
	}
	return email
}

func (p *parser) hash(entry, n *yaml.Node) password.Hash {
	if n == nil || isNull(n) {
		p.problem(entry.Line, "password_hash is missing; set a password with: gatehouse users passwd")
		return password.Hash{}
	}
	p.seed.Write([]byte(n.Value))
	h, err := password.Parse(n.Value)
	if err != nil {
		p.problem(n.Line, "password_hash: %v", err)
	}
	return h
}

func (p *parser) text(key string, n *yaml.Node) string {
	switch {
	case n == nil || isNull(n):
		return ""
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		p.problem(n.Line, "%s must be a text; write it in quotes", key)
		return ""
	}
	if err := checkText(n.Value); err != nil {
		p.problem(n.Line, "%s %v", key, err)
	}
	return n.Value
}

// checkText keeps out what cannot stand in a record or a header.
func checkText(s string) error {
	switch {
	case len(s) > maxText:
		return fmt.Errorf("is longer than %d bytes", maxText)
	case !utf8.ValidString(s):
		return fmt.Errorf("is no valid UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("holds a control character")
	}
	return nil
}

func (p *parser) boolean(key string, n *yaml.Node) bool {
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		p.problem(n.Line, "%s must be true or false", key)
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
