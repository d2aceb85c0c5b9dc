package udp

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

func TestSystemsWithoutCallsForMany(t *testing.T) {
	for _, refusal := range []syscall.Errno{unix.ENOSYS, unix.EPERM} {
		t.Run(refusal.Error(), func(t *testing.T) {
			in, out := mustFast(listen(t, "udp4", "127.0.0.1:0")), mustFast(listen(t, "udp4", "127.0.0.1:0"))
			var refused atomic.Int32
			none := func(int, []message) (int, syscall.Errno) {
				refused.Add(1)
				return -1, refusal
			}
			in.calls.receiveMany, out.calls.sendMany = none, none
			a, b := &Conn{conn: in.conn, form: in}, &Conn{conn: out.conn, form: out}
			path := b.Path(a.LocalAddr(), netip.Addr{})
			send := func() {
				t.Helper()
				sendAndTake(t, "one by one", b, path, a, b.LocalAddr(), []int{1, 2, 3, 3, 3, 4})
			}
			send()
			first := refused.Load()
			for range 3 {
				send()
			}
			if n := refused.Load() - first; n != 0 {
				t.Errorf("the calls for many were tried %d times more, want none", n)
			}
		})
	}
}

// Some containers' filters of system calls say EPERM to what they do not know.
func TestAFilterOfSystemCalls(t *testing.T) {
	in, out := mustFast(listen(t, "udp4", "127.0.0.1:0")), mustFast(listen(t, "udp4", "127.0.0.1:0"))
	a, b := &Conn{conn: in.conn, form: in}, &Conn{conn: out.conn, form: out}
	path := b.Path(a.LocalAddr(), netip.Addr{})
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SENDMMSG, Jt: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_RECVMMSG, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // which ends with the goroutine, and the filter with it
		if err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return
		}
		program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		if err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
			return
		}
		for range 3 {
			sendAndTake(t, "one by one", b, path, a, b.LocalAddr(), []int{1, 2, 3, 3, 3, 4})
		}
	}()
	if <-done; err != nil {
		t.Skip("SKIPPED: a filter of system calls: ", err)
	}
	if !out.noMany.Load() || !in.noManyIn {
		t.Errorf("many are not sent: %t, nor received: %t; want both", out.noMany.Load(), in.noManyIn)
	}
}

// A filter of packets that drops a datagram says EPERM as well. It is that one's alone, and
// no reason to send all others one by one.
func TestAFilterOfPackets(t *testing.T) {
	in, out, path := pair(t)
	out.refuse = func(m *message, _ int) syscall.Errno {
		if total(vectorsOf(m)) == 666 {
			return unix.EPERM
		}
		return 0
	}
	for _, c := range [][]int{{666, 700, 800}, {600, 666, 800}, {500, 600, 666}, {666}} { // each a message
		var want []int
		for _, n := range c {
			if n != 666 {
				want = append(want, n)
			}
		}
		var batch link.Batch
		fill(&batch, c...)
		sent, err := out.Send(batch.Frames, path)
		if sent != len(want) || !errors.Is(err, unix.EPERM) {
			t.Errorf("of %v: %d sent, error %v; want %d and %v", c, sent, err, len(want), unix.EPERM)
		}
		var got []int
		for _, d := range take(t, in, len(want)) {
			got = append(got, len(d.bytes))
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %v: arrived %v, want %v", c, got, want)
		}
		out.frames = nil
		sendAndTake(t, "afterwards", out.Conn, path, in, out.LocalAddr(), []int{1, 2, 3, 4})
		expectFrames(t, out, "afterwards", []int{1, 1, 1, 1})
	}
}
