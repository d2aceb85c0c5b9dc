//go:build linux

package roles

import (
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// StockBuffer is net.core.rmem_max, and wmem_max, as Linux sets them when nobody else does: the most bytes that a socket
// without privileges gets.
const StockBuffer = 212992

// ListenUDP opens a socket. A small one has the buffers that it would have had without privileges on a machine where nobody
// has raised them, whatever its owner asks for.
func ListenUDP(address string, small bool) (net.PacketConn, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil || !small {
		return conn, err
	}
	return smallSocket{conn.(*net.UDPConn)}, nil
}

// A smallSocket sets its buffers after the first time that somebody had its descriptor, since they are raised then.
type smallSocket struct{ *net.UDPConn }

func (s smallSocket) SyscallConn() (syscall.RawConn, error) {
	raw, err := s.UDPConn.SyscallConn()
	return &smallRaw{RawConn: raw}, err
}

type smallRaw struct {
	syscall.RawConn
	set atomic.Bool
}

func (r *smallRaw) Control(f func(fd uintptr)) error {
	if r.set.Swap(true) {
		return r.RawConn.Control(f)
	}
	return r.RawConn.Control(func(fd uintptr) {
		f(fd)
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, StockBuffer)
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, StockBuffer)
	})
}
