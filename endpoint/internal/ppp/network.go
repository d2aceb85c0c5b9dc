package ppp

import (
	"cmp"
	"fmt"
	"time"
)

// This file is the Network-Layer Protocol phase (RFC 1661 §3.6): its control
// protocols, each of which comes up and goes down for itself.

// An ncp is a Network Control Protocol: an automaton, and what became of it.
type ncp struct {
	automaton
	data  uint16 // the protocol of its datagrams
	isUp  bool   // Up or Up6 has been told, and no NetworkDown since
	err   error  // why it is not opened; nil: it may be, or may yet
	early []byte // the peer's last packet before we started
}

// failed says that it has ended, and that nothing is under way.
func (n *ncp) failed() bool { return n.err != nil && n.state < reqSent }

// blame notes why it ends: what follows from the cause is not the cause.
func (n *ncp) blame(err error) {
	if n.err == nil {
		n.err = err
	}
}

// giveUp ends this protocol because of an error, and the link if it serves
// nothing else.
func (n *ncp) giveUp(now time.Time, err error) {
	n.blame(err)
	if n.link.serves(n) {
		n.event(now, evClose)
		n.link.settle(now)
	} else {
		n.link.fail(now, n.link.networkError())
	}
}

func (n *ncp) finished(now time.Time) {
	n.blame(cmp.Or(n.parting, n.error("it has ended")))
	if n.link.serves(n) {
		n.link.settle(now)
		return
	}
	n.link.blame(n.link.networkError())
	n.link.takeDown(now, n.name()+" has ended")
}

func (n *ncp) down(now time.Time) {
	if !n.isUp {
		return
	}
	n.isUp = false
	n.link.networkDown(now, n)
}

func (n *ncp) terminated(reason string) error {
	return n.error("the peer terminates it: %s", quote(reason))
}

func (n *ncp) error(format string, args ...any) error {
	return &NegotiationError{Protocol: n.name(), Reason: fmt.Sprintf(format, args...)}
}

// networks are the protocols that we want.
func (l *Link) networks() []*ncp {
	if l.cfg.NoIPv6 {
		return []*ncp{&l.ipcp.ncp}
	}
	return []*ncp{&l.ipcp.ncp, &l.ipv6cp.ncp}
}

// serves says whether the link has another network than that one, or may have.
func (l *Link) serves(but *ncp) bool {
	for _, n := range l.networks() {
		if n != but && !n.failed() {
			return true
		}
	}
	return false
}

// networkError is why no network is left.
func (l *Link) networkError() error {
	var errs []error
	for _, n := range l.networks() {
		if n.err != nil {
			errs = append(errs, n.err)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return &NetworkError{errs}
}

// enterNetwork begins the phase. Two things come before the first NCP: a server
// needs to know the addresses, and asks once; and encryption is agreed on, since
// "peers MUST NOT transmit user data until the MPPE negotiation is complete"
// (RFC 3078 §9).
func (l *Link) enterNetwork(now time.Time) {
	l.ccp.start(now)
	if l.phase == network && l.cfg.Server && !l.askedAddress {
		l.askedAddress, l.unassigned = true, true
		l.Emit(AddressQuestion{User: l.user})
	}
	l.startNetworks(now)
}

// startNetworks opens the NCPs, when nothing has to come before them.
func (l *Link) startNetworks(now time.Time) {
	if l.phase != network || l.started || l.ccp.pending || l.cfg.Server && !l.ipcp.gift.Peer.IsValid() {
		return
	}
	l.started = true
	for _, n := range l.networks() {
		n.err = nil
	}
	for _, n := range l.networks() {
		if l.started { // the one before may have ended the link
			n.open(now)
		}
	}
	for _, n := range l.networks() {
		early := n.early
		n.early = nil
		if p, ok := parsePacket(early); ok {
			n.receive(now, p)
		}
	}
}

// open begins the negotiation, when LCP and the authentication are done.
func (a *automaton) open(now time.Time) {
	if a.state == initial {
		a.event(now, evOpen)
	}
	a.event(now, evUp)
}

// stopNetworks takes the NCPs down with the layer below them.
func (l *Link) stopNetworks(now time.Time) {
	l.started = false
	l.patience = time.Time{}
	for _, n := range l.networks() {
		n.early = nil
		if n.state >= closed {
			n.event(now, evDown)
		}
	}
	l.ccp.stop(now)
}

// receiveNetwork takes what is neither LCP nor authentication. "While LCP is in
// the Opened state, any protocol packet which is unsupported by the
// implementation MUST be returned in a Protocol-Reject … Only protocols which are
// supported are silently discarded" (RFC 1661 §3.6).
func (l *Link) receiveNetwork(now time.Time, protocol uint16, information []byte) {
	for _, n := range l.networks() {
		switch protocol {
		case n.protocol:
			l.receiveNCP(now, n, information)
			return
		case n.data: // the owner's, when the NCP is opened
			return
		}
	}
	switch {
	case protocol == protocolCCP && l.ccp.state >= closed:
		if p, ok := parsePacket(information); ok {
			l.ccp.receive(now, p)
		}
	case protocol == ProtocolMPPE && (l.ccp.pending || l.ccp.encryption != nil): // as n.data
	default:
		l.lcp.rejectProtocol(protocol, information)
	}
}

// receiveNCP takes a packet of an NCP that we want. One that comes before we
// have started is kept: the peer is ahead of us, and would repeat it, but
// seconds later.
func (l *Link) receiveNCP(now time.Time, n *ncp, information []byte) {
	p, ok := parsePacket(information)
	switch {
	case !ok:
	case !l.started:
		n.early = append(n.early[:0], information...)
	default:
		n.receive(now, p)
	}
}

// mtu is the most octets that a datagram to the peer may have.
func (l *Link) mtu() int {
	mtu := min(l.lcp.peerMRU, l.cfg.MRU)
	if l.ccp.encryption != nil {
		mtu -= EncryptionLen
	}
	return mtu
}

// networkUp tells that an NCP is opened.
func (l *Link) networkUp(now time.Time, n *ncp, up Event) {
	n.isUp, l.up = true, true
	n.err = nil
	l.setup = time.Time{}
	l.lcp.requests, n.requests = 0, 0
	l.lcp.demanded = ""
	// The peer's first datagram may be right behind our Configure-Ack's arrival: who
	// carries it must be ready before that is sent. RFC 1661 §4.1: "multiple actions
	// may be implemented in any convenient order."
	l.EmitBefore(up)
	l.settle(now)
}

// networkDown tells that an NCP is not opened any longer.
func (l *Link) networkDown(now time.Time, n *ncp) {
	l.patience = time.Time{}
	l.up = false
	for _, n := range l.networks() {
		l.up = l.up || n.isUp
	}
	if !l.up && l.cfg.SetupTimeout > 0 {
		l.setup = now.Add(l.cfg.SetupTimeout)
	}
	l.Emit(NetworkDown{Protocol: n.data})
}

// patience6 is for how long IPv4 waits for IPv6: one request that was lost, and
// its repetition.
const patience6 = 2 * time.Second

// settle tells, once, that the session is as complete as it will be. A peer
// that does not answer IPV6CP, though it should reject it, delays IPv4 by 2 s only.
func (l *Link) settle(now time.Time) {
	if l.settled || l.phase != network {
		return
	}
	for _, n := range l.networks() {
		if n.isUp || n.failed() {
			continue
		}
		if n == &l.ipv6cp.ncp && l.ipcp.isUp && l.patience.IsZero() {
			l.patience = now.Add(patience6)
		}
		return
	}
	l.tellSettled()
}

func (l *Link) tellSettled() {
	l.settled = true
	l.patience = time.Time{}
	l.Emit(Settled{})
}
