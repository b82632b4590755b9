//go:build faultpoints

package fault

import (
	"os"
	"time"
)

// clockVariable says by how much this process's clock is wrong, such as -60s: machines disagree, and what
// that may do to sessions is to be tested.
const clockVariable = "GATEHOUSE_CLOCK"

var skew time.Duration

func init() {
	value := os.Getenv(clockVariable)
	if value == "" {
		return
	}
	if err := os.Unsetenv(clockVariable); err != nil {
		refuse(clockVariable, value, err.Error())
	}
	var err error
	if skew, err = time.ParseDuration(value); err != nil {
		refuse(clockVariable, value, "it is no duration such as -60s")
	}
}

// Clock is a clock that is wrong by as much as the environment says.
func Clock() func() time.Time {
	return func() time.Time { return time.Now().Add(skew) }
}
