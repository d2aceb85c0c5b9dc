package ppp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// IPCP options (RFC 1332 §3, RFC 1877 §1). Those that are not here, Van
// Jacobson compression, the deprecated IP-Addresses and the NetBIOS name
// servers, are rejected.
const (
	ipcpAddress = 3
	ipcpDNS1    = 129
	ipcpDNS2    = 131
)

// ipcp is the IP Control Protocol: its automaton, and what is negotiated.
type ipcp struct {
	ncp

	// What we ask for: a server its own address, a client one for itself and
	// those of two name servers, each the zero Addr until the server has told
	// it. An option that was rejected never returns.
	local    netip.Addr
	dns      [2]netip.Addr
	rejects  bool    // of IP-Address
	unserved [2]bool // rejects of the name servers

	peer netip.Addr // what the peer calls itself, in force
	gift Assignment // server: what the peer gets
}

func (i *ipcp) init(link *Link) {
	i.automaton = automaton{link: link, layer: i, protocol: protocolIPCP, in: &nothing, tries: link.cfg.MaxConfigure}
	i.data = ProtocolIPv4
	i.local = link.cfg.Address
	if link.cfg.Server {
		i.unserved = [2]bool{true, true}
	}
}

// dnsOption is the index of a name server's option.
func dnsOption(kind uint8) (index int, ok bool) {
	switch kind {
	case ipcpDNS1:
		return 0, true
	case ipcpDNS2:
		return 1, true
	}
	return 0, false
}

// request has 0.0.0.0 for "that the peer provide the information" (RFC 1332
// §3.3).
func (i *ipcp) request() (list []option) {
	if !i.rejects {
		list = append(list, addrOption(ipcpAddress, i.local))
	}
	for n, kind := range [...]uint8{ipcpDNS1, ipcpDNS2} {
		if !i.unserved[n] {
			list = append(list, addrOption(kind, i.dns[n]))
		}
	}
	return list
}

func (i *ipcp) review(o option) (verdict, option, error) {
	if i.link.cfg.Server {
		return i.reviewClient(o)
	}
	// A server's own address: it says which, and nothing else is its to ask.
	if a, ok := o.addr(); o.kind == ipcpAddress && ok && usable(a) {
		return ack, o, nil
	}
	return reject, o, nil
}

// reviewClient acknowledges the address that the client was given, and Naks
// any other with it; so too the name servers, of which we may have none.
func (i *ipcp) reviewClient(o option) (verdict, option, error) {
	gift := netip.Addr{}
	if o.kind == ipcpAddress {
		gift = i.gift.Peer
	} else if n, ok := dnsOption(o.kind); ok && n < len(i.gift.DNS) {
		gift = i.gift.DNS[n]
	}
	if !gift.IsValid() {
		return reject, o, nil
	}
	if a, ok := o.addr(); ok && a == gift {
		return ack, o, nil
	}
	return nak, addrOption(o.kind, gift), nil
}

// prompt: "If negotiation about the remote IP-address is required, and the peer
// did not provide the option in its Configure-Request, the option SHOULD be
// appended to a Configure-Nak" (RFC 1332 §3.3).
func (i *ipcp) prompt(listed func(uint8) bool) []option {
	if i.link.cfg.Server && !listed(ipcpAddress) {
		return []option{addrOption(ipcpAddress, i.gift.Peer)}
	}
	return nil
}

func (i *ipcp) granted(list []option) {
	i.peer = netip.Addr{}
	for _, o := range list {
		if o.kind == ipcpAddress {
			i.peer, _ = o.addr()
		}
	}
}

// naked adopts what a client is told. A server keeps its address.
func (i *ipcp) naked(list []option) error {
	if i.link.cfg.Server {
		return nil
	}
	for _, o := range list {
		a, ok := o.addr()
		if o.kind == ipcpAddress {
			if !ok || !usable(a) {
				return i.error("the server gives no usable address but %s", describeAddr(a, ok))
			}
			i.local = a
		} else if n, isDNS := dnsOption(o.kind); isDNS {
			if ok && usable(a) {
				i.dns[n] = a
			} else {
				i.unserved[n] = true
			}
		}
	}
	return nil
}

func (i *ipcp) rejected(list []option) error {
	for _, o := range list {
		if o.kind == ipcpAddress {
			i.rejects = true
			if !i.local.IsValid() {
				return i.error("the server rejects the request for an address")
			}
		} else if n, ok := dnsOption(o.kind); ok {
			i.unserved[n] = true
		}
	}
	return nil
}

// usable is false for an address that no host of a network may have: 0/8, 127/8,
// and from 224/4 on.
func usable(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}

func describeAddr(a netip.Addr, ok bool) string {
	if !ok {
		return "an option of a wrong length"
	}
	return a.String()
}

func (i *ipcp) up(now time.Time) {
	up := Up{MTU: i.link.mtu(), Encryption: i.link.ccp.encryption}
	if i.link.cfg.Server {
		up.Local, up.Peer, up.DNS = i.gift.Local, i.gift.Peer, i.gift.DNS
		i.link.networkUp(now, &i.ncp, up)
		return
	}
	if !i.local.IsValid() {
		i.giveUp(now, i.error("the server gives no address: it acknowledges 0.0.0.0"))
		return
	}
	up.Local, up.Peer = i.local, i.peer
	for n, a := range i.dns {
		// pppd with one name server gives it twice.
		if a.IsValid() && !i.unserved[n] && !slices.Contains(up.DNS, a) {
			up.DNS = append(up.DNS, a)
		}
	}
	i.link.networkUp(now, &i.ncp, up)
}

// Assign answers the [AddressQuestion]. An error takes the link down. An
// answer that nobody waits for any longer is ignored.
func (l *Link) Assign(now time.Time, a Assignment, err error) {
	if !l.unassigned || l.phase == dead || l.phase == terminate {
		return
	}
	l.unassigned = false
	switch {
	case err != nil:
		l.fail(now, &NegotiationError{Protocol: "IPCP", Reason: "no address for the peer", Err: err})
		return
	case !a.Local.Is4() || !a.Peer.Is4():
		l.fail(now, &NegotiationError{Protocol: "IPCP", Reason: fmt.Sprintf("no IPv4 addresses but %v and %v were assigned", a.Local, a.Peer)})
		return
	}
	gift := Assignment{Local: a.Local, Peer: a.Peer}
	for _, dns := range a.DNS {
		if dns.Is4() && len(gift.DNS) < len(l.ipcp.dns) {
			gift.DNS = append(gift.DNS, dns)
		}
	}
	l.ipcp.gift, l.ipcp.local = gift, gift.Local
	l.startNetworks(now)
}
