package proxy

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall does not have for every architecture.
const tcpUserTimeout = 0x12

// boundUnacknowledged has the kernel end a connection on which sent data is not acknowledged for d. On a socket
// that is not TCP it fails, which changes nothing.
func boundUnacknowledged(fd uintptr, d time.Duration) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
}
