// Package limits measures what the gateway holds: streams of gigabytes in flat memory, thousands of idle connections
// and of WebSockets. `make limits` runs it with the numbers of docs/limits.md; without flags it is a small run that
// checks the same, and the program itself. It is a test so that nothing of it can get into the binary.
package limits

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	// Built below: `go test` must know that this depends on it.
	_ "gatehouse/command"
)

var (
	bytesEach  = flag.Int64("bytes", 20<<20, "bytes streamed each way")
	idle       = flag.Int("idle", 50, "idle connections")
	webSockets = flag.Int("websockets", 50, "open WebSockets")
	samples    = flag.Int("samples", 20, "requests of another client, before and with them")
)

// binary is the gateway, built once. It is built without the race detector, whose memory is not the gateway's.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatehouse-limits-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gatehouse")
	if out, err := exec.Command("go", "build", "-o", binary, "gatehouse").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
