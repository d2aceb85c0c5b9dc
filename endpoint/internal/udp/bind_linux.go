package udp

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

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
