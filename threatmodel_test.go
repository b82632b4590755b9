package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModelIsShown: each line of the threat model that claims something names a case or a test, and these exist.
func TestThreatModelIsShown(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	_, claims, found := strings.Cut(string(text), "\n## What stops them\n")
	claims, _, end := strings.Cut(claims, "\n## ")
	if !found || !end {
		t.Fatal("docs/threat-model.md has no section of what stops them")
	}
	names := testNames(t)
	rows := 0
	for line := range strings.Lines(claims) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| threat ") {
			continue
		}
		if rows++; len(cells) != 4 {
			t.Errorf("not four cells: %s", line)
			continue
		}
		if strings.Contains(cells[2], "not the gateway's to stop") {
			continue
		}
		shown := regexp.MustCompile("\\b[HPXSLI][0-9]{2}\\b|`(Test|Fuzz)[A-Za-z0-9_]+`").FindAllString(cells[3], -1)
		if len(shown) == 0 {
			t.Errorf("nothing shows: %s", line)
		}
		for _, name := range shown {
			if !names[strings.Trim(name, "`")] {
				t.Errorf("there is no %s, which is to show: %s", name, line)
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d lines found, this test looks past them", rows)
	}
}

// testNames are the names of all test and fuzz functions, and the numbers of the cases of the end-to-end tests.
func testNames(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		if strings.HasPrefix(path, "e2e"+string(filepath.Separator)+"cases_") {
			for _, m := range regexp.MustCompile(`"([HPXSLI][0-9]{2})_`).FindAllSubmatch(text, -1) {
				names[string(m[1])] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
