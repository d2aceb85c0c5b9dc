//go:build unix

package udp

import "syscall"

// granted is the lengths of a socket's buffers; 0: the system does not tell.
func granted(raw syscall.RawConn) (receive, send int) {
	raw.Control(func(fd uintptr) {
		if n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF); err == nil {
			receive = n
		}
		if n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF); err == nil {
			send = n
		}
	})
	return receive, send
}
