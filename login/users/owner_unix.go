//go:build unix

package users

import (
	"os"
	"syscall"
)

// keepOwner gives temp the owner and group of the file it will replace.
func keepOwner(temp *os.File, old os.FileInfo) error {
	was, ok := old.Sys().(*syscall.Stat_t)
	if !ok || int(was.Uid) == os.Geteuid() && int(was.Gid) == os.Getegid() {
		return nil
	}
	return temp.Chown(int(was.Uid), int(was.Gid))
}
