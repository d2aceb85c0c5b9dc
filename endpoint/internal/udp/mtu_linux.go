package udp

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Datagrams are not to be fragmented on their way: a lost fragment loses all of
// them, and many middleboxes lose every one. So they carry DF, the system learns from
// ICMP what the path lets through, and refuses what is longer (EMSGSIZE), which is
// how we learn it. What has been refused is fragmented nevertheless: a control
// message, or one that was on its way when the path was found to be narrow, is
// better late and in pieces than lost.

// A discovery is the option by which a socket's datagrams of one version of IP
// carry DF: IP_MTU_DISCOVER (ip(7)), IPV6_MTU_DISCOVER (ipv6(7)).
type discovery struct{ level, option, want, do int }

var (
	discovery4 = discovery{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_WANT, unix.IP_PMTUDISC_DO}
	discovery6 = discovery{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_WANT, unix.IPV6_PMTUDISC_DO}
)

// discover has datagrams refused that would be fragmented, where the system's
// default has them fragmented. Who has chosen something else for the socket, or for
// the system, keeps that.
func (f *fast) discover(fd int) {
	for _, d := range []discovery{discovery4, discovery6} {
		if d.level == unix.IPPROTO_IPV6 && !f.six {
			continue
		}
		if is, err := unix.GetsockoptInt(fd, d.level, d.option); err == nil && is == d.want &&
			unix.SetsockoptInt(fd, d.level, d.option, d.do) == nil {
			f.discoveries = append(f.discoveries, d)
		}
	}
}

// sendInPieces sends a message that is fragmented, and reports whether it went. Where the
// system knows of no need for that, lost is the length of datagrams beyond which they get
// lost: IPv4's is left to the routers, which IPv6's must not be. raw.Write lets in one at a
// time, and sendWhole not meanwhile. What send does then may be fragmented as well, and is
// refused the next time.
func (f *fast) sendInPieces(m *message, lost int) (sent bool) {
	if len(f.discoveries) == 0 {
		return false
	}
	err := f.raw.Write(func(fd uintptr) bool {
		for _, d := range f.discoveries {
			how := d.want
			if lost > 0 && d == discovery4 {
				how = unix.IP_PMTUDISC_DONT
			}
			unix.SetsockoptInt(int(fd), d.level, d.option, how)
			if lost > 0 && d == discovery6 {
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU, max(lost+headers6, leastMTU6))
			}
		}
		_, errno := f.calls.send(int(fd), m)
		for errno == unix.EINTR {
			_, errno = f.calls.send(int(fd), m)
		}
		for _, d := range f.discoveries {
			unix.SetsockoptInt(int(fd), d.level, d.option, d.do)
			if lost > 0 && d == discovery6 {
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU, 0)
			}
		}
		sent = errno == 0
		return errno != unix.EAGAIN
	})
	return sent && err == nil
}

// leastMTU6 is what every link of IPv6 carries (RFC 8200 §5).
const leastMTU6 = 1280

// tooLong learns from the refusal of a datagram of n bytes.
func (f *fast) tooLong(p *Path, n int) {
	if max := p.MaxDatagram(); max > 0 && n > max {
		return
	}
	mtu, err := f.pathMTU(p)
	if err != nil {
		mtu = 0
	}
	p.tooLong(n, mtu)
}

// beyondPath tells whether datagrams of n bytes are longer than the system lets through on
// the path, and learns it then.
func (f *fast) beyondPath(p *Path, n int) bool {
	mtu, err := f.pathMTU(p)
	if err != nil || mtu <= 0 || n <= mtu-p.headers() {
		return false
	}
	p.tooLong(n, mtu)
	return true
}

// pathMTU is what the system knows of the path, in bytes of IP packets. It tells
// connected sockets only, so another one asks it, which sends nothing.
func (f *fast) pathMTU(p *Path) (mtu int, err error) {
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
	if !p.Peer.Addr().Is4() {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	s, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(s)
	// Routes depend on these.
	f.raw.Control(func(fd uintptr) {
		if device, err := unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err == nil && device != "" {
			unix.BindToDevice(s, device)
		}
		if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err == nil && mark != 0 {
			unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_MARK, mark)
		}
	})
	if p.Local.IsValid() {
		if err := unix.Bind(s, unixAddr(netip.AddrPortFrom(p.Local, 0))); err != nil {
			return 0, fmt.Errorf("bind: %w", err)
		}
	}
	if err := unix.Connect(s, unixAddr(p.Peer)); err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	return unix.GetsockoptInt(s, level, option)
}

func unixAddr(a netip.AddrPort) unix.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: zoneIndex(a.Addr().Zone())}
}
