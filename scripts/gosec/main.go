// Command gosec runs gosec's rules and analyzers over the packages in the current folder and below. It is a module
// of its own because gosec's own command brings the clients of three language models along, which take ten minutes
// to compile; its library does not.
package main

import (
	"fmt"
	"go/build"
	"io"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/securego/gosec/v2"
	"github.com/securego/gosec/v2/analyzers"
	"github.com/securego/gosec/v2/issue"
	"github.com/securego/gosec/v2/rules"
)

func main() {
	found, err := run()
	for _, line := range found {
		fmt.Println(line)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gosec:", err)
	}
	if err != nil || len(found) > 0 {
		os.Exit(1)
	}
}

// left is what is not looked at: internal/test... starts the servers of the tests and internal/hostile makes their
// paths; neither is linked into a release.
var left = []*regexp.Regexp{regexp.MustCompile(`(^|/)(testdata|node_modules|scripts|internal/test[a-z]*|internal/hostile)(/|$)`)}

// without are rules that find nothing but what is meant. G304: the files this program opens are those its
// operator names, in the settings or on the command line; that no request names one is for G703 to find.
var without = []string{"G304"}

// run gives what was found, a line each. A `#nosec` names its rule and gives its reason: "#nosec G402 -- why".
func run() ([]string, error) {
	packages, err := gosec.PackagePaths("./...", left)
	if err != nil {
		return nil, err
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("there is no Go package here (GOPATH %s)", build.Default.GOPATH)
	}
	analyzer := gosec.NewAnalyzer(gosec.NewConfig(), false, true, false, runtime.GOMAXPROCS(0), log.New(io.Discard, "", 0))
	analyzer.LoadRules(rules.Generate(false, rules.NewRuleFilter(true, without...)).RulesInfo())
	analyzer.LoadAnalyzers(analyzers.Generate(false).AnalyzersInfo())
	if err := analyzer.Process(nil, packages...); err != nil {
		return nil, err
	}
	issues, metrics, broken := analyzer.Report()
	for file, errs := range broken {
		return nil, fmt.Errorf("%s cannot be read: %v", file, errs)
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, i := range issues {
		if i.NoSec {
			continue
		}
		file, err := filepath.Rel(here, i.File)
		if err != nil {
			file = i.File
		}
		found = append(found, fmt.Sprintf("%s:%s: %s (%s, severity %s, confidence %s)", file, i.Line, i.What, i.RuleID, name(i.Severity), name(i.Confidence)))
	}
	slices.Sort(found)
	fmt.Fprintf(os.Stderr, "gosec: %d files, %d lines, %d findings, %d marked #nosec\n", metrics.NumFiles, metrics.NumLines, len(found), metrics.NumNosec)
	return found, nil
}

func name(s issue.Score) string { return strings.ToLower(s.String()) }
