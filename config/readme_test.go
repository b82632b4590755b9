package config_test

import (
	"os"
	"path/filepath"
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

// TestLimitsDocument: docs/limits.md has a row for each limit, with the default the code has and tests that there are.
func TestLimitsDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string][]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|(.*)\\|$").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = strings.Split(m[2], "|")
	}
	tests := namesOfTests(t)
	limits := 0
	for _, key := range config.Keys() {
		if !regexp.MustCompile(`^(limits|timeouts|connection_limits|request_limits|login\.limits)\.`).MatchString(key.Path) {
			continue
		}
		limits++
		row := rows[key.Path]
		if len(row) != 4 {
			t.Errorf("docs/limits.md has no row for %s", key.Path)
			continue
		}
		if said := strings.Trim(row[0], " `"); said != key.Default {
			t.Errorf("docs/limits.md says the default of %s is %q, the code says %q", key.Path, said, key.Default)
		}
		named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(row[3], -1)
		if len(named) == 0 {
			t.Errorf("%s has no test", key.Path)
		}
		for _, name := range named {
			if !tests[name[1]] {
				t.Errorf("%s: there is no test %s", key.Path, name[1])
			}
		}
	}
	if limits < 15 {
		t.Errorf("%d limits found, this test looks past them", limits)
	}
}

// namesOfTests are all tests of the module.
func namesOfTests(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}
