package netstack

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// What an Ethernet frame looks like (RFC 894, IEEE 802.1Q).
const (
	etherLen = 14 // destination, source, type
	tagLen   = 4  // of 802.1Q, before the type
	etherMax = etherLen + tagLen

	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd

	vlanID = 0x0fff // of a tag
)

// An etherLayer is between frames and IP packets: the link of a NIC, or of a Port. It
// finds the neighbors, and is found by them. As the layers of a session do, it has a
// [link.Sink] on each side.
//
//	IP packets   above ◄──┐            ┌── down     from the stack
//	                      │            ▼
//	                     Put ─► ARP, neighbors, routes
//	frames                ▲            │
//	                      └──        ──┴─► out
type etherLayer struct {
	out      link.Sink
	above    link.Sink
	mac      mac
	vlan     uint16 // the tag that its frames have; 0: none
	counters *counters
	router   bool // it forwards, and says so in Neighbor Advertisements

	server *DHCPv4Server                  // answers requests of DHCP; nil: they are the stack's
	client func(message []byte, from mac) // is told its replies; nil: nobody waits for any
	gone   func(addr netip.Addr)          // is told of a neighbor that does not answer any more
	clash  func(addr netip.Addr, by mac)  // is told which host has an address that might be ours

	gate     sync.RWMutex // read-locked by a Put; locked for good by shut
	shutting sync.Once

	groups atomic.Pointer[map[mac]struct{}]       // those that it is in
	vlans  atomic.Pointer[map[uint16]*etherLayer] // its sub-interfaces
	hints  pacer                                  // ICMP errors to the stack

	// A leaf: nobody is called with it.
	mu        sync.RWMutex
	own4      []netip.Prefix // addresses, with the lengths of their subnets
	own6      []netip.Prefix
	routes4   routes
	routes6   routes
	neighbors neighbors
	claims    []claim // of own6
	timer     *time.Timer
	done      bool
}

func newEtherLayer(out link.Sink, at mac, vlan uint16, c *counters) *etherLayer {
	e := &etherLayer{out: out, mac: at, vlan: vlan, counters: c}
	e.neighbors.way = e.wayTo
	e.groups.Store(&map[mac]struct{}{})
	e.vlans.Store(&map[uint16]*etherLayer{})
	e.timer = time.AfterFunc(time.Hour, e.tick)
	return e
}

// shut ends the layer, when the last Put has left.
func (e *etherLayer) shut() {
	e.shutting.Do(func() {
		e.gate.Lock()
		e.mu.Lock()
		defer e.mu.Unlock()
		e.done = true
		e.timer.Stop()
	})
}

// set4 says which IPv4 addresses are here, and where the others are.
func (e *etherLayer) set4(own []netip.Prefix, r routes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.own4, e.routes4 = own, r.sorted()
	e.join()
}

// set6 is the same for IPv6.
func (e *etherLayer) set6(own []netip.Prefix, r routes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claim6(own)
	e.own6, e.routes6 = own, r.sorted()
	e.join()
}

// join makes groups those that a host with these addresses is in (RFC 1112 §7.2, RFC
// 4291 §2.8), under e.mu.
func (e *etherLayer) join() {
	groups := make(map[mac]struct{})
	if e.router && len(e.own6) > 0 {
		groups[groupMAC(allRouters)] = struct{}{}
		groups[groupMAC(allDHCPServers)] = struct{}{}
	}
	if len(e.own4) > 0 {
		groups[groupMAC(netip.AddrFrom4([4]byte{224, 0, 0, 1}))] = struct{}{}
	}
	if len(e.own6) > 0 {
		groups[groupMAC(allNodes)] = struct{}{}
	}
	for _, p := range e.own6 {
		groups[groupMAC(solicitedNode(p.Addr()))] = struct{}{}
	}
	e.groups.Store(&groups)
}

// groupMAC is where packets to a multicast address go (RFC 1112 §6.4, RFC 2464 §7).
func groupMAC(a netip.Addr) mac {
	b := a.AsSlice()
	if a.Is4() {
		return mac{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	return mac{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// solicitedNode is the group that is asked for an address (RFC 4291 §2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// has reports whether an address is one of this interface.
func (e *etherLayer) has(a netip.Addr) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.hasLocked(a)
}

func (e *etherLayer) hasLocked(a netip.Addr) bool {
	own := e.own6
	if a.Is4() {
		own = e.own4
	}
	for _, p := range own {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// source is the address to speak to a neighbor from, or the zero one.
func (e *etherLayer) source(to netip.Addr) netip.Addr {
	e.mu.RLock()
	defer e.mu.RUnlock()
	own := e.own6
	if to.Is4() {
		own = e.own4
	}
	for _, p := range own {
		if p.Contains(to) {
			return p.Addr()
		}
	}
	if len(own) > 0 {
		return own[0].Addr()
	}
	return netip.Addr{}
}

// Put takes frames that came in. After the end they are dropped.
func (e *etherLayer) Put(b *link.Batch) {
	if !e.gate.TryRLock() {
		e.counters.late.Add(uint64(len(b.Frames)))
		return
	}
	defer e.gate.RUnlock()
	m := b.Mark()
	defer b.Restore(m)
	frames := b.Frames
	first, n := 0, 0 // those that are kept: from first on, n of them, for the layer to
	var to *etherLayer
	for i := range frames {
		layer := e.enter(&frames[i])
		if layer == nil {
			continue
		}
		if layer != to && n > 0 {
			b.Frames = frames[first : first+n]
			to.above.Put(b)
			n = 0
		}
		if to = layer; n == 0 {
			first = i
		} else if first+n != i {
			frames[first+n] = frames[i]
		}
		n++
	}
	if n > 0 {
		b.Frames = frames[first : first+n]
		to.above.Put(b)
	}
	b.Frames = frames
}

// enter strips a frame down to an IP packet for the layer that it returns: this one,
// or a VLAN's. It is nil when the frame has been dropped, and counted, or when there
// was nothing more in it than for the layer itself.
func (e *etherLayer) enter(f *link.Frame) *etherLayer {
	h := beginning(f, etherLen)
	if h == nil {
		e.counters.malformed.Add(1)
		return nil
	}
	dst, src, kind, length := mac(h), mac(h[6:]), binary.BigEndian.Uint16(h[12:]), etherLen
	if kind == etherVLAN {
		if h = beginning(f, etherMax); h == nil {
			e.counters.malformed.Add(1)
			return nil
		}
		kind, length = binary.BigEndian.Uint16(h[16:]), etherMax
		// IEEE 802.1Q: the identifier 0 says that there is a priority in the tag, and no VLAN.
		if id := binary.BigEndian.Uint16(h[14:]) & vlanID; id != 0 {
			sub := (*e.vlans.Load())[id]
			if sub == nil {
				e.counters.otherVLAN.Add(1)
				return nil
			}
			e = sub
		}
	}
	switch {
	case !src.isUnicast() || src == e.mac:
		e.counters.martian.Add(1)
		return nil
	case dst == e.mac || dst == broadcastMAC:
	default:
		if _, in := (*e.groups.Load())[dst]; !in {
			e.counters.otherHost.Add(1)
			return nil
		}
	}
	f.Strip(length)
	switch kind {
	case etherARP:
		e.arpIn(beginning(f, arpLen))
		return nil
	case etherIPv4:
		return e.enter4(f, dst, src)
	case etherIPv6:
		return e.enter6(f)
	}
	e.counters.notIP.Add(1)
	return nil
}

// beginning is the first n bytes of a frame, or nil if there are fewer.
func beginning(f *link.Frame, n int) []byte {
	if p := f.Peek(n); p != nil || f.Len() < n {
		return p
	}
	return f.AppendTo(nil)[:n]
}

// enter4 looks at an IPv4 packet, or what calls itself that.
func (e *etherLayer) enter4(f *link.Frame, dst, src mac) *etherLayer {
	p := beginning(f, header.IPv4MinimumSize)
	if p == nil || p[0]>>4 != 4 {
		e.counters.malformed.Add(1)
		return nil
	}
	// RFC 1122 §3.3.6: "A host SHOULD silently discard a datagram that is received via a
	// link-layer broadcast but does not specify an IP multicast or broadcast destination
	// address."
	if !dst.isUnicast() && e.has(netip.AddrFrom4([4]byte(p[16:]))) {
		e.counters.martian.Add(1)
		return nil
	}
	if p[9] == byte(header.UDPProtocolNumber) && (e.client != nil || e.server != nil) && e.dhcp4(beginning(f, f.Len()), src) {
		return nil
	}
	return e
}

// enter6 looks at an IPv6 packet, or what calls itself that.
func (e *etherLayer) enter6(f *link.Frame) *etherLayer {
	p := beginning(f, header.IPv6MinimumSize)
	if p == nil || p[0]>>4 != 6 {
		e.counters.malformed.Add(1)
		return nil
	}
	if p[6] == byte(header.ICMPv6ProtocolNumber) && e.discover(beginning(f, f.Len())) {
		return nil
	}
	return e
}

// arpIn takes an ARP packet in (RFC 826, "Packet Reception").
func (e *etherLayer) arpIn(p []byte) {
	a, ok := parseARP(p)
	if !ok {
		e.counters.malformed.Add(1)
		return
	}
	// RFC 5227 §2.1.1: who asks for an address without having one wants that one itself,
	// and is told when it is taken.
	if !a.senderAddr.IsUnspecified() {
		e.clash(a.senderAddr, a.sender)
	} else if a.op == arpRequest && !e.has(a.wantAddr) {
		e.clash(a.wantAddr, a.sender)
	}
	if !a.senderAddr.IsUnspecified() && !a.senderAddr.IsMulticast() && !e.has(a.senderAddr) {
		e.do(func(now time.Time) {
			_, onLink := e.routes4.next(a.senderAddr)
			forUs := e.hasLocked(a.wantAddr)
			e.neighbors.heard(now, a.senderAddr, a.sender, hearsay{
				solicited: a.op == arpReply && a.target == e.mac, override: true, create: forUs && onLink && a.op == arpRequest,
			})
		})
	}
	if a.op == arpRequest && e.has(a.wantAddr) && a.senderAddr != a.wantAddr {
		e.send(a.sender, etherARP, arpPacket{op: arpReply, sender: e.mac, senderAddr: a.wantAddr, target: a.sender, wantAddr: a.senderAddr}.bytes())
	}
}

// send sends a packet of the layer's own.
func (e *etherLayer) send(to mac, kind uint16, p []byte) {
	b := link.NewBatch()
	defer b.Free()
	h := e.header(to, kind)
	copy(b.Add(len(h), p, nil).Head(), h)
	e.out.Put(b)
}

// header is what a frame begins with.
func (e *etherLayer) header(to mac, kind uint16) []byte {
	h := make([]byte, 0, etherMax)
	h = append(append(h, to[:]...), e.mac[:]...)
	if e.vlan != 0 {
		h = binary.BigEndian.AppendUint16(h, etherVLAN)
		h = binary.BigEndian.AppendUint16(h, e.vlan)
	}
	return binary.BigEndian.AppendUint16(h, kind)
}
