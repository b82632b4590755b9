package users

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// The errors of [Editor].
var (
	// ErrExists: the email or the ID is taken.
	ErrExists = errors.New("there is such a user already")
	// ErrUnknown: no user logs in with that email.
	ErrUnknown = errors.New("there is no such user")
	// ErrChanged: somebody else wrote the file meanwhile.
	ErrChanged = errors.New("the file was changed by somebody else meanwhile; nothing was written, run the command again")
)

// Entry is a user to be added.
type Entry struct {
	// ID; when empty the next free whole number is taken.
	ID            string
	Email         string
	Name          string
	Role          string
	EmailVerified bool
	// PasswordHash as package password makes it.
	PasswordHash string
}

// Editor changes a user file and leaves comments and order in it as they are. It works on one
// version of the file: open, change, save. It is not safe for concurrent use.
type Editor struct {
	path   string // symbolic links resolved
	before []byte // as read; nil when there is no file yet
	info   os.FileInfo
	doc    *yaml.Node
	set    *Set
}

// Edit opens a user file; a missing one is made by Save. Errors: *InvalidError, *fs.PathError.
func Edit(path string) (*Editor, error) {
	e := &Editor{path: path}
	// Renaming over a symbolic link would leave the file it points to, which is the real one, unchanged.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		e.path = target
	}
	info, data, err := readFile(e.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		e.info, e.before = info, data
	}
	if e.doc, e.set, err = parse(data); err != nil {
		return nil, withPath(err, path)
	}
	return e, nil
}

// Users is the file with the changes so far.
func (e *Editor) Users() *Set { return e.set }

// Add appends a user. Errors: ErrExists, or what is wrong with the entry.
func (e *Editor) Add(entry Entry) (User, error) {
	if other, ok := e.set.Find(entry.Email); ok {
		return User{}, fmt.Errorf("%w: %s with id %s", ErrExists, other.Email, other.ID)
	}
	if entry.ID == "" {
		entry.ID = e.set.NextID()
	}
	if i := slices.IndexFunc(e.set.users, func(u User) bool { return u.ID == entry.ID }); i >= 0 {
		return User{}, fmt.Errorf("%w: id %s belongs to %s", ErrExists, entry.ID, e.set.users[i].Email)
	}
	list := e.list()
	list.Style &^= yaml.FlowStyle // `users: []` becomes a list of lines
	list.Content = append(list.Content, entry.node())
	if err := e.reparse(); err != nil {
		return User{}, aboutEntry(err)
	}
	return e.set.users[len(e.set.users)-1], nil
}

// aboutEntry leaves out the lines: they are of a text nobody has seen.
func aboutEntry(err error) error {
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	var all []error
	for _, p := range invalid.Problems {
		all = append(all, errors.New(p.Message))
	}
	return errors.Join(all...)
}

// SetPassword gives the user who logs in with account another hash. Errors: ErrUnknown, *InvalidError.
func (e *Editor) SetPassword(account, hash string) (User, error) {
	i, ok := e.set.byAccount[Fold(account)]
	if !ok {
		return User{}, fmt.Errorf("%w: %s", ErrUnknown, account)
	}
	fields := e.list().Content[i].Content
	for k := 0; k+1 < len(fields); k += 2 {
		if fields[k].Value == "password_hash" {
			fields[k+1].SetString(hash)
		}
	}
	if err := e.reparse(); err != nil {
		return User{}, err
	}
	return e.set.users[i], nil
}

// Remove takes the user who logs in with account out. The ID is not given again (see [Set.NextID]).
// Error: ErrUnknown.
func (e *Editor) Remove(account string) (User, error) {
	i, ok := e.set.byAccount[Fold(account)]
	if !ok {
		return User{}, fmt.Errorf("%w: %s", ErrUnknown, account)
	}
	removed, next := e.set.users[i], e.set.NextID()
	list := e.list()
	list.Content = slices.Delete(list.Content, i, i+1)
	if err := e.reparse(); err != nil {
		return User{}, err
	}
	if e.set.NextID() != next {
		e.setNextID(next)
		if err := e.reparse(); err != nil {
			return User{}, err
		}
	}
	return removed, nil
}

func (e *Editor) setNextID(next string) {
	root := e.root()
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: next}
	for k := 0; k+1 < len(root.Content); k += 2 {
		if root.Content[k].Value == "next_id" {
			root.Content[k+1] = value
			return
		}
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "next_id",
		HeadComment: "IDs below this one are or were in use, and are not given to new users."}
	root.Content = append(root.Content, key, value)
}

// root is the mapping at the top, made when it is not there.
func (e *Editor) root() *yaml.Node {
	if e.doc == nil {
		// A file without users may hold comments, of which the YAML parser keeps nothing.
		comments := string(bytes.TrimSpace(e.before))
		e.doc = &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}, HeadComment: comments}
	}
	if root := e.doc.Content[0]; isNull(root) {
		*root = yaml.Node{Kind: yaml.MappingNode, HeadComment: root.HeadComment, FootComment: root.FootComment}
	}
	return e.doc.Content[0]
}

// list is the list of users, made when it is not there.
func (e *Editor) list() *yaml.Node {
	root := e.root()
	for k := 0; k+1 < len(root.Content); k += 2 {
		if root.Content[k].Value != "users" {
			continue
		}
		if isNull(root.Content[k+1]) {
			root.Content[k+1] = &yaml.Node{Kind: yaml.SequenceNode}
		}
		return root.Content[k+1]
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "users"}, list)
	return list
}

// node is the entry as YAML; empty attributes are left out.
func (entry Entry) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key, tag, value string) {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key},
			&yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value})
	}
	idTag := "!!str"
	if _, ok := numericID(entry.ID); ok {
		idTag = "!!int"
	}
	add("id", idTag, entry.ID)
	add("email", "!!str", entry.Email)
	if entry.Name != "" {
		add("name", "!!str", entry.Name)
	}
	if entry.Role != "" {
		add("role", "!!str", entry.Role)
	}
	add("email_verified", "!!bool", strconv.FormatBool(entry.EmailVerified))
	add("password_hash", "!!str", entry.PasswordHash)
	return n
}

// encode gives the file's new text.
func (e *Editor) encode() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(e.doc); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

// reparse reads the changed document as the gateway will read it.
func (e *Editor) reparse() error {
	text, err := e.encode()
	if err != nil {
		return err
	}
	doc, set, err := parse(text)
	if err != nil {
		return err
	}
	e.doc, e.set = doc, set
	return nil
}
