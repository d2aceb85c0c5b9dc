//go:build !portable

package netstack

import (
	"syscall"
	"unsafe"
)

const canMove = true

// The calls below do not wait, since sockets of package net do not block; so the
// scheduler is not told of them. When it is, it wakes a thread of its own that looks
// whether they do.

// read is read(2).
func read(fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if err != syscall.EINTR {
			return max(int(n), 0), err
		}
	}
}

// readable is how many bytes a socket has (SIOCINQ, tcp(7)).
func readable(fd uintptr) (int, syscall.Errno) {
	var n int32
	_, _, err := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// vectors are pieces of memory that are written by one call.
type vectors struct {
	all [piecesMax]syscall.Iovec
	n   int
}

// add tells whether there is no room for more.
func (v *vectors) add(b []byte) (full bool) {
	if len(b) > 0 {
		v.all[v.n].Base = &b[0]
		v.all[v.n].SetLen(len(b))
		v.n++
	}
	return v.n == len(v.all)
}

// write is writev(2).
func (v *vectors) write(fd uintptr) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&v.all[0])), uintptr(v.n))
		if err != syscall.EINTR {
			return max(int(n), 0), err
		}
	}
}

// reset forgets them: the memory is somebody else's.
func (v *vectors) reset() {
	clear(v.all[:v.n])
	v.n = 0
}
