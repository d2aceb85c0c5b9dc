package netstack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A hop is the way to one neighbor: it puts in front what frames to it begin with.
type hop struct {
	out    link.Sink
	header []byte
}

func (e *etherLayer) wayTo(addr netip.Addr, at mac) *hop {
	kind := uint16(etherIPv6)
	if addr.Is4() {
		kind = etherIPv4
	}
	return &hop{e.out, e.header(at, kind)}
}

// Put takes IP packets.
func (h *hop) Put(b *link.Batch) {
	for i := range b.Frames {
		copy(b.Frames[i].Push(len(h.header)), h.header)
	}
	h.out.Put(b)
	for i := range b.Frames {
		b.Frames[i].Pop(len(h.header))
	}
}

// An etherDown is an etherLayer's side towards the stack: the [link.Sink] for IP
// packets on their way out.
type etherDown struct{ *etherLayer }

// Put hands each run of packets to the same address to who is next on their way.
func (d etherDown) Put(b *link.Batch) {
	frames := b.Frames
	for first := 0; first < len(frames); {
		dst, ok := destinationOf(&frames[first])
		if !ok {
			panic("BUG: netstack: a packet on its way out is none of IP")
		}
		end := first + 1
		for ; end < len(frames); end++ {
			if other, _ := destinationOf(&frames[end]); other != dst {
				break
			}
		}
		b.Frames = frames[first:end]
		d.toward(dst, b)
		first = end
	}
	b.Frames = frames
}

// destinationOf is where an IP packet is for.
func destinationOf(f *link.Frame) (dst netip.Addr, ok bool) {
	p := f.Peek(header.IPv4MinimumSize)
	if p == nil {
		p = f.AppendTo(nil)
	}
	switch {
	case len(p) >= header.IPv4MinimumSize && p[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(p[16:])), true
	case p[0]>>4 != 6:
		return dst, false
	}
	if whole := f.Peek(header.IPv6MinimumSize); whole != nil {
		p = whole
	} else {
		p = f.AppendTo(nil)
	}
	if len(p) < header.IPv6MinimumSize {
		return dst, false
	}
	return netip.AddrFrom16([16]byte(p[24:])), true
}

// toward sends packets to dst, now or when its place is known.
func (e *etherLayer) toward(dst netip.Addr, b *link.Batch) {
	e.mu.RLock()
	table, own := e.routes6, e.own6
	if dst.Is4() {
		table, own = e.routes4, e.own4
	}
	if dst.IsMulticast() || dst.Is4() && isBroadcast(dst, own) {
		e.mu.RUnlock()
		at := broadcastMAC
		if dst.IsMulticast() {
			at = groupMAC(dst)
		}
		e.wayTo(dst, at).Put(b)
		return
	}
	next, ok := table.next(dst)
	var way *hop
	var touch bool
	if ok {
		way, touch = e.neighbors.find(next)
	}
	e.mu.RUnlock()
	switch {
	case !ok:
		e.unreachable(b)
		return
	case touch:
		e.do(func(now time.Time) { e.neighbors.touch(now, next) })
	case way == nil:
		e.do(func(now time.Time) {
			for i := range b.Frames {
				if !e.neighbors.wait(now, next, b.Frames[i].AppendTo(nil)) {
					e.counters.unresolved.Add(1)
				}
			}
		})
		return
	}
	way.Put(b)
}

// isBroadcast reports whether all hosts of the link, or of a subnet, are meant (RFC 1122
// §3.2.1.3).
func isBroadcast(a netip.Addr, own []netip.Prefix) bool {
	n := binary.BigEndian.Uint32(a.AsSlice())
	if n == 0xffffffff {
		return true
	}
	for _, p := range own {
		// RFC 3021: a subnet of two addresses has none for broadcasts.
		if p.Bits() < 31 && p.Contains(a) && n|uint32(uint64(0xffffffff)<<(32-p.Bits())) == 0xffffffff {
			return true
		}
	}
	return false
}

// unreachable tells the stack that there is no way for its packets, on a goroutine of
// its own: who sends holds a lock of the connection.
func (e *etherLayer) unreachable(b *link.Batch) {
	e.counters.noRoute.Add(uint64(len(b.Frames)))
	if e.hints.allow(time.Now(), hintInterval, hintBurst) {
		go e.complain(b.Frames[0].AppendTo(nil))
	}
}

// complain tells the stack, in the name of the far end, that its packet has not got
// there (RFC 1122 §3.3.1.1, RFC 4861 §7.2.2). The stack takes nothing from its own
// addresses.
func (e *etherLayer) complain(packet []byte) {
	var message []byte
	if packet[0]>>4 == 4 {
		h := header.IPv4(packet)
		if isICMPError4(h) || h.FragmentOffset() != 0 {
			return
		}
		message = icmpError4(h.DestinationAddress(), h, header.ICMPv4DstUnreachable, header.ICMPv4HostUnreachable, 0, complaintMax4)
	} else {
		h := header.IPv6(packet)
		if isICMPError6(h) {
			return
		}
		message = icmpError6(h.DestinationAddress(), h, header.ICMPv6DstUnreachable, 0)
	}
	putWhole(e.above, [][]byte{message}, len(message))
}

// do has f change what the layer knows, and does what follows.
func (e *etherLayer) do(f func(now time.Time)) {
	e.mu.Lock()
	now := time.Now()
	f(now)
	var todo []neighborEvent
	for ev, ok := e.neighbors.next(); ok; ev, ok = e.neighbors.next() {
		todo = append(todo, ev)
	}
	ask, due := e.advanceClaims(now)
	if other := e.neighbors.deadline(); due.IsZero() || !other.IsZero() && other.Before(due) {
		due = other
	}
	if !e.done && !due.IsZero() {
		e.timer.Reset(due.Sub(now))
	}
	e.mu.Unlock()
	for _, target := range ask {
		e.solicitDuplicate(target)
	}
	for _, ev := range todo {
		e.follow(ev)
	}
}

// tick is called when a deadline has come.
func (e *etherLayer) tick() {
	if !e.gate.TryRLock() {
		return
	}
	defer e.gate.RUnlock()
	e.do(e.neighbors.advance)
}

func (e *etherLayer) follow(ev neighborEvent) {
	switch ev.what {
	case askNeighbor:
		e.ask(ev.addr, ev.at)
	case sendWaiting:
		for _, p := range ev.packets {
			putWhole(ev.way, [][]byte{p}, len(p))
		}
	case drop: // who sends may be waiting for us, and is told nothing
		e.counters.unresolved.Add(uint64(len(ev.packets)))
	case giveUp:
		e.counters.unresolved.Add(uint64(len(ev.packets)))
		e.gone(ev.addr)
		for _, p := range ev.packets {
			e.complain(p)
		}
	}
}

// ask asks for the place of a neighbor: all, or the one that had it.
func (e *etherLayer) ask(addr netip.Addr, at mac) {
	src := e.source(addr)
	if !src.IsValid() {
		return
	}
	if addr.Is6() {
		e.solicit(addr, src, at)
		return
	}
	to := at
	if at == (mac{}) {
		to = broadcastMAC
	}
	e.send(to, etherARP, arpPacket{op: arpRequest, sender: e.mac, senderAddr: src, target: at, wantAddr: addr}.bytes())
}

// probe asks whether somebody has an address that we want to have (RFC 5227 §2.1.1).
func (e *etherLayer) probe(addr netip.Addr) {
	e.send(broadcastMAC, etherARP, arpPacket{op: arpRequest, sender: e.mac, senderAddr: netip.IPv4Unspecified(), wantAddr: addr}.bytes())
}

// announce tells all that an address is here (RFC 5227 §2.3).
func (e *etherLayer) announce(addr netip.Addr) {
	e.send(broadcastMAC, etherARP, arpPacket{op: arpRequest, sender: e.mac, senderAddr: addr, wantAddr: addr}.bytes())
}
