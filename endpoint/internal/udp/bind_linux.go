package udp

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CanShare tells whether several sockets can have one address.
const CanShare = true

// Share is a net.ListenConfig's Control: the socket has its address in common with all
// others of this user's that do the same (SO_REUSEPORT). The system gives each of them
// the datagrams of some peers: what has the same two addresses and ports always comes
// to the same one, as long as there are the same sockets.
func Share(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", failed)
}

// BindTo is a net.ListenConfig's Control: it binds a socket to a network interface
// before it gets its address.
func BindTo(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), device) }); err != nil {
			return err
		}
		if failed != nil {
			return fmt.Errorf("binding to the device %s: %w", device, failed)
		}
		return nil
	}
}
