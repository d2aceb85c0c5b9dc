package udp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func add[T any](p *T, i int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(p), uintptr(i)*unsafe.Sizeof(*p))
}

func bytesAt(p *byte, n int) []byte { return unsafe.Slice(p, n) }

func total(vectors []unix.Iovec) (n int) {
	for _, v := range vectors {
		n += int(v.Len)
	}
	return n
}
