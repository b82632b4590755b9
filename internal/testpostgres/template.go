package testpostgres

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

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
func newFolder() (string, error) {
	folder, err := os.MkdirTemp("", "testpostgres")
	if err != nil {
		return "", err
	}
	if err := own(folder); err != nil {
		os.RemoveAll(folder)
		return "", err
	}
	return folder, nil
}

// own gives a file to the user the server runs as.
func own(path string) error {
	if c := credential(); c != nil {
		return os.Chown(path, int(c.Uid), int(c.Gid))
	}
	return nil
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := own(path); err != nil {
		t.Fatal(err)
	}
}
