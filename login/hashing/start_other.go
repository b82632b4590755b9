//go:build !linux

package hashing

import "os/exec"

// startLow starts the process. Only Linux has priorities for threads.
func startLow(cmd *exec.Cmd) error { return cmd.Start() }
