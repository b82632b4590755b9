//go:build apps

// Package servers puts the built gateway before the servers that applications run on, and tries what depends on how these read
// a request: the spellings of identity headers (H02), of protected paths (P02, P03, P05 to P07), and random ones (P14). Package
// proxy does the same with models of such servers; here are the servers themselves, each with an application that is
// protected by nothing but the gateway.
//
// Every request also goes straight to the server, past the gateway. What gets through there shows that the test tests
// something, and is the content of docs/real-servers.md.
//
// It stands beside package e2e, since it drives the binary from outside as that does, and not in it, since it needs a dozen
// servers that nothing else needs, and minutes. The build tag apps keeps it out of `make test`; `make test-apps` runs it.
package servers

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	// TestMain builds the binary. This tells `go test` what of, or its cache would answer for a
	// gateway that has changed since.
	_ "gatehouse/command"
	"gatehouse/internal/testserver"
)

var (
	seed     = flag.Uint64("seed", 14, "of P14's random paths: the same seed gives the same paths")
	hostiles = flag.Int("paths", 2000, "P14's random paths for each server")
	docs     = flag.String("docs", "", "a folder: write real-servers.md there instead of comparing with it")
)

// binary is the gateway under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	testserver.MoreParallel()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatehouse-servers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gatehouse")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "gatehouse")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// families start the servers, those that share a process or an application together, in the order of the document.
var families = []struct {
	name  string
	start func(t *testing.T) []*app
}{
	{"PHP", startPHP},
	{"nginx", startNginx},
	{"Node", startNode},
	{"Python", startPython},
	{"lighttpd", startLighttpd},
	{"Apache", startApache},
	{"Tomcat", startTomcat},
	{"Rack", startRack},
	{"Go", startGo},
}

// TestServers runs the cases before every server, and then compares the document with what was seen.
func TestServers(t *testing.T) {
	t.Logf("P14: -seed %d, %d paths for each server", *seed, *hostiles)
	var mu sync.Mutex
	found := make([][]*findings, len(families))
	passed := t.Run("each", func(t *testing.T) {
		for i, family := range families {
			t.Run(family.name, func(t *testing.T) {
				t.Parallel()
				for _, a := range family.start(t) {
					f := &findings{app: a}
					mu.Lock()
					found[i] = append(found[i], f)
					mu.Unlock()
					t.Run(strings.ReplaceAll(a.name, " ", "_"), func(t *testing.T) {
						g := startGateway(t, a)
						t.Run("H02_spellings_of_headers", func(t *testing.T) { f.tryHeaders(t, g) })
						t.Run("P02-P07_spellings_of_paths", func(t *testing.T) { f.tryPaths(t, g) })
						t.Run("P14_random_paths", func(t *testing.T) { f.tryRandom(t, g) })
					})
				}
			})
		}
	})
	switch all := slices.Concat(found...); {
	case passed && isComplete(found):
		checkDocument(t, all)
	case *docs != "":
		t.Errorf("docs/%s is not written: not every case has run, and passed, before every server", documentName)
	}
}

// isComplete reports whether all cases ran before all servers: -run may have picked some.
func isComplete(found [][]*findings) bool {
	return !slices.ContainsFunc(found, func(family []*findings) bool {
		return len(family) == 0 || slices.ContainsFunc(family, func(f *findings) bool { return f.headers == nil || f.paths == nil })
	})
}
