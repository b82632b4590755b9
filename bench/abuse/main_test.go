// Package abuse attacks the built gateway as strangers would: slow clients (slowhttptest), HTTP/2 floods, huge headers,
// and a flood of logins. All the while ordinary clients go on, and what they notice is measured. `make abuse` runs it at
// full size; without flags it is seconds that check the same things in small. It is a test so that it may start servers
// as tests do, and so that nothing of it can get into the binary. docs/abuse.md has the figures.
package abuse

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

// full is the size of `make abuse`.
var full = flag.Bool("full", false, "at full size, some minutes; else in small")

// built is for comparing with another version.
var built = flag.String("gateway", "", "a gateway's binary; empty: this one, built now")

// size gives the number for this run.
func size[N any](small, atFullSize N) N {
	if *full {
		return atFullSize
	}
	return small
}

// binary is the gateway, built once, without the race detector: this is about what it costs.
var binary string

func TestMain(m *testing.M) {
	// The attackers are processes of their own, at the lowest priority: on the machine of a test they must not take
	// from the gateway the time that real ones, elsewhere, could not take.
	if attack := os.Getenv(attackVariable); attack != "" {
		os.Exit(attackAsTold(attack))
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary = *built; binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gatehouse-abuse-")
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
