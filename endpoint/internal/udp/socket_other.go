//go:build !linux

package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Elsewhere the system chooses the address that answers come from.

func askForDestination(*net.UDPConn) error { return errors.ErrUnsupported }

func destination([]byte) netip.Addr { return netip.Addr{} }

func source(*net.UDPConn, netip.Addr) []byte { return nil }

// BindTo is not to be had here.
func BindTo(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, _ syscall.RawConn) error {
		return fmt.Errorf("binding to the device %s: %w", device, errors.ErrUnsupported)
	}
}
