//go:build !unix

package udp

import "syscall"

func granted(syscall.RawConn) (receive, send int) { return 0, 0 }
