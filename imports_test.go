package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "gatehouse"

// mayImport says, for each folder, which others it may import; its own subfolders always. Imports
// point one way (design: Layout): what stands lower knows nothing of what stands above it, and login
// and proxy meet only in command, which wires everything. main.go is the folder "".
var mayImport = map[string][]string{
	"":          {"command"},
	"command":   {"admin", "assertion", "config", "database", "login", "pages", "proxy", "ratelimit", "sample", "session", "telemetry"},
	"admin":     {"config", "ratelimit", "session", "telemetry"},
	"login":     {"config", "database", "pages", "ratelimit", "session", "telemetry"},
	"proxy":     {"assertion", "config", "pages", "ratelimit", "session", "telemetry"},
	"assertion": {"config"},
	"pages":     {"config", "telemetry"},
	"ratelimit": {"config", "telemetry"},
	"session":   {"config", "database", "telemetry"},
	"database":  {"config", "telemetry"},
	"config":    {},
	"telemetry": {},
	// The sample plays an application that has never heard of the gateway.
	"sample": {},
	// Helpers of tests. Only tests import them, all but faultPoints.
	"internal": {},
}

// faultPoints is imported by what can be killed at one, and is nothing in a release.
const faultPoints = module + "/internal/fault"

var mayBeKilled = []string{"command", "login", "session"}

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath   string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	return out
}

func packages(t *testing.T) (all []pkg) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(goList(t, "-json=ImportPath,GoFiles,Imports,TestImports,XTestImports", "./...")))
	for {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// folder gives the top folder of one of our packages, and whether it is ours.
func folder(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	rest, ours := strings.CutPrefix(importPath, module+"/")
	top, _, _ := strings.Cut(rest, "/")
	return top, ours
}

// broken says what is wrong with a package's imports, judged by the table.
func broken(p pkg) (problems []string) {
	from, _ := folder(p.ImportPath)
	allowed, known := mayImport[from]
	if !known {
		if len(p.GoFiles) == 0 {
			return nil // tests only, such as e2e: they look at the whole from outside
		}
		return []string{p.ImportPath + ": the table of this test does not know the folder " + from}
	}
	check := func(kind string, imports []string, helpers bool) {
		for _, path := range imports {
			to, ours := folder(path)
			if !ours || to == from || slices.Contains(allowed, to) || helpers && to == "internal" ||
				path == faultPoints && slices.Contains(mayBeKilled, from) {
				continue
			}
			problems = append(problems, p.ImportPath+kind+" imports "+path)
		}
	}
	check("", p.Imports, false)
	check(" (test)", p.TestImports, true)
	check(" (external test)", p.XTestImports, true)
	return problems
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range packages(t) {
		top, _ := folder(p.ImportPath)
		seen[top] = true
		for _, problem := range broken(p) {
			t.Error(problem)
		}
	}
	for top := range mayImport {
		if !seen[top] {
			t.Errorf("there is no folder %q: this test looks past something", top)
		}
	}
}

// TestTheTableBites: the test above must be able to fail.
func TestTheTableBites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"gatehouse/login", "gatehouse/proxy", false},
		{"gatehouse/proxy", "gatehouse/login", false},
		{"gatehouse/proxy", "gatehouse/login/users", false},
		{"gatehouse/config", "gatehouse/telemetry", false},
		{"gatehouse/session", "gatehouse/pages", false},
		{"gatehouse/database", "gatehouse/session", false},
		{"gatehouse/proxy", "gatehouse/database", false},
		{"gatehouse/telemetry", "gatehouse/config", false},
		{"gatehouse/assertion", "gatehouse/session", false},
		{"gatehouse/login", "gatehouse/assertion", false},
		{"gatehouse/sample", "gatehouse/session", false},
		{"gatehouse/proxy", "gatehouse/internal/testredis", false},
		{"gatehouse/proxy", faultPoints, false},
		{"gatehouse/session", faultPoints, true},
		{"gatehouse", "gatehouse/config", false},
		{"gatehouse/proxy", "gatehouse/command", false},
		{"gatehouse/newfolder", "fmt", false},
		{"gatehouse", "gatehouse/command", true},
		{"gatehouse/login/users", "gatehouse/login/password", true},
		{"gatehouse/login", "gatehouse/pages", true},
		{"gatehouse/login", "gatehouse/database", true},
		{"gatehouse/session", "gatehouse/config", true},
		{"gatehouse/config", "github.com/spf13/viper", true},
	} {
		problems := broken(pkg{ImportPath: c.from, GoFiles: []string{"x.go"}, Imports: []string{c.to}})
		if (len(problems) == 0) != c.ok {
			t.Errorf("%s imports %s: %q", c.from, c.to, problems)
		}
	}
}

// TestNoTestCodeInTheBinary: helpers of tests must not be linked into what people run. The embedded
// store (miniredis) is meant to be there.
func TestNoTestCodeInTheBinary(t *testing.T) {
	t.Parallel()
	deps := strings.Fields(string(goList(t, "-deps", ".")))
	if !slices.Contains(deps, "gatehouse/command") {
		t.Fatal("the binary does not hold the command line: wrong list")
	}
	for _, dep := range deps {
		if dep == "testing" || strings.HasPrefix(dep, "gatehouse/internal/test") || strings.Contains(dep, "/chromedp") || strings.HasSuffix(dep, "/goleak") {
			t.Errorf("the binary holds %s", dep)
		}
	}
}
