package hostile

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestPath: a seed gives the same paths again, another gives others, and the tricks are all among them.
func TestPath(t *testing.T) {
	t.Parallel()
	paths := func(seed uint64) string {
		rnd, buf := rand.New(rand.NewPCG(seed, 0)), make([]byte, 0, 256)
		var all []string
		for range 20_000 {
			all = append(all, Path(rnd, buf))
		}
		return strings.Join(all, "\n")
	}
	one := paths(1)
	if paths(1) != one {
		t.Error("a seed gives other paths the second time")
	}
	if paths(2) == one {
		t.Error("another seed gives the same paths")
	}
	for _, list := range [][]string{segments, joints, tails} {
		for _, word := range list {
			if !strings.Contains(one, word) {
				t.Errorf("%q is never used", word)
			}
		}
	}
}
