//go:build !race

package assertion

import (
	"testing"

	"gatehouse/config"
)

// An assertion that is kept stands in front of every request: it must make no garbage. The race detector allocates on
// its own, so this is counted without it.
func TestKeptAssertionMakesNoGarbage(t *testing.T) {
	s, subject := forBench(t, config.AlgorithmEdDSA)
	if _, err := s.Token(subject); err != nil {
		t.Fatal(err)
	}
	// The file is looked at once a second: a few allocations in thousands of calls.
	if n := testing.AllocsPerRun(5000, func() { _, _ = s.Token(subject) }); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
