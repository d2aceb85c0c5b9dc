package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// v3DialFlags are those of the commands that dial by L2TPv3.
type v3DialFlags struct {
	V3       bool       `name:"v3" help:"Dial by L2TPv3, and open a pseudowire of --pw's type. The flags of this group go with it."`
	Fallback bool       `help:"With --pw ppp: go on in L2TPv2 with servers that do not speak L2TPv3."`
	PW       pseudowire `name:"pw" placeholder:"TYPE" help:"What the pseudowire carries: ethernet, vlan:ID, ip or ppp. Default: ppp with --user or --fallback, else ethernet."`
	circuitFlags
	v3Flags
}

// given is the first flag that wants --v3; "": none.
func (f *v3DialFlags) given() string {
	for _, name := range []string{
		firstGiven([]flagGiven{{"--fallback", f.Fallback}, {"--pw", f.PW.kind != 0 && f.PW.kind != endpoint.PseudowirePPP}}),
		f.circuitFlags.given(), f.v3Flags.given(),
	} {
		if name != "" {
			return name
		}
	}
	return ""
}

// kind is the type of the session, and its VLAN.
func (f *dialFlags) kind() pseudowire {
	switch {
	case f.PW.kind != 0:
		return f.PW
	case !f.V3 || f.User != "" || f.Fallback:
		return pseudowire{kind: endpoint.PseudowirePPP}
	}
	return pseudowire{kind: endpoint.PseudowireEthernet}
}

// negotiate sets up what a client has by L2TPv3, and inside, and finds what does not fit
// together.
func (f *dialFlags) negotiate(c *node.Client) (err error) {
	pw := f.kind()
	ppp := pw.kind == endpoint.PseudowirePPP
	if err := f.checkV3(pw); err != nil {
		return err
	}
	four, six, err := f.gateways()
	if err != nil {
		return err
	}
	c.Gateway, c.Gateway6, c.DNS, c.DHCP, c.MAC = four, six, plain(f.DNS), f.DHCP, net.HardwareAddr(f.MAC)
	for _, a := range f.Address {
		c.Addresses = append(c.Addresses, netip.Prefix(a))
	}
	if ppp {
		c.MRU = f.MTU
	}
	if !f.V3 {
		return nil
	}
	c.Fallback = f.Fallback
	if c.V3, err = f.v3(c.Secret); err != nil {
		return err
	}
	if c.Pseudowire, err = f.circuitFlags.pseudowire(pw); err == nil && !ppp {
		c.Pseudowire.MTU = f.MTU
	}
	return err
}

// checkV3 finds flags that are for something else than what is dialled.
func (f *dialFlags) checkV3(pw pseudowire) error {
	ppp := pw.kind == endpoint.PseudowirePPP
	if name := f.v3DialFlags.given(); !f.V3 && name != "" {
		return usage(fmt.Errorf("expected --v3 with %s, found none", name), "L2TPv2, which is dialled without --v3, carries PPP alone")
	}
	switch {
	case f.Fallback && !ppp:
		return usage(fmt.Errorf("expected --pw ppp with --fallback, since L2TPv2 carries nothing else, found --pw %s", pw.flag()), "")
	case !ppp && f.pppFlags.given() != "":
		return usage(fmt.Errorf("expected --pw ppp with %s, found --pw %s", f.pppFlags.given(), pw.flag()), "only PPP has users; the peers of L2TPv3 know each other by the tunnel secret (--secret-file, L2TPNET_SECRET)")
	case f.OutgoingCall != "" && f.RemoteEndID != "":
		return usage(errors.New("expected --remote-end-id or --outgoing-call, which asks for a circuit to be brought up, found both"), "")
	case ppp && len(f.Address) > 1, ppp && len(f.Address) == 1 && !netip.Prefix(f.Address[0]).Addr().Is4():
		return usage(errors.New("--address: expected one IPv4 address with PPP, found another one"), "IPv6 addresses come by router advertisements")
	case ppp && f.DHCP && f.V3:
		return usage(errors.New("expected --pw ethernet or vlan:ID with --dhcp, found --pw ppp"), "PPP negotiates its addresses by itself; --user and --fallback are for PPP")
	case !ppp && len(f.Address) == 0 && !pw.ethernet() && !f.DHCP:
		return usage(errors.New("expected --address with --pw ip, found none"), "for example: --address 10.77.0.5/32")
	case !ppp && len(f.Address) == 0 && !f.DHCP && f.NoIPv6:
		return usage(errors.New("expected --address or --dhcp, found none"), "for example: --address 10.77.0.5/24 --gateway 10.77.0.1")
	}
	if err := f.insideFlags.check(pw.ethernet()); err != nil {
		if !f.V3 {
			err = usage(err, "with --v3 there are pseudowires of Ethernet; PPP gives addresses itself")
		}
		return err
	}
	return nil
}
