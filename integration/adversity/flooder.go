//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"golang.org/x/sys/unix"
)

// A kind of flood says how often, and when, a tuple (address, port, tunnel id) comes.
type kind string

const (
	once      kind = "each tuple once"
	afterASec kind = "again after 1 s"
	atOnce    kind = "twice at once"
)

var kinds = []kind{once, afterASec, atOnce}

// tuple tells which tuple the n-th datagram has, of a flood of so many a second.
func (k kind) tuple(n, rate int) int {
	switch k {
	case afterASec: // every second datagram is new, and the others are a second behind
		switch {
		case n%2 == 0:
			return n / 2
		case n < rate:
			return 1<<30 + n // that did not come a second ago, since nothing did
		}
		return (n - rate) / 2
	case atOnce:
		return n / 2
	}
	return n
}

const (
	sources    = 1 << 20
	sourcesNet = 127<<24 | 16<<20 // 127.16.0.0/12
)

// source is where a tuple's SCCRQ comes from, and tunnelID what it calls its tunnel. Those with the same source are 2^20
// apart, and have different ids.
func source(tuple int) uint32   { return sourcesNet | uint32(tuple*0x9e3b1)%sources }
func tunnelID(tuple int) uint16 { return uint16(1 + (tuple*31+tuple/sources)%65535) }

// sccrq is a Start-Control-Connection-Request as an honest peer sends it (RFC 2661 §6.1).
func sccrq() (b []byte, assignedTunnelID int) {
	avp := func(kind uint16, value ...byte) {
		b = binary.BigEndian.AppendUint16(b, 0x8000|uint16(6+len(value)))
		b = append(b, 0, 0)
		b = binary.BigEndian.AppendUint16(b, kind)
		b = append(b, value...)
	}
	b = []byte{0xc8, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	avp(0, 0, 1)               // Message Type
	avp(2, 1, 0)               // Protocol Version
	avp(3, 0, 0, 0, 3)         // Framing Capabilities
	avp(7, []byte("flood")...) // Host Name
	avp(10, 0, 4)              // Receive Window Size
	avp(9, 0, 0)               // Assigned Tunnel ID
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b, len(b) - 2
}

// A floodOrder is one flood.
type floodOrder struct {
	To      netip.AddrPort
	Kind    kind
	Rate    int // datagrams a second
	Seconds float64
}

// newFlooder sends floods. Its socket has all addresses of 127.0.0.0/8, so that what is answered comes to it; nobody reads that.
func newFlooder() roles.Role {
	var f *flooder
	return roles.Role{"flood": roles.Asks(func(order floodOrder) (sent int, err error) {
		if f == nil {
			if f, err = openFlooder(); err != nil {
				return 0, err
			}
		}
		return f.flood(order)
	})}
}

// atATime is how many datagrams a sendmmsg takes.
const atATime = 64

// A flooder has a socket, and what sendmmsg needs for each of the datagrams that it takes at a time: all made before, so that
// the flood costs little.
type flooder struct {
	fd       int
	to       unix.RawSockaddrInet4
	messages [atATime]mmsghdr
	vectors  [atATime]unix.Iovec
	controls [atATime][]byte // IP_PKTINFO, which says the source (ip(7))
	payloads [atATime][]byte
	idAt     int
	tuples   int // that earlier floods have had, or more: each flood has its own
}

// mmsghdr is the kernel's struct of sendmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	sent   uint32
	_      [4]byte
}

const sourceAt = 4 // ipi_spec_dst in struct in_pktinfo

func openFlooder() (*flooder, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // the least there is
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	f := &flooder{fd: fd}
	for i := range f.messages {
		f.payloads[i], f.idAt = sccrq()
		f.vectors[i].Base = &f.payloads[i][0]
		f.vectors[i].SetLen(len(f.payloads[i]))
		c := make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		f.controls[i] = c
		m := &f.messages[i].header
		m.Name, m.Namelen = (*byte)(unsafe.Pointer(&f.to)), unix.SizeofSockaddrInet4
		m.Iov = &f.vectors[i]
		m.SetIovlen(1)
		m.Control = &c[0]
		m.SetControllen(len(c))
	}
	return f, nil
}

// flood sends datagrams at a rate, and tells how many. If this machine is too slow for the rate, they are fewer.
func (f *flooder) flood(order floodOrder) (int, error) {
	if !order.To.Addr().IsLoopback() {
		return 0, fmt.Errorf("expected an address of loopback to flood, found %v", order.To)
	}
	f.to = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: order.To.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&f.to.Port))[:], order.To.Port())
	sent, credit := 0, 0.0
	began := time.Now()
	for last, now := began, began; now.Sub(began).Seconds() < order.Seconds; now = time.Now() {
		// What could not be sent while this process could not run is not sent in one burst afterwards.
		credit = min(credit+now.Sub(last).Seconds()*float64(order.Rate), float64(order.Rate)/10)
		last = now
		for credit >= 1 {
			n := min(int(credit), atATime)
			if err := f.send(n, sent, order); err != nil {
				return sent, err
			}
			sent += n
			credit -= float64(n)
		}
		time.Sleep(time.Millisecond)
	}
	f.tuples += sent
	return sent, nil
}

// send sends n datagrams, of which the first is that with a number of its own in this flood.
func (f *flooder) send(n, number int, order floodOrder) error {
	for i := range n {
		tuple := f.tuples + order.Kind.tuple(number+i, order.Rate)
		binary.BigEndian.PutUint32(f.controls[i][unix.CmsgLen(0)+sourceAt:], source(tuple))
		binary.BigEndian.PutUint16(f.payloads[i][f.idAt:], tunnelID(tuple))
	}
	for done := 0; done < n; {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(f.fd), uintptr(unsafe.Pointer(&f.messages[done])), uintptr(n-done), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("sendmmsg: %w", errno)
		}
		if errno == 0 {
			done += int(sent)
		}
	}
	runtime.KeepAlive(f)
	return nil
}
