package proxy

import (
	"net"
	"syscall"
	"testing"
	"time"

	"gatehouse/config"
)

// TCP gives up a connection of many requests when the other end has vanished.
func TestDeadPeersOfHTTP2(t *testing.T) {
	t.Parallel()
	to := http2App(t, echo, nil)
	up, err := newUpstream(to, config.UpstreamTLS{}, config.Default().Timeouts)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := up.dial(t.Context(), "tcp", up.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		option int
		want   time.Duration
		unit   time.Duration
	}{"wait for an acknowledgement": {tcpUserTimeout, deadPeer, time.Millisecond}, "quiet before a keep-alive": {syscall.TCP_KEEPIDLE, deadPeer / 2, time.Second}} {
		var got int
		if err := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, c.option) }); err != nil {
			t.Fatal(err)
		}
		if time.Duration(got)*c.unit != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}
