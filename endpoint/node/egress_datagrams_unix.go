//go:build unix

package node

import (
	"net"
	"os"
	"syscall"
)

// readDatagrams reads datagrams until use fails, which it calls with each of them,
// and with the error that ends reading. From a socket of the system's they are read
// into a buffer that there is only while there is a datagram: flows are many, and
// mostly idle.
func readDatagrams(c net.Conn, use func(b []byte, err error) error) error {
	s, ok := c.(syscall.Conn)
	if !ok {
		return readHolding(c, use)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return use(nil, err)
	}
	for {
		var b *[65535]byte
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			b = datagrams.Get().(*[65535]byte)
			for n, failed = syscall.Read(int(fd), b[:]); failed == syscall.EINTR; {
				n, failed = syscall.Read(int(fd), b[:])
			}
			if failed == syscall.EAGAIN {
				datagrams.Put(b)
				b = nil
				return false
			}
			return true
		})
		switch {
		case err == nil && failed == nil:
			err = use(b[:n], nil)
		case err == nil:
			err = use(nil, os.NewSyscallError("read", failed))
		default:
			err = use(nil, err)
		}
		if b != nil {
			datagrams.Put(b)
		}
		if err != nil {
			return err
		}
	}
}
