package main

import (
	"fmt"
	"net/netip"
)

// An address and a prefix are flags whose errors say what was expected.
type (
	address netip.Addr
	prefix  netip.Prefix
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

func plain(addresses []address) (plain []netip.Addr) {
	for _, a := range addresses {
		plain = append(plain, netip.Addr(a))
	}
	return plain
}
