package ppp

import "time"

// The only IPV6CP option that we know (RFC 5072 §4). Others, such as
// IPv6-Compression-Protocol (RFC 5172), are rejected.
const ipv6cpInterface = 1

// minMTU6 is the least that an IPv6 link may have (RFC 8200 §5). "PPP links
// supporting IPv6 MUST allow the information field to be at least as large"
// (RFC 5072 §2).
const minMTU6 = 1280

// interfaceID is an Interface-Identifier; zero stands for none.
type interfaceID [8]byte

// ipv6cp is the IPv6 Control Protocol: its automaton, and what is negotiated.
type ipv6cp struct {
	ncp
	local    interfaceID // what we ask for, never zero
	rejects  bool        // of that option
	peer     interfaceID // what the peer calls itself, in force
	proposed interfaceID // in our last Configure-Nak
}

func (i *ipv6cp) init(link *Link) {
	i.automaton = automaton{link: link, layer: i, protocol: protocolIPV6CP, in: &nothing, tries: link.cfg.MaxConfigure}
	i.data = ProtocolIPv6
	if !link.cfg.NoIPv6 {
		i.local = i.random()
	}
}

// random is an identifier of an end of the link. "The "u" bit of the interface
// identifier MUST be set to zero" (RFC 5072 §4.1).
func (i *ipv6cp) random() interfaceID {
	for {
		id := interfaceID(i.link.random(len(interfaceID{})))
		id[0] &^= 0x02
		if id != (interfaceID{}) && id != i.local && id != i.peer {
			return id
		}
	}
}

func (id interfaceID) option() option { return option{ipv6cpInterface, id[:]} }

// interfaceOf is the identifier in an option's data; zero if there is none.
func interfaceOf(o option) (id interfaceID) {
	if len(o.data) == len(id) {
		id = interfaceID(o.data)
	}
	return id
}

func (i *ipv6cp) request() []option {
	if i.rejects {
		return nil
	}
	return []option{i.local.option()}
}

// review: "If the two interface identifiers are different and the received
// interface identifier is not zero, the interface identifier MUST be
// acknowledged"; zero, and our own, get a Nak "with a non-zero
// interface-identifier value suggested for use by the remote peer" (RFC 5072 §4.1).
func (i *ipv6cp) review(o option) (verdict, option, error) {
	switch id := interfaceOf(o); {
	case o.kind != ipv6cpInterface:
		return reject, o, nil
	case id == (interfaceID{}) || id == i.local:
		return nak, i.propose(), nil
	}
	return ack, o, nil
}

// propose is an identifier for the peer: the same as long as it will do.
func (i *ipv6cp) propose() option {
	if i.proposed == (interfaceID{}) || i.proposed == i.local {
		i.proposed = i.random()
	}
	return i.proposed.option()
}

// prompt: "If negotiation of the interface identifier is required, and the peer
// did not provide the option in its Configure-Request, the option SHOULD be
// appended to a Configure-Nak." "If the next Configure-Request does not include
// this option, the peer MUST NOT send another Configure-Nak with this option"
// (RFC 5072 §4.1).
func (i *ipv6cp) prompt(listed func(uint8) bool) []option {
	if listed(ipv6cpInterface) || i.failures > 0 {
		return nil
	}
	return []option{i.propose()}
}

func (i *ipv6cp) granted(list []option) {
	i.peer = interfaceID{}
	for _, o := range list {
		i.peer = interfaceOf(o)
	}
}

// naked: "Reception of a Configure-Nak with a suggested interface identifier
// different from that of the last Configure-Nak sent to the peer indicates a
// unique interface identifier. In this case, a new Configure-Request MUST be
// sent with the identifier value suggested in the last Configure-Nak from the
// peer. But if the received interface identifier is equal to the one sent in the
// last Configure-Nak, a new interface identifier MUST be chosen" (RFC 5072 §4.1).
func (i *ipv6cp) naked(list []option) error {
	for _, o := range list {
		if o.kind != ipv6cpInterface {
			continue
		}
		if id := interfaceOf(o); id != (interfaceID{}) && id != i.proposed && id != i.peer {
			i.local = id
		} else {
			i.local = i.random()
		}
	}
	return nil
}

func (i *ipv6cp) rejected([]option) error {
	i.rejects = true
	return i.error("the peer rejects our interface identifier")
}

func (i *ipv6cp) up(now time.Time) {
	mtu := i.link.mtu()
	switch {
	case i.rejects:
		i.giveUp(now, i.rejected(nil))
	case i.peer == (interfaceID{}):
		i.giveUp(now, i.error("the peer has no interface identifier"))
	case mtu < minMTU6:
		i.giveUp(now, i.error("the MTU is %d, and IPv6 needs %d", mtu, minMTU6))
	default:
		i.link.networkUp(now, &i.ncp, Up6{Local: i.local, Peer: i.peer, MTU: mtu, Encryption: i.link.ccp.encryption})
	}
}
