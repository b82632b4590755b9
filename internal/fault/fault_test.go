package fault_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"gatehouse/internal/fault"
)

// inCode finds the names that one of the package's functions is called with in the module's code, tests and testdata apart.
func inCode(t *testing.T, function string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules" || entry.Name() == "fault" || strings.HasPrefix(entry.Name(), ".git")):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("internal/fault")) {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, text, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != function || !isFault(f.X) {
				return true
			}
			where := files.Position(call.Pos()).String()
			literal, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the name of a point must stand there as text, or nobody finds it", where)
				return true
			}
			name, _ := strconv.Unquote(literal.Value)
			found[name] = append(found[name], where)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func isFault(x ast.Expr) bool {
	name, ok := x.(*ast.Ident)
	return ok && name.Name == "fault"
}

// TestNamesAreThePointsInTheCode, both ways. That each is visited is tested in package e2e.
func TestNamesAreThePointsInTheCode(t *testing.T) {
	t.Parallel()
	for function, names := range map[string][]string{"Point": fault.Names(), "Panic": fault.Panics()} {
		found := inCode(t, function)
		for name, where := range found {
			if !slices.Contains(names, name) {
				t.Errorf("%s: the list does not have the point %q", where, name)
			}
			if len(where) > 1 {
				t.Errorf("the point %q stands at %s: who arms it does not know which it will be", name, where)
			}
		}
		for i, name := range names {
			if len(found[name]) == 0 {
				t.Errorf("the list has the point %q, the code has not", name)
			}
			if slices.Contains(names[:i], name) {
				t.Errorf("the list has %q twice", name)
			}
		}
	}
}

func victim(t *testing.T, tags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "victim")
	if out, err := exec.Command("go", "build", "-tags", tags, "-o", path, "./testdata/victim").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestPoint(t *testing.T) {
	t.Parallel()
	with, without := victim(t, "faultpoints"), victim(t, "")
	const first, all = "environment \"\"\ncreate 0\n", "environment \"\"\ncreate 0\nrevoke 0\ncreate 1\nrevoke 1\ncreate 2\nrevoke 2\n"
	for _, c := range []struct {
		name, binary, fault, out string
		killed                   bool
		code                     int
	}{
		{"not armed", with, "", all, false, 0},
		{"the first time", with, "revoke.before", first, true, -1},
		{"the second time", with, "create.before:2", first + "revoke 0\n", true, -1},
		{"not reached so often", with, "create.before:4", all, false, 0},
		{"another point", with, "list.before", all, false, 0},
		{"no point", with, "create.befor", "", false, 2},
		{"no number", with, "create.before:x", "", false, 2},
		{"nought", with, "create.before:0", "", false, 2},
		{"without the tag", without, "revoke.before", strings.Replace(all, `""`, `"revoke.before"`, 1), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(c.binary)
			cmd.Env = append(os.Environ(), "GATEHOUSE_FAULT="+c.fault)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if killed := status.Signaled() && status.Signal() == syscall.SIGKILL; killed != c.killed || cmd.ProcessState.ExitCode() != c.code || string(out) != c.out {
				t.Errorf("killed %v, exit code %d, %q; want %v, %d, %q", killed, cmd.ProcessState.ExitCode(), out, c.killed, c.code, c.out)
			}
			if c.code == 2 && !strings.Contains(stderr.String(), "GATEHOUSE_FAULT="+c.fault) {
				t.Errorf("it does not say what is wrong: %s", &stderr)
			}
		})
	}
}

// TestReleaseHoldsNothing: without the tag neither the function nor the names of the points are in a program.
func TestReleaseHoldsNothing(t *testing.T) {
	t.Parallel()
	for tags, want := range map[string]bool{"faultpoints": true, "": false} {
		path := victim(t, tags)
		symbols, err := exec.Command("go", "tool", "nm", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(symbols, []byte("internal/fault.")); got != want {
			t.Errorf("tags %q: a symbol of the package is in the program: %v, want %v", tags, got, want)
		}
		if got := bytes.Contains(text, []byte("revoke_user.advanced")); got != want {
			t.Errorf("tags %q: the names are in the program: %v, want %v", tags, got, want)
		}
	}
}

// BenchmarkPoint is what a point costs in a release: the loop around it.
func BenchmarkPoint(b *testing.B) {
	for range b.N { // b.Loop would keep the call
		fault.Point("create.before")
	}
}
