package udp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fast is the form that uses a socket's descriptor.
type fast struct {
	conn     net.PacketConn
	raw      syscall.RawConn
	calls    calls
	six      bool        // the socket is of the IPv6 family
	pktinfo  bool        // the system tells which address a datagram was sent to
	segments bool        // the system knows UDP_SEGMENT
	noMany   atomic.Bool // the system refuses sendmmsg

	discoveries []discovery // that have datagrams carry DF

	// The reader's.
	in       *inbox // nil while it waits
	got      int    // messages in it
	refused  syscall.Errno
	noManyIn bool // the system refuses recvmmsg
	readable func(fd uintptr) bool
	zones    map[uint32]string // names of interfaces by index
}

// calls are the system calls; tests put others in their place.
type calls struct {
	receive, send         func(fd int, m *message) (bytes int, err syscall.Errno)
	receiveMany, sendMany func(fd int, m []message) (messages int, err syscall.Errno)
}

// A message is what recvmmsg and sendmmsg take many of (struct mmsghdr).
type message struct {
	unix.Msghdr
	bytes uint32
}

// None of them waits, so the scheduler is not told that they are made: when it is,
// and a call takes as long as one with 64 KiB does, it wakes another thread, which
// costs a fifth more of CPU time for nothing.
var system = calls{
	receive: func(fd int, m *message) (int, syscall.Errno) {
		n, _, err := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.Msghdr)), unix.MSG_DONTWAIT)
		return int(n), err
	},
	send: func(fd int, m *message) (int, syscall.Errno) {
		n, _, err := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.Msghdr)), unix.MSG_DONTWAIT)
		return int(n), err
	},
	receiveMany: func(fd int, m []message) (int, syscall.Errno) {
		n, _, err := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
		return int(n), err
	},
	sendMany: func(fd int, m []message) (int, syscall.Errno) {
		n, _, err := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
		return int(n), err
	},
}

// manyRefused tells whether it is the call for many messages that is refused: by a kernel
// without it, or by a filter of system calls, such as a container's, some of which say
// EPERM. So does a filter of packets, of one datagram that is sent: what is for none
// passes that one.
func manyRefused(call func(fd int, m []message) (messages int, err syscall.Errno), fd int, err syscall.Errno) bool {
	if err == unix.EPERM {
		_, err = call(fd, nil)
		return err == unix.EPERM
	}
	return err == unix.ENOSYS
}

func newFast(conn net.PacketConn) (form, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	f := &fast{conn: conn, raw: raw, calls: system, zones: map[uint32]string{}}
	f.readable = f.tryRead
	if e := raw.Control(func(fd uintptr) { err = f.configure(int(fd)) }); e != nil {
		return nil, e
	}
	return f, err
}

func (f *fast) configure(fd int) error {
	var options [3]int
	for i, o := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL} {
		var err error
		if options[i], err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, o); err != nil {
			return err
		}
	}
	f.six = options[0] == unix.AF_INET6
	if !f.six && options[0] != unix.AF_INET || options[1] != unix.SOCK_DGRAM || options[2] != unix.IPPROTO_UDP {
		return fmt.Errorf("the socket's domain, type and protocol are %v, expected those of UDP", options)
	}
	grow(fd, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE)
	grow(fd, unix.SO_SNDBUF, unix.SO_SNDBUFFORCE)
	// A kernel that does not know segments ignores the control message that asks
	// for them, and sends a run as one datagram: it is asked first.
	_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	f.segments = err == nil
	f.discover(fd)
	unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	// One that is bound to an address needs not be told.
	if a, ok := f.conn.LocalAddr().(*net.UDPAddr); ok && !a.IP.IsUnspecified() {
		return nil
	}
	if f.six {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	f.pktinfo = err == nil
	return nil
}

// grow has a buffer of the socket be socketBuffer bytes, or what the system allows;
// one that is longer stays.
func grow(fd, option, force int) {
	const doubled = 2 * socketBuffer // the kernel adds as much for its overhead
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err == nil && n >= doubled {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer) != nil { // CAP_NET_ADMIN
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, socketBuffer)
	}
}

func (f *fast) buffers() (receive, send int) { return granted(f.raw) }

func (f *fast) opError(op, call string, p *Path, err syscall.Errno) error {
	e := &net.OpError{Op: op, Net: "udp", Source: f.conn.LocalAddr(), Err: os.NewSyscallError(call, err)}
	if p != nil {
		e.Addr = net.UDPAddrFromAddrPort(p.Peer)
	}
	return e
}

// route prepares what sendmsg needs to know of a path.
func (f *fast) route(p *Path) {
	p.name = sockaddr(p.Peer, f.six)
	if f.pktinfo && p.Local.IsValid() {
		p.oob = source(p.Local, f.six)
	}
}

// sockaddr is an address as a socket of either family wants it.
func sockaddr(a netip.AddrPort, six bool) []byte {
	if !six {
		var sa unix.RawSockaddrInet4
		sa.Family = unix.AF_INET
		if ip := a.Addr().Unmap(); ip.Is4() {
			sa.Addr = ip.As4()
		} else {
			sa.Family = unix.AF_INET6 // which the kernel refuses
		}
		putPort(&sa.Port, a.Port())
		return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))...)
	}
	sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.Addr().As16()}
	putPort(&sa.Port, a.Port())
	sa.Scope_id = zoneIndex(a.Addr().Zone())
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))...)
}

// zoneIndex is the index of the interface that a zone names; 0: none.
func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	return 0
}

func putPort(field *uint16, port uint16) {
	b := (*[2]byte)(unsafe.Pointer(field))
	b[0], b[1] = byte(port>>8), byte(port)
}

// zonesMax bounds the names of interfaces that a socket remembers.
const zonesMax = 64

// sender reads a socket address that the kernel has written.
func (f *fast) sender(sa *unix.RawSockaddrInet6) netip.AddrPort {
	p := (*[2]byte)(unsafe.Pointer(&sa.Port))
	port := uint16(p[0])<<8 | uint16(p[1])
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	}
	a := netip.AddrFrom16(sa.Addr).Unmap()
	if sa.Scope_id != 0 && a.Is6() {
		a = a.WithZone(f.zone(sa.Scope_id))
	}
	return netip.AddrPortFrom(a, port)
}

func (f *fast) zone(index uint32) string {
	name, ok := f.zones[index]
	if !ok {
		name = strconv.FormatUint(uint64(index), 10)
		if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
			name = ifi.Name
		}
		if len(f.zones) >= zonesMax {
			clear(f.zones)
		}
		f.zones[index] = name
	}
	return name
}

var inboxes = sync.Pool{New: func() any { return newInbox() }}
