package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds the config file and the files of secrets, in bytes: a device or a wrong file
// named by mistake must not fill the memory.
const maxFile = 1 << 20

// Options say where [Load] reads.
type Options struct {
	// File is the YAML file. Empty: no file, everything comes from Env and Overrides.
	File string
	// Env is the environment in the form of [os.Environ]; nil means the process's own. Each key has
	// a variable: GATEHOUSE_ and its path in upper case, with underscores for dots, such as
	// GATEHOUSE_REDIS_PASSWORD. Lists are separated by commas. A variable that is empty counts as not set.
	Env []string
	// Overrides come from flags and win over everything: key path (listen, redis.db) to value.
	Overrides map[string]any
}

// Load reads, completes and validates the settings. Flags win over the environment, the
// environment over the file, the file over the defaults.
//
// Files named in the config file start at its folder, those from environment and flags at the
// working directory. Every error is an [*Errors] with all problems at once; a Config is returned
// only without any.
func Load(opts Options) (*Config, error) {
	l := &loader{opts: opts, root: newSchema(), cfg: Default(), marks: map[string]mark{}, origin: map[string]setting{}}
	if opts.Env == nil {
		l.opts.Env = os.Environ()
	}
	tree, ok := l.readFile()
	if !ok {
		return nil, errorsOf(l.problems)
	}
	l.decode(tree, l.settings())
	l.resolveFiles()
	l.readSecrets()
	l.cfg.complete()
	for _, p := range l.cfg.check() {
		if !l.doubted(p.Path) {
			l.report(p.Path, p.fault)
		}
	}
	if len(l.problems) > 0 {
		return nil, &Errors{Problems: sorted(l.problems), Partial: l.cfg}
	}
	return l.cfg, nil
}

// loader is one run of Load.
type loader struct {
	opts     Options
	root     *schema
	cfg      *Config
	marks    map[string]mark    // where each key stands in the file
	origin   map[string]setting // which keys come from elsewhere
	problems []Problem
	doubts   []string // keys that already have a problem
	guesses  []string // keys that were probably meant by an unknown one
}

// report adds a problem and finds out where its key was set: by environment or flag, else at the
// nearest line of the file that holds the key or its section.
func (l *loader) report(path string, f *fault) {
	p := Problem{Path: path, Source: SourceFile, File: l.opts.File, What: f.what, Fix: f.fix}
	for at := path; at != ""; at = parent(at) {
		if s, ok := l.origin[at]; ok {
			p.File, p.Source, p.Name = "", s.source, s.name
			break
		}
		if m, ok := l.marks[at]; ok {
			p.Line, p.Column = m.line, m.column
			break
		}
	}
	l.add(p)
}

func (l *loader) add(p Problem) {
	l.problems = append(l.problems, p)
	l.doubts = append(l.doubts, p.Path)
}

func (l *loader) doubted(path string) bool {
	for _, g := range l.guesses {
		// That it is missing goes without saying; when it is there too, what is wrong with it does not.
		if _, there := l.marks[g]; !there && related(g, path) {
			return true
		}
	}
	for _, d := range l.doubts {
		if d != "" && related(d, path) {
			return true
		}
	}
	return false
}

// readFile gives the file's tree, without what is wrong in it; false when there is nothing to go on with.
func (l *loader) readFile() (map[string]any, bool) {
	if l.opts.File == "" {
		return nil, true
	}
	data, f := readLimited(l.opts.File)
	if f != nil {
		l.add(Problem{Source: SourceFile, File: l.opts.File, What: f.what, Fix: f.fix})
		return nil, false
	}
	node, where, f := parseYAML(data)
	if f != nil {
		l.add(Problem{Source: SourceFile, File: l.opts.File, Line: where.line, Column: where.column, What: f.what, Fix: f.fix})
		return nil, false
	}
	if node == nil {
		return nil, true
	}
	r := &reader{
		marks: l.marks,
		report: func(path string, at mark, f *fault) {
			l.add(Problem{Path: path, Source: SourceFile, File: l.opts.File, Line: at.line, Column: at.column, What: f.what, Fix: f.fix})
		},
		doubt: func(path string) { l.doubts = append(l.doubts, path) },
		guess: func(path string) { l.guesses = append(l.guesses, path) },
	}
	tree := r.section(node, l.root, "")
	// When the file as a whole is no section, that keys are missing goes without saying.
	return tree, node.Kind == yaml.MappingNode
}

// settings gives what environment and flags set, the flags last.
func (l *loader) settings() []setting {
	bad := func(s setting, f *fault) {
		l.add(Problem{Path: s.path, Source: s.source, Name: s.name, What: f.what, Fix: f.fix})
	}
	set := append(envSettings(l.opts.Env, l.root, bad), flagSettings(l.opts.Overrides, l.root, bad)...)
	for _, s := range set {
		l.origin[s.path] = s
	}
	return set
}

// decode lays file, environment and flags over each other and fills the Config.
func (l *loader) decode(tree map[string]any, set []setting) {
	v := viper.New() // an own instance: the global one is shared with whatever else uses viper
	if err := v.MergeConfigMap(tree); err != nil {
		l.report("", faultf("see config.example.yaml", "cannot be read: %v", err))
	}
	for _, s := range set {
		v.Set(s.path, s.value)
	}
	// A list that is set replaces the default one; mapstructure would lay it over the default's elements.
	l.root.walk(func(s *schema) {
		if s.kind == list && s.index != nil && v.IsSet(s.path) {
			s.field(l.cfg).Set(reflect.Zero(s.typ))
		}
	})
	err := v.UnmarshalExact(l.cfg, func(c *mapstructure.DecoderConfig) {
		c.DecodeHook = mapstructure.DecodeHookFuncValue(decodeHook)
		c.WeaklyTypedInput = false
	})
	decodeProblems(err, func(path string, f *fault) {
		if !l.doubted(path) {
			l.report(path, f)
		}
	})
}

// resolveFiles makes the files named in the config file start at its folder, so that the
// gateway can be started from anywhere.
func (l *loader) resolveFiles() {
	if l.opts.File == "" {
		return
	}
	dir := filepath.Dir(l.opts.File)
	l.root.walk(func(s *schema) {
		if _, elsewhere := l.origin[s.path]; !s.file || elsewhere {
			return
		}
		if name := s.field(l.cfg).String(); name != "" && !filepath.IsAbs(name) {
			s.field(l.cfg).SetString(filepath.Join(dir, name))
		}
	})
}

// readSecrets fills each secret whose ..._file is set.
func (l *loader) readSecrets() {
	files := map[string]*schema{}
	l.root.walk(func(s *schema) { files[s.path] = s })
	l.root.walk(func(s *schema) {
		from := files[s.path+"_file"]
		if !s.secret || from == nil {
			return
		}
		name := from.field(l.cfg).String()
		if name == "" {
			return
		}
		if s.field(l.cfg).Len() > 0 {
			l.report(from.path, faultf("delete one of them", "is set beside %s, which says the same", s.path))
			return
		}
		data, f := readLimited(name)
		secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
		if f == nil && secret == "" {
			f = faultf("write the secret into it", "%q is empty", name)
		}
		if f != nil {
			l.report(from.path, f)
			return
		}
		s.field(l.cfg).SetString(secret)
	})
}

// readLimited reads a small file and says in plain words why it cannot.
func readLimited(name string) ([]byte, *fault) {
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, faultf("check the path", "%q does not exist", name)
	case errors.Is(err, fs.ErrPermission):
		return nil, faultf("let the gateway's user read it", "%q may not be read", name)
	case err != nil:
		return nil, faultf("check the path", "%q cannot be opened: %v", name, err)
	}
	defer func() { _ = f.Close() }() // only read: nothing to lose
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, faultf("name a plain file", "%q cannot be read: %v", name, err)
	}
	if len(data) > maxFile {
		return nil, faultf("check the path", "%q is larger than 1 MiB", name)
	}
	return data, nil
}
