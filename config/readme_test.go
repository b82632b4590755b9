package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"gatehouse/config"
)

// The README's configuration table has a row for each key, with the default the code has.
func TestReadmeNamesEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*?) \\| ").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = strings.Trim(m[2], "`")
	}
	for _, key := range config.Keys() {
		row, ok := rows[key.Path]
		switch {
		case !ok:
			t.Errorf("README.md has no row for %s", key.Path)
		case key.Path != "headers" && row != key.Default:
			t.Errorf("README.md says the default of %s is %q, the code says %q", key.Path, row, key.Default)
		}
		delete(rows, key.Path)
	}
	for name := range rows {
		if strings.Contains(name, ".") && !strings.HasPrefix(name, "X-") && !strings.HasSuffix(name, "/") {
			t.Errorf("README.md has a row for %s, which is no key", name)
		}
	}
}

// What the README shows as YAML loads.
func TestReadmeSettingsLoad(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 2 {
		t.Fatalf("%d blocks of YAML", len(blocks))
	}
	for _, block := range blocks {
		file := t.TempDir() + "/gatehouse.yaml"
		yaml := block[1]
		if !strings.Contains(yaml, "upstream:") {
			yaml += "\nupstream: http://127.0.0.1:3000\n"
		}
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Options{File: file, Env: []string{}}); err != nil {
			t.Errorf("%v in\n%s", err, yaml)
		}
	}
}
