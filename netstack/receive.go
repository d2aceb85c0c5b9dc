package netstack

import (
	"sync"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A reception is a batch on its way into the stack: its packets are looked at
// where they lie, and copied once, into what the stack keeps.
//
//	frames ─► check ─► to another session: switchover
//	               └─► to the stack: Verify ─► Merger ─► gVisor
type reception struct {
	merger  link.Merger
	ways    []way  // of the packets that the merger has
	scratch []byte // packets that do not lie in one piece, or that are amended
	switchover
}

// A way is where a packet goes.
type way struct {
	to       *linkEndpoint
	protocol tcpip.NetworkProtocolNumber
	verified bool                // all its checksums
	packet   *stack.PacketBuffer // what it has become; nil: a part of another one
}

var receptions = sync.Pool{New: func() any { return new(reception) }}

// receive hands the IP packets of b to the stack, or to other sessions.
func (e *linkEndpoint) receive(b *link.Batch, from entrance, c *counters) {
	if e.dispatcher.Load() == nil {
		c.late.Add(uint64(len(b.Frames)))
		return
	}
	r := receptions.Get().(*reception)
	packets, bytes := 0, 0
	for i := range b.Frames {
		f := &b.Frames[i]
		size := f.Len()
		drop := r.take(e, f, from, c)
		if drop != nil {
			drop.Add(1)
			continue
		}
		packets++
		bytes += size
	}
	r.deliver()
	r.flush()
	r.merger.Reset()
	clear(r.ways)
	r.ways, r.scratch = r.ways[:0], r.scratch[:0]
	receptions.Put(r)
	c.packetsIn.Add(uint64(packets))
	c.bytesIn.Add(uint64(bytes))
}

// take finds out where a packet goes. It returns where it is counted if it is
// dropped.
func (r *reception) take(e *linkEndpoint, f *link.Frame, from entrance, c *counters) (drop *atomic.Uint64) {
	p := f.Peek(f.Len())
	if p == nil {
		p = r.copied(f.AppendTo)
	}
	p, protocol, v := check(p, from, c)
	switch {
	case v.drop != nil || v.done:
		return v.drop
	case v.to != nil:
		view := buffer.NewViewWithData(p)
		if v = r.add(view.AsSlice(), view, v); v.drop != nil {
			view.Release()
		}
		return v.drop
	}
	verified := false
	switch link.Verify(p) {
	case link.Intact:
		verified = true
	case link.CorruptIPv4:
		return &c.corruptIPv4
	case link.CorruptTCP:
		return &c.corruptTCP
	case link.CorruptUDP:
		return &c.corruptUDP
	case link.CorruptICMP:
		return &c.corruptICMP
	}
	if v.amend != nil {
		whole := p
		p = r.copied(func(b []byte) []byte { return append(b, whole...) })
		v.amend(p)
	}
	to := e
	if e.beside != nil {
		if other := e.beside(p); other != nil {
			to = other
		}
	}
	r.merger.Add(p)
	r.ways = append(r.ways, way{to: to, protocol: protocol, verified: verified})
	return nil
}

// copied is a packet that is ours, until the next batch.
func (r *reception) copied(appendTo func([]byte) []byte) []byte {
	n := len(r.scratch)
	r.scratch = appendTo(r.scratch)
	return r.scratch[n:len(r.scratch):len(r.scratch)]
}

// deliver hands what has been taken to gVisor, which keeps it: all at once when all is
// ready, so that who waits for it finds as much as possible. An acknowledgement is then
// for several packets. The headers have a view of their own, since gVisor copies the
// whole view to look at the headers of a packet that it shares.
func (r *reception) deliver() {
	for i := range r.ways {
		h, n := r.merger.Size(i)
		if h == 0 {
			continue
		}
		headers := buffer.NewViewSize(h)
		whole := buffer.MakeWithView(headers)
		if n == 0 {
			r.merger.Write(i, headers.AsSlice(), nil)
		} else {
			payload := buffer.NewViewSize(n)
			r.merger.Write(i, headers.AsSlice(), payload.AsSlice())
			whole.Append(payload)
		}
		r.ways[i].packet = stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: whole})
	}
	for i := range r.ways {
		if way := &r.ways[i]; way.packet != nil {
			way.to.deliver(way.packet, way.protocol, way.verified)
			way.packet.DecRef()
		}
	}
}

// deliver hands a packet to gVisor. The dispatcher trusts this endpoint with the
// checksums, all of them; of what could not be verified, such as fragments,
// gVisor's protocols verify them when they know how.
func (e *linkEndpoint) deliver(pkt *stack.PacketBuffer, protocol tcpip.NetworkProtocolNumber, verified bool) {
	d := e.dispatcher.Load()
	switch {
	case d == nil: // just closed
	case verified:
		(*d).DeliverNetworkPacket(protocol, pkt)
	default:
		pkt.NetworkProtocolNumber = protocol
		if ip, terr := e.gv.GetNetworkEndpoint(e.id, protocol); terr == nil && ip != nil {
			ip.HandlePacket(pkt)
		}
	}
}
