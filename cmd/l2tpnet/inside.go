package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// insideFlags are what a host has on a link that tells it nothing by itself.
type insideFlags struct {
	Address []cidr    `placeholder:"CIDR" help:"Our address inside with the length of its network, such as 10.77.0.5/24; may be repeated."`
	Gateway []address `placeholder:"ADDR" help:"The router inside; one for IPv4 and one for IPv6 at most. Default: none, or those that advertise themselves."`
	DNS     []address `name:"dns" placeholder:"ADDR" help:"DNS server inside; may be repeated."`
	DHCP    bool      `name:"dhcp" help:"Have address, gateway, DNS servers and MTU leased by DHCP, instead of --address and --gateway."`
	MAC     mac       `name:"mac" placeholder:"MAC" help:"Our Ethernet address. Default: a random one."`
	MTU     int       `name:"mtu" placeholder:"N" help:"Longest IP packet inside, in bytes. Default: what the path outside has room for."`
}

// check finds what does not fit together, where the interface is Ethernet's or not.
func (f *insideFlags) check(ethernet bool) error {
	switch {
	case f.DHCP && len(f.Address) > 0:
		return usage(errors.New("expected --address or --dhcp, found both"), "")
	case f.DHCP && len(f.Gateway) > 0:
		return usage(errors.New("expected --gateway or --dhcp, which tells of one, found both"), "")
	case f.DHCP && !ethernet:
		return usage(errors.New("expected --pw ethernet or vlan:ID with --dhcp, found another type"), "--address gives an address without DHCP")
	case len(f.Gateway) > 0 && !ethernet:
		return usage(errors.New("expected --pw ethernet or vlan:ID with --gateway, found another type"), "where there is no Ethernet everything goes to the other end")
	case f.MAC != nil && !ethernet:
		return usage(errors.New("expected --pw ethernet or vlan:ID with --mac, found another type"), "")
	}
	_, _, err := f.gateways()
	return err
}

// gateways are the router of IPv4 and that of IPv6.
func (f *insideFlags) gateways() (four, six netip.Addr, err error) {
	for _, g := range f.Gateway {
		which := &four
		if netip.Addr(g).Is6() {
			which = &six
		}
		if which.IsValid() {
			return four, six, usage(fmt.Errorf("--gateway: expected one router for IPv4 and one for IPv6 at most, found %v and %v", which, netip.Addr(g)), "")
		}
		*which = netip.Addr(g)
	}
	return four, six, nil
}

// apply sets up a pseudowire.
func (f *insideFlags) apply(p *node.Pseudowire) {
	for _, a := range f.Address {
		p.Addresses = append(p.Addresses, netip.Prefix(a))
	}
	p.Gateway, p.Gateway6, _ = f.gateways()
	p.DNS, p.DHCP, p.MAC = plain(f.DNS), f.DHCP, net.HardwareAddr(f.MAC)
}

// ofNetstack is an error of package netstack, whose name says nothing to a user.
func ofNetstack(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "netstack: "))
}

// oneLine is an error that has several lines.
func oneLine(err error) error {
	if err == nil || !strings.Contains(err.Error(), "\n") {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}
