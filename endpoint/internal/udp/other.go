//go:build !linux

package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

func newFast(net.PacketConn) (form, error) { return nil, errors.ErrUnsupported }

// CanShare tells whether several sockets can have one address: elsewhere, where they
// can, it is not each of them that gets something.
const CanShare = false

// Share is not to be had here.
func Share(_, _ string, _ syscall.RawConn) error { return errors.ErrUnsupported }

// BindTo is not to be had here.
func BindTo(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, _ syscall.RawConn) error {
		return fmt.Errorf("binding to the device %s: %w", device, errors.ErrUnsupported)
	}
}
