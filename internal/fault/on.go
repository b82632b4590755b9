//go:build faultpoints

package fault

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// variable says where to die: the name of a point, or name:n for the n-th time it is reached.
const variable = "GATEHOUSE_FAULT"

var (
	armed string
	left  atomic.Int64
)

// init reads the variable and takes it away: to the configuration it would be a setting that does not
// exist, and programs this one starts are not meant.
func init() {
	value := os.Getenv(variable)
	if value == "" {
		return
	}
	if err := os.Unsetenv(variable); err != nil {
		refuse(variable, value, err.Error())
	}
	name, count, counted := strings.Cut(value, ":")
	n := 1
	if counted {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 1 {
			refuse(variable, value, "what stands behind the colon must be a number from 1 on")
		}
	}
	// A name that is misspelled would be a test of nothing.
	if all := append(Names(), Panics()...); !slices.Contains(all, name) {
		refuse(variable, value, "there is no such point; they are "+strings.Join(all, ", "))
	}
	armed = name
	left.Store(int64(n))
}

func refuse(name, value, why string) {
	fmt.Fprintf(os.Stderr, "%s=%s: %s\n", name, value, why)
	os.Exit(2)
}

// Point ends the process here by SIGKILL, if the environment says so: nothing is flushed, closed or
// undone, as with a machine that loses its power.
func Point(name string) {
	if name != armed || left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way; not one step more is taken here
}

// Panic panics here, if the environment says so.
func Panic(name string) {
	if name == armed && left.Add(-1) == 0 {
		panic("at the point " + name)
	}
}
