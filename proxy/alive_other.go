//go:build !linux

package proxy

import "time"

// boundUnacknowledged is Linux's.
func boundUnacknowledged(uintptr, time.Duration) {}
