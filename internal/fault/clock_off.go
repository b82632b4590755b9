//go:build !faultpoints

package fault

import "time"

// Clock is time.Now.
func Clock() func() time.Time { return time.Now }
