package node

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Allow is a destination that clients may reach: all addresses of a prefix,
// at one port or, with port 0, at all of them; then echo requests go there, too.
type Allow struct {
	Prefix netip.Prefix
	Port   uint16
}

// ParseAllow reads an address, a prefix, or an address with a port:
// "127.0.0.1", "169.254.0.0/16", "192.168.1.1:53", "[::1]:8080". Names are not
// resolved.
func ParseAllow(s string) (Allow, error) {
	fail := func(format string, args ...any) (Allow, error) {
		return Allow{}, fmt.Errorf("allowed host %q: %s", s, fmt.Sprintf(format, args...))
	}
	host, port := s, uint16(0)
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
		h, p, err := net.SplitHostPort(s)
		if err != nil {
			return fail("expected an address, a prefix, address:port or [address]:port")
		}
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return fail("expected a port from 1 to 65535, found %q", p)
		}
		host, port = h, uint16(n)
	}
	if strings.Contains(host, "/") {
		p, err := netip.ParsePrefix(host)
		switch {
		case err != nil || port != 0:
			return fail("expected a prefix, without a port, such as 192.168.1.0/24")
		case p != p.Masked():
			return fail("the prefix has bits behind its length: expected %v", p.Masked())
		case p.Addr().Is4In6():
			return fail("expected IPv4 addresses as such")
		}
		return Allow{Prefix: p}, nil
	}
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return fail("expected an IP address, found %q", host)
	case a.Zone() != "":
		return fail("expected an address without a zone: clients cannot say one")
	}
	a = a.Unmap()
	return Allow{Prefix: netip.PrefixFrom(a, a.BitLen()), Port: port}, nil
}

// String is what ParseAllow reads.
func (a Allow) String() string {
	switch {
	case !a.Prefix.IsSingleIP():
		return a.Prefix.String()
	case a.Port == 0:
		return a.Prefix.Addr().String()
	}
	return netip.AddrPortFrom(a.Prefix.Addr(), a.Port).String()
}

func (a Allow) has(to netip.AddrPort) bool {
	return a.Prefix.Contains(to.Addr()) && (a.Port == 0 || a.Port == to.Port())
}

// near are the addresses that mean the host, what is on its links, or nobody.
var near = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "means this host (RFC 1122 §3.2.1.3)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "is a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "is link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "is multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "is broadcast"},
	{netip.MustParsePrefix("::/128"), "means this host (RFC 4291 §2.5.2)"},
	{netip.MustParsePrefix("::1/128"), "is a loopback address"},
	{netip.MustParsePrefix("fe80::/10"), "is link-local"},
	{netip.MustParsePrefix("fec0::/10"), "is site-local (RFC 3879)"},
	{netip.MustParsePrefix("ff00::/8"), "is multicast"},
	// What clouds tell their hosts, where it is not link-local.
	{netip.MustParsePrefix("100.100.100.200/32"), "is a metadata service (Alibaba)"},
	{netip.MustParsePrefix("168.63.129.16/32"), "is a metadata service (Azure)"},
	{netip.MustParsePrefix("192.0.0.192/32"), "is a metadata service (Oracle)"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "is a metadata service (Amazon)"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "is a metadata service (Google)"},
}

// hidden is how IPv6 addresses have IPv4 ones in them, which somebody on the way
// may unpack: where the octets are, and whether they are inverted.
var hidden = []struct {
	prefix netip.Prefix
	at     [4]int
	invert bool
}{
	{netip.MustParsePrefix("::ffff:0:0/96"), atEnd, false},   // IPv4-mapped, RFC 4291 §2.5.5.2
	{netip.MustParsePrefix("::/96"), atEnd, false},           // IPv4-compatible, RFC 4291 §2.5.5.1
	{netip.MustParsePrefix("::ffff:0:0:0/96"), atEnd, false}, // IPv4-translated, RFC 2765 §2.1
	{netip.MustParsePrefix("64:ff9b::/96"), atEnd, false},    // NAT64, RFC 6052 §2.1
	// NAT64 of a site, RFC 8215: by prefixes of 48, 56, 64 or 96 bits, RFC 6052 §2.2.
	{siteNAT64, [4]int{6, 7, 9, 10}, false},
	{siteNAT64, [4]int{7, 9, 10, 11}, false},
	{siteNAT64, [4]int{9, 10, 11, 12}, false},
	{siteNAT64, atEnd, false},
	{netip.MustParsePrefix("2002::/16"), [4]int{2, 3, 4, 5}, false}, // 6to4, RFC 3056 §2
	{netip.MustParsePrefix("2001::/32"), atEnd, true},               // Teredo, RFC 4380 §4
}

var (
	atEnd     = [4]int{12, 13, 14, 15}
	siteNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")
)

// hostAddressesFor is how long the host's addresses are remembered.
const hostAddressesFor = 3 * time.Second

// A policy says where clients may go.
type policy struct {
	allow      []Allow
	own        func(netip.Addr) bool // whether it is of the server's clients
	interfaces func() ([]net.Addr, error)

	mu     sync.Mutex
	asked  time.Time
	host   map[netip.Addr]string // what each is
	hostIs error
}

// refuses is why clients may not go there; "": they may.
func (p *policy) refuses(to netip.AddrPort) string {
	addr := to.Addr()
	if p.own(addr) {
		return "is of the server's clients"
	}
	if p.listed(to) {
		return ""
	}
	if why := p.means(addr); why != "" {
		return why
	}
	for _, h := range hidden {
		if !h.prefix.Contains(addr) && !(addr.Is4In6() && h.prefix.Addr().Is4In6()) {
			continue
		}
		b := addr.As16()
		var inner [4]byte
		for i, at := range h.at {
			if inner[i] = b[at]; h.invert {
				inner[i] = ^inner[i]
			}
		}
		v4 := netip.AddrFrom4(inner)
		if h.prefix == siteNAT64 && inner[0] == 0 {
			continue // the prefix is of another length
		}
		if why := p.means(v4); why != "" {
			return fmt.Sprintf("has %v in it, which %s", v4, why)
		}
	}
	return ""
}

// listed tells whether AllowHost has a destination.
func (p *policy) listed(to netip.AddrPort) bool {
	return slices.ContainsFunc(p.allow, func(a Allow) bool { return a.has(to) })
}

// means is in what way an address is the host's or near it; "": it is not.
func (p *policy) means(addr netip.Addr) string {
	for _, n := range near {
		if n.prefix.Contains(addr) {
			return n.what
		}
	}
	host, err := p.hostAddresses()
	if err != nil {
		return "may be the host's, whose addresses could not be read: " + err.Error()
	}
	return host[addr]
}

// hostAddresses are those of the host's interfaces, and the broadcast addresses
// of their networks, or the anycast ones, which are the host's own where it is a router.
func (p *policy) hostAddresses() (map[netip.Addr]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.asked.IsZero() || now.Sub(p.asked) >= hostAddressesFor {
		p.asked = now
		var list []net.Addr
		list, p.hostIs = p.interfaces()
		p.host = make(map[netip.Addr]string, 3*len(list))
		for _, a := range list {
			ipnet, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			addr, _ := netip.AddrFromSlice(ipnet.IP)
			addr = addr.Unmap()
			p.host[addr] = "is the host's own address"
			ones, bits := ipnet.Mask.Size()
			if network := netip.PrefixFrom(addr, ones).Masked().Addr(); addr.Is6() && bits-ones > 1 && p.host[network] == "" {
				p.host[network] = "is the anycast address of a network of the host's (RFC 4291 §2.6.1)"
			}
			if addr.Is4() && bits != 0 && bits-ones > 1 {
				ones += 32 - bits
				network := netip.PrefixFrom(addr, ones).Masked().Addr()
				last := binary.BigEndian.Uint32(network.AsSlice()) | 1<<(32-ones) - 1
				broadcast := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, last)))
				for _, b := range []netip.Addr{network, broadcast} {
					if p.host[b] == "" {
						p.host[b] = "is the broadcast address of a network of the host's"
					}
				}
			}
		}
	}
	return p.host, p.hostIs
}
