//go:build unix

package proxy

import "syscall"

// maxOpenFiles is how many files and connections this process may have open at once.
func maxOpenFiles() (uint64, bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err == nil
}
