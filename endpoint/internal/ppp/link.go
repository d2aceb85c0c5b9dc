package ppp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
)

// A Link is one PPP link: a machine.Machine[Event]. Its packets are PPP frames,
// from the address octet FF on.
type Link struct {
	machine.Output[Event]
	cfg Config

	phase      phase
	beforeOpen [][]byte  // frames that came before Open
	ended      bool      // Down has been told
	setup      time.Time // when the way to the network phase is too long; zero: not on the way
	up         bool      // a network is

	lcp      lcp
	exchange exchange  // of the Authenticate phase; nil before
	wait     time.Time // when the exchange's wait is over
	authID   uint8     // the last identifier of a PAP request, CHAP Challenge or EAP Request
	proxy    *Proxy    // what a LAC has left for it; nil: nothing, or taken
	asked    bool      // an AuthQuestion is the owner's to answer
	user     string
	master   *[16]byte // what the authentication leaves for encryption; nil: nothing

	ccp      ccp
	ipcp     ipcp
	ipv6cp   ipv6cp
	started  bool      // the NCPs are, in this network phase
	settled  bool      // Settled has been told
	sizing   *sizing   // nil: the path is not measured
	patience time.Time // when it is told without IPV6CP

	askedAddress bool // the AddressQuestion has been asked
	unassigned   bool // and is the owner's to answer

	notices  int    // how many have been told
	closed   bool   // by the owner
	farewell string // the data of our Terminate-Request
	err      error  // why the link ends: the first cause
}

var _ machine.Machine[Event] = (*Link)(nil)

// A phase of a link (RFC 1661 §3.2).
type phase uint8

const (
	dead phase = iota
	establish
	authenticate
	network
	terminate
)

func (p phase) String() string {
	return [...]string{"Dead", "Establish", "Authenticate", "Network", "Terminate"}[p]
}

// New is a link in the Dead phase.
func New(cfg Config) *Link {
	l := &Link{cfg: cfg.withDefaults()}
	l.lcp.init(l)
	l.ccp.init(l)
	l.ipcp.init(l)
	l.ipv6cp.init(l)
	return l
}

// Open says that the lower layer is up: LCP starts. A link is opened once.
func (l *Link) Open(now time.Time) { l.OpenProxied(now, Proxy{}) }

// OpenProxied is Open where a LAC has begun in our place.
func (l *Link) OpenProxied(now time.Time, p Proxy) {
	if l.phase != dead || l.ended {
		return
	}
	l.setPhase(now, establish)
	l.lcp.event(now, evOpen)
	if !l.resume(now, p) {
		l.lcp.event(now, evUp)
	}
	early := l.beforeOpen
	l.beforeOpen = nil
	for _, frame := range early {
		l.Handle(now, frame)
	}
}

// Close takes the link down; reason goes to the peer. [Down] follows when the
// peer has acknowledged it, or does not in time.
func (l *Link) Close(now time.Time, reason string) {
	switch {
	case l.phase == terminate || l.ended: // on its way, for another reason
	case l.phase == dead:
		l.ended = true
		l.Emit(Down{})
	default:
		l.closed = true
		l.takeDown(now, reason)
	}
}

// fail takes the link down because of an error.
func (l *Link) fail(now time.Time, err error) {
	l.blame(err)
	reason := "negotiation failed"
	switch err := err.(type) {
	case *AuthError:
		reason = saysNo
		if !err.Ours {
			reason = "authentication refused"
		}
	case *TimeoutError:
		reason = "timeout"
	case *EncryptionError:
		reason = "encryption required"
	case *NegotiationError:
		if errors.Is(err, ErrNoAddress) {
			reason = ErrNoAddress.Error()
		}
	}
	l.takeDown(now, reason)
}

// blame notes why the link ends, if nothing has been noted before: what
// follows from the cause is not the cause.
func (l *Link) blame(err error) {
	if l.err != nil || l.closed {
		return
	}
	l.err = err
	if _, ok := err.(*EncryptionError); !ok && l.lcp.demanded != "" {
		l.err = &MethodError{Demanded: l.lcp.demanded, Allowed: l.cfg.Methods, Err: err}
	}
}

func (l *Link) takeDown(now time.Time, reason string) {
	if l.phase == dead || l.phase == terminate {
		return
	}
	l.farewell = cutTo(reason, 128)
	l.lcp.event(now, evClose)
	if l.phase != dead {
		l.setPhase(now, terminate)
	}
}

// setPhase enters a phase.
func (l *Link) setPhase(now time.Time, p phase) {
	if p == l.phase {
		return
	}
	was := l.phase
	l.phase = p
	if was == network {
		l.stopNetworks(now)
	}
	l.wait = time.Time{}
	l.lcp.echo.timer = time.Time{}
	l.sizing = nil
	switch p {
	case establish:
		l.exchange, l.master = nil, nil
		if l.setup.IsZero() && l.cfg.SetupTimeout > 0 {
			l.setup = now.Add(l.cfg.SetupTimeout)
		}
	case authenticate:
		l.startExchange(now)
	case network:
		l.lcp.startEcho(now)
		l.enterNetwork(now)
	case terminate:
		l.setup = time.Time{}
	case dead:
		l.setup = time.Time{}
		l.exchange = nil
		l.ended = true
		l.Emit(Down{Err: l.err})
	}
}

// protocolRejected takes the peer's word that it does not know a protocol of
// ours.
func (l *Link) protocolRejected(now time.Time, protocol uint16) {
	switch {
	case protocol == protocolIPCP && l.ipcp.state >= closed:
		l.ipcp.protocolRejected(now)
	case protocol == protocolIPV6CP && l.ipv6cp.state >= closed:
		l.ipv6cp.protocolRejected(now)
	// What it does not want to receive is as good as what it does not want to agree
	// on: "Upon reception of a Protocol-Reject, the implementation MUST stop sending
	// packets of the indicated protocol at the earliest opportunity" (RFC 1661 §5.7).
	case protocol == ProtocolIPv4 && l.ipcp.state == opened:
		l.ipcp.protocolRejected(now)
	case protocol == ProtocolIPv6 && l.ipv6cp.state == opened:
		l.ipv6cp.protocolRejected(now)
	case protocol == protocolCCP && l.ccp.state >= closed:
		l.ccp.protocolRejected(now)
		l.ccp.check(now)
	case protocol == ProtocolMPPE && l.ccp.encryption != nil: // it missed that we agreed
		l.fail(now, &EncryptionError{l.ccp.error("the peer rejects encrypted packets")})
	case l.phase == authenticate && protocol == l.exchange.protocol():
		switch x := l.exchange.(type) {
		case *forsaken:
		case claimant:
			l.exchange, l.wait = &forsaken{x, l}, now.Add(l.cfg.Restart)
		default:
			l.fail(now, errForsaken)
		}
	}
}

// Handle takes a frame from the peer, with or without FF 03, with a protocol
// of one octet or two. IPv4 datagrams are the owner's and ignored here.
func (l *Link) Handle(now time.Time, frame []byte) {
	if l.phase == dead {
		l.keepEarly(frame)
		return
	}
	protocol, information, ok := ParseFrame(frame)
	if !ok || len(information) > max(fullMRU, l.cfg.MRU) {
		return
	}
	l.lcp.heard(now)
	if x, ok := l.exchange.(*eapClient); ok && l.phase == authenticate && isNCP(protocol) {
		x.implied(now)
	}
	switch protocol {
	case protocolLCP:
		if p, ok := parsePacket(information); ok {
			l.lcp.receivePacket(now, p)
		}
	case protocolPAP, protocolCHAP, protocolEAP:
		// "Authentication packets received during any other phase MUST be
		// silently discarded", and those of a protocol that was not agreed on.
		p, ok := parsePacket(information)
		if ok && (l.phase == authenticate || l.phase == network) && l.exchange != nil && l.exchange.protocol() == protocol {
			l.exchange.handle(now, p)
		}
	default:
		// The rest is of the Network phase. Before it, packets of NCPs and others
		// "MUST be silently discarded" (RFC 1661 §3.4, §3.5).
		if l.phase == network {
			l.receiveNetwork(now, protocol, information)
		}
	}
}

// Expire tells that the deadline has passed.
func (l *Link) Expire(now time.Time) {
	if l.phase == dead {
		return
	}
	l.lcp.expire(now)
	l.ccp.expire(now)
	l.ipcp.expire(now)
	l.ipv6cp.expire(now)
	if past(now, l.patience) {
		l.tellSettled()
	}
	if past(now, l.wait) {
		l.wait = time.Time{}
		l.exchange.expire(now)
	}
	l.lcp.expireEcho(now)
	l.expireSizing(now)
	l.checkSizing(now)
	if past(now, l.setup) {
		l.fail(now, &TimeoutError{Waited: fmt.Sprintf("working network (still in the %v phase)", l.phase), After: l.cfg.SetupTimeout})
	}
}

// Deadline is when Expire is to be called.
func (l *Link) Deadline() time.Time {
	return machine.Earliest(l.lcp.deadline(), l.ccp.deadline(), l.ipcp.deadline(), l.ipv6cp.deadline(),
		l.patience, l.wait, l.lcp.echo.timer, l.sizingDeadline(), l.setup)
}

// noticesMax is how many Notices there are in a link's life: a peer fills no log.
const noticesMax = 8

// notice hands up words of the peer that are for humans.
func (l *Link) notice(packet string, text []byte) {
	if l.notices < noticesMax {
		l.notices++
		l.Emit(Notice{Packet: packet, Text: string(text)})
	}
}

func (l *Link) send(protocol uint16, p packet) { l.Send(p.frame(protocol)) }

// cut is as much of b as a packet to the peer may carry beside n other octets
// of data.
func (l *Link) cut(b []byte, n int) []byte {
	return cutTo(b, l.lcp.peerMRU-packetHeaderLen-n)
}

func (l *Link) random(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(l.cfg.Rand, b); err != nil {
		panic("BUG: ppp: the random source failed: " + err.Error())
	}
	return b
}

// random32 is a random number that is not zero.
func (l *Link) random32() uint32 {
	for {
		if v := binary.BigEndian.Uint32(l.random(4)); v != 0 {
			return v
		}
	}
}
