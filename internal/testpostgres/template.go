package testpostgres

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Making a server's first data takes a second or two, copying them a tenth: each test binary makes
// them once, and they go with the last server, or with Main.
var template struct {
	sync.Mutex
	folder string
	users  int
}

// useTemplate gives the folder to copy, until release is called.
func useTemplate(t testing.TB) (folder string, release func()) {
	t.Helper()
	template.Lock()
	defer template.Unlock()
	if template.folder == "" {
		folder := newFolder(t)
		if err := initialize(bin(t), folder); err != nil {
			os.RemoveAll(folder)
			t.Fatal(err)
		}
		template.folder = folder
	}
	template.users++
	return filepath.Join(template.folder, "data"), releaseTemplate
}

func releaseTemplate() {
	template.Lock()
	defer template.Unlock()
	template.users--
	if template.users == 0 && template.folder != "" {
		os.RemoveAll(template.folder)
		template.folder = ""
	}
}

func initialize(bin, folder string) error {
	cmd := command(folder, filepath.Join(bin, "initdb"), "-D", filepath.Join(folder, "data"), "-U", superuser,
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions", "--wal-segsize=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// newFolder makes a folder that the user postgres can reach: t.TempDir lies inside folders that only
// we may enter.
func newFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "testpostgres")
	if err != nil {
		t.Fatal(err)
	}
	own(t, folder)
	return folder
}

// own gives a file to the user the server runs as.
func own(t testing.TB, path string) {
	t.Helper()
	if c := credential(); c != nil {
		if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own(t, path)
}

// copyFolder keeps owners and modes, which PostgreSQL checks.
func copyFolder(from, to string) error {
	if out, err := exec.Command("cp", "-a", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy the template: %w\n%s", err, out)
	}
	return nil
}
