package main

import (
	"fmt"
	"net/netip"
)

// An address, a prefix and a nameserver, an address with a port, which is 53 when
// there is none, are flags whose errors say what was expected.
type (
	address    netip.Addr
	prefix     netip.Prefix
	nameserver netip.AddrPort
)

func (a *address) UnmarshalText(text []byte) error {
	addr, err := netip.ParseAddr(string(text))
	if err != nil {
		return fmt.Errorf("expected an IP address such as 10.77.0.1, found %q", text)
	}
	*a = address(addr)
	return nil
}

func (p *prefix) UnmarshalText(text []byte) error {
	pr, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("expected a prefix such as 10.77.0.0/24, found %q", text)
	}
	*p = prefix(pr)
	return nil
}

func (n *nameserver) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		*n = nameserver(netip.AddrPortFrom(addr, 53))
		return nil
	}
	ap, err := netip.ParseAddrPort(string(text))
	if err != nil || ap.Port() == 0 {
		return fmt.Errorf("expected an IP address, and perhaps a port, such as 192.0.2.53 or [2001:db8::53]:5353, found %q", text)
	}
	*n = nameserver(ap)
	return nil
}

func plain(addresses []address) (plain []netip.Addr) {
	for _, a := range addresses {
		plain = append(plain, netip.Addr(a))
	}
	return plain
}
