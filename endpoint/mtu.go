package endpoint

import (
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/control"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
)

// An MTUSetter is a [link.Sink] that wants to know how long the packets may be that
// it has sent through the session it is attached to: a netstack.NIC, a
// netstack.Port. SetMTU gets the session's MTU in bytes, as of [Session.MTU], after
// [Session.Attach] and whenever it changes: before the session drops what is longer,
// or once it takes longer ones. It must not wait for the session or its tunnel.
type MTUSetter interface{ SetMTU(mtu int) }

// What a session carries at least, in bytes of IP packets. Where the path lets less
// through, the datagrams are fragmented, if the system has a way for that.
const (
	leastMTU4 = 576  // RFC 791 §3.1: what every host is prepared to accept
	leastMTU6 = 1280 // RFC 8200 §5: below that, "link-specific fragmentation and reassembly must be provided at a layer below IPv6"
)

// MTU is the largest inner IP packet, in bytes; 0 while none may flow. It is what PPP
// has negotiated, what an Ethernet frame may have behind its header of 14 octets (4 more
// if it has a tag), or the length of another pseudowire's frames; or less when the path
// to the peer turns out to be narrow; ten minutes later it is tried again whether the
// path still is.
//
// That it is narrow, the system tells, which hears it from ICMP. Where ICMP gets lost, it
// is found out by messages as long as packets may be, when the session begins, every ten
// minutes, every twenty seconds while something is sent, and by [Session.Probe]:
// Echo-Requests of PPP where PPP ends here, and Hellos of a tunnel of L2TPv3 for sessions
// where it does not. Nobody asks so in static sessions, and in those of L2TPv2 whose PPP
// passes as it is ([Switch]): they have what the system tells. The two ends of the
// PPP that passes may find out.
func (s *Session) MTU() int { return s.carries.Load().least() }

func (c *carriage) least() int {
	if c.mtu > 0 {
		return c.mtu
	}
	if c.mtu4 == 0 || c.mtu6 == 0 {
		return max(c.mtu4, c.mtu6)
	}
	return min(c.mtu4, c.mtu6)
}

// fit makes the MTUs what PPP has negotiated and the path lets through.
func (c *carriage) fit(path int) {
	if c.negotiated4 == 0 && c.negotiated6 == 0 {
		c.mtu4, c.mtu6 = 0, 0
		return
	}
	path = max(path, c.floor())
	c.mtu4, c.mtu6 = min(c.negotiated4, path), min(c.negotiated6, path)
}

// floor is the least MTU: that of an interface is one for both versions of IP.
func (c *carriage) floor() int {
	if c.negotiated6 > 0 {
		return leastMTU6
	}
	return leastMTU4
}

// measure has PPP find out whether packets as long as the MTU come through, which
// nobody may tell if they do not. On the loop.
func (p *pppEnd) measure() {
	s := p.session
	p.runner.Do(func(now time.Time) {
		if s.MTU() == 0 {
			return
		}
		p.proved = 0
		p.cutToPieces()
		s.carry(func(*carriage) {})
		c := s.carries.Load()
		p.link.Measure(now, max(c.mtu4, c.mtu6))
	})
}

// pieces are a way to the peer of a session's own, on which datagrams are sent in pieces.
type pieces struct{ of, own *udp.Path }

// untilTold is for as long as nothing else is found out.
const untilTold = 100 * 365 * 24 * time.Hour

// cutToPieces has packets sent in pieces that are too long for the path, and no longer
// than what a session carries at least. Others that have the path are not concerned: it is
// the peer in this session who says so, and only the way of its PPP that is known. On the
// loop.
func (p *pppEnd) cutToPieces() {
	s := p.session
	c := s.carries.Load()
	if p.proved == 0 || p.proved >= c.floor() {
		p.pieces.Store(nil)
		return
	}
	n := p.proved + ppp.HeaderLen + int(s.encap.length)
	if c.encryption != nil {
		n += ppp.EncryptionLen
	}
	path := s.tunnel.path.Load()
	own := s.tunnel.ep.pathTo(path.Peer, path.Local)
	own.Narrow(n, untilTold)
	p.pieces.Store(&pieces{path, own})
}

// path is the way to the peer.
func (s *Session) path() *udp.Path {
	path := s.tunnel.path.Load()
	if s.ppp != nil {
		if p := s.ppp.pieces.Load(); p != nil && p.of == path {
			return p.own
		}
	}
	return path
}

// pathMTU is what the path leaves inside: an Ethernet path of 1,500 bytes, or, where
// the configuration says what is wanted, whichever that needs, unless it is known to be
// narrower.
func (s *Session) pathMTU() int {
	outer := 20
	if s.tunnel.Peer().Addr().Is6() {
		outer = 40
	}
	datagram := 1500 - outer - 8
	known := s.path().MaxDatagram()
	s.pathMax.Store(int32(known))
	if s.mtuMax > 0 {
		datagram = udp.DatagramMax
	}
	if known > 0 {
		datagram = min(datagram, known)
	}
	mtu := datagram - s.encap.overhead() - s.layer()
	if s.ppp != nil {
		mtu -= ppp.HeaderLen + ppp.EncryptionLen
		if s.ppp.proved > 0 {
			mtu = min(mtu, s.ppp.proved)
		}
	}
	return mtu
}

// carry changes what PPP carries. On the loop.
func (s *Session) carry(change func(*carriage)) {
	c := *s.carries.Load()
	change(&c)
	c.fit(s.pathMTU())
	s.carriesNow(&c)
	if c.least() > 0 {
		s.setState(SessionUp)
	} else {
		s.setState(SessionNegotiating)
	}
}

// carryFrames sets what a session without PPP's end carries. On the loop.
func (s *Session) carryFrames() {
	mtu := max(s.pathMTU(), leastMTU4)
	if s.mtuMax > 0 {
		mtu = min(mtu, s.mtuMax)
	}
	s.carriesNow(&carriage{mtu: mtu})
}

// carriesNow has a carriage used, and the attached sink told. On the loop.
func (s *Session) carriesNow(c *carriage) {
	was, mtu := s.carries.Load().least(), c.least()
	if mtu < was {
		s.tellMTU(mtu)
	}
	if s.complete() {
		s.tunnel.loop.flush() // or frames would overtake what lets the peer take them
	}
	s.carries.Store(c)
	if mtu > was {
		s.tellMTU(mtu)
	}
}

// outerMTUs are MTUs that paths are likely to have where long packets get lost: those of
// Ethernet below PPPoE, tunnels and mobile networks, and what IPv6 and IPv4 at least have.
var outerMTUs = []int{1492, 1476, 1460, 1440, 1420, 1400, 1380, 1340, 1300, 1280, 1152, 1024, 768, 576}

// measure has the control connection of an L2TPv3 tunnel find out whether datagrams come
// through that are as long as those of its sessions where no PPP ends, which has Echo-Requests
// for that. On the loop.
func (t *Tunnel) measure(now time.Time) {
	if t.static() || !t.isV3() {
		return
	}
	headers := 20 + 8
	if t.Peer().Addr().Is6() {
		headers = 40 + 8
	}
	longest := 0
	for _, s := range *t.sessions.Load() {
		if s.ppp != nil {
			continue
		}
		front := s.encap.overhead() + s.layer()
		datagram := 1500 - headers
		if s.mtuMax > 0 {
			datagram = min(s.mtuMax, frameMax) + front
		}
		longest = max(longest, datagram)
	}
	var sizes []int
	if longest > 0 {
		sizes = append(sizes, longest)
	}
	for _, mtu := range outerMTUs {
		if n := mtu - headers; n < longest {
			sizes = append(sizes, n)
		}
	}
	t.machine.Measure(now, sizes)
}

// layer is how many octets a frame has in front of its IP packet.
func (s *Session) layer() int {
	switch s.kind {
	case PseudowireVLAN:
		return ethernetHeaderLen + vlanTagLen
	case PseudowireEthernet:
		return ethernetHeaderLen
	}
	return 0
}

// sendWhole sends a message that must not be fragmented, or it would not tell how long
// the path lets datagrams be. On the loop.
func (t *Tunnel) sendWhole(packet []byte) {
	t.loop.flush() // it would overtake what was sent before
	t.writeWhole(packet)
}

func (t *Tunnel) writeWhole(packet []byte) {
	if err := t.ep.writeWhole(packet, t.path.Load()); err != nil {
		t.log.Debug("not sent in one piece", "bytes", len(packet), "error", err)
	}
}

// narrowed has all sessions heed what the control connection has found out. On the loop.
func (t *Tunnel) narrowed(found control.PathMax) {
	path := t.path.Load()
	path.Narrow(found.Bytes, found.For)
	for _, s := range *t.sessions.Load() {
		s.heed(path)
	}
}

// tellMTU tells the attached sink, if it wants to know. On the loop.
func (s *Session) tellMTU(mtu int) {
	if sink := s.sink.Load(); sink != nil && mtu > 0 {
		if to, ok := (*sink).(MTUSetter); ok {
			to.SetMTU(mtu)
		}
	}
}

// heed has the MTU follow what the socket has found out about the path, or has
// forgotten. It is called after something has been sent: that is when it finds out,
// and when it matters.
func (s *Session) heed(path *udp.Path) {
	now := int32(path.MaxDatagram())
	if was := s.pathMax.Load(); now == was || !s.pathMax.CompareAndSwap(was, now) {
		return
	}
	s.tunnel.loop.Do(func(time.Time) {
		was := s.MTU()
		if was == 0 || s.hungUp {
			return // it is looked at when something may flow
		}
		if s.ppp != nil {
			s.carry(func(*carriage) {})
		} else {
			s.carryFrames()
		}
		if mtu := s.MTU(); mtu != was {
			s.log.Info("the path to the peer has another MTU", "mtu inside", mtu, "was", was)
		}
	})
}
