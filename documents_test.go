package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinksLeadSomewhere: what the documents point to is there, files and headings.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	links := 0
	for _, document := range append(documents, "README.md", "SECURITY.md", "CHANGELOG.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, heading, _ := strings.Cut(m[1], "#")
			target := document
			if path != "" {
				target = filepath.Join(filepath.Dir(document), path)
			}
			linked, err := os.ReadFile(target)
			if err != nil && !isFolder(target) {
				t.Errorf("%s links to %s: %v", document, m[1], err)
				continue
			}
			if heading != "" && !strings.Contains(headings(string(linked)), "\n"+heading+"\n") {
				t.Errorf("%s links to %s, there is no such heading", document, m[1])
			}
		}
	}
	if links < 10 {
		t.Errorf("%d links found, this test looks past them", links)
	}
}

// TestNamedTestsExist: the tests that the documents name are there, and so are the numbered cases.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	names := testNames(t)
	named := regexp.MustCompile("`(Test\\w+)`|\\b([HPXSLI]\\d\\d)\\b").FindAllStringSubmatch(string(text), -1)
	for _, m := range named {
		if !names[m[1]+m[2]] {
			t.Errorf("docs/limits.md names %s, which is nowhere", m[0])
		}
	}
	if len(named) < 20 {
		t.Errorf("%d tests are named, this test looks past them", len(named))
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// headings gives the anchors of a document's headings, a line each.
func headings(text string) string {
	anchors := "\n"
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		anchor := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		anchors += regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(anchor, "") + "\n"
	}
	return anchors
}

// TestSecurityCasesNameTests: each test that docs/security-cases.md names is there. That its numbers are those that run is
// tested in package e2e.
func TestSecurityCasesNameTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/security-cases.md")
	if err != nil {
		t.Fatal(err)
	}
	names := testNames(t)
	named := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(text), -1)
	for _, m := range named {
		if !names[m[1]] {
			t.Errorf("docs/security-cases.md names %s, there is no such test", m[1])
		}
	}
	if len(named) < 10 {
		t.Errorf("%d names of tests found, this test looks past them", len(named))
	}
}
