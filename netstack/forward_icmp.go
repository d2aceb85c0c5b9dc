package netstack

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// An EchoRequest is a client's ICMP or ICMPv6 echo request. It may be answered
// after the Forwarder's function has returned, as long as the session lives.
type EchoRequest struct {
	Flow
	ID, Seq uint16
	Payload []byte
}

// handleEcho has the echo requests, whole and of the right checksum. That it has
// taken one keeps gVisor from answering it.
func (w *forwarding) handleEcho(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	v6 := id.LocalAddress.Len() == header.IPv6AddressSize
	view := stack.PayloadSince(pkt.TransportHeader())
	defer view.Release()
	m := view.AsSlice()
	request := byte(header.ICMPv4Echo)
	if v6 {
		request = byte(header.ICMPv6EchoRequest)
	}
	if len(m) < echoHeader || m[0] != request || m[1] != 0 {
		return true
	}
	w.mu.Lock()
	f := w.newFlow(echoFlow, id, pkt)
	w.mu.Unlock()
	if f == nil {
		return true
	}
	f.src, f.dst = netip.AddrPortFrom(f.src.Addr(), 0), netip.AddrPortFrom(f.dst.Addr(), 0)
	e := &EchoRequest{
		Flow:    *f,
		ID:      binary.BigEndian.Uint16(m[echoID:]),
		Seq:     binary.BigEndian.Uint16(m[echoSequence:]),
		Payload: append([]byte(nil), m[echoHeader:]...),
	}
	go func() {
		defer w.decide(&e.Flow)
		if w.Echo == nil {
			e.Refuse(ErrProhibited)
			return
		}
		w.Echo(e)
	}()
	return true
}

const echoID = 4 // where an echo's identifier is

// Reply sends the echo reply, with what came back of the payload.
func (e *EchoRequest) Reply(payload []byte) {
	m := make([]byte, echoHeader+len(payload))
	m[0] = byte(header.ICMPv4EchoReply)
	if e.dst.Addr().Is6() {
		m[0] = byte(header.ICMPv6EchoReply)
	}
	binary.BigEndian.PutUint16(m[echoID:], e.ID)
	binary.BigEndian.PutUint16(m[echoSequence:], e.Seq)
	copy(m[echoHeader:], payload)
	e.sendICMP(e.dst.Addr(), m)
}

// Refuse tells the client why there is no reply: that the destination is
// unreachable, or prohibited ([ErrProhibited]).
func (e *EchoRequest) Refuse(err error) { e.unreachable(refusalOf(err)) }

// unreachable sends an ICMP error about the flow's first packet, or reports that
// its session has been sent too many of them.
func (f *Flow) unreachable(why refusal) bool {
	if !f.port.mayComplain() {
		return false
	}
	// RFC 792: type 3, then code, checksum, unused, and the packet. RFC 4443 §3.1
	// has the same with type 1. A port is found unreachable by the destination, all
	// else by the router.
	v6 := f.dst.Addr().Is6()
	m := make([]byte, echoHeader, echoHeader+len(f.quote))
	from := f.w.router.gateway(netip.Addr.Is4)
	if v6 {
		from = f.w.router.gateway(netip.Addr.Is6)
		m[0] = byte(header.ICMPv6DstUnreachable)
		m[1] = byte([...]header.ICMPv6Code{
			unreachableHost: header.ICMPv6AddressUnreachable,
			unreachableNet:  header.ICMPv6NetworkUnreachable,
			refused:         header.ICMPv6PortUnreachable,
			prohibited:      header.ICMPv6Prohibited,
		}[why])
	} else {
		m[0] = byte(header.ICMPv4DstUnreachable)
		m[1] = byte([...]header.ICMPv4Code{
			unreachableHost: header.ICMPv4HostUnreachable,
			unreachableNet:  header.ICMPv4NetUnreachable,
			refused:         header.ICMPv4PortUnreachable,
			prohibited:      header.ICMPv4AdminProhibited,
		}[why])
	}
	if why == refused || !from.IsValid() {
		from = f.dst.Addr()
	}
	f.sendICMP(from, append(m, f.quote...))
	return true
}

// sendICMP sends a message to the client, in fragments if it is long.
func (f *Flow) sendICMP(from netip.Addr, m []byte) {
	if f.port.life.Err() != nil {
		return // somebody else may have the client's address by now
	}
	r, terr := f.w.gv.FindRoute(forwardNIC, toAddress(from), toAddress(f.src.Addr()), protocolOf(from), false)
	if terr != nil {
		return // the stack has been closed
	}
	defer r.Release()
	protocol := tcpip.TransportProtocolNumber(header.ICMPv4ProtocolNumber)
	if from.Is6() {
		protocol = header.ICMPv6ProtocolNumber
		h := header.ICMPv6(m)
		h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: h, Src: r.LocalAddress(), Dst: r.RemoteAddress()}))
	} else {
		h := header.ICMPv4(m)
		h.SetChecksum(^checksum.Checksum(h, 0))
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: int(r.MaxHeaderLength()), Payload: buffer.MakeWithData(m)})
	defer pkt.DecRef()
	r.WritePacket(stack.NetworkHeaderParams{Protocol: protocol, TTL: echoHopLimit}, pkt)
}

// quoteOf is what an ICMP error has of a packet: RFC 1812 §4.3.2.3, as much "as
// possible without the length of the ICMP datagram exceeding 576 bytes"; RFC 4443
// §3.1, without exceeding "the minimum IPv6 MTU".
func quoteOf(pkt *stack.PacketBuffer) []byte {
	room := complaintMax4 - header.IPv4MinimumSize - complaintLen
	if pkt.NetworkProtocolNumber == header.IPv6ProtocolNumber {
		room = complaintMax6 - header.IPv6MinimumSize - complaintLen
	}
	quote := append([]byte(nil), pkt.NetworkHeader().Slice()...)
	quote = append(quote, pkt.TransportHeader().Slice()...)
	quote = append(quote, pkt.Data().AsRange().Capped(max(0, room-len(quote))).ToSlice()...)
	return quote[:min(len(quote), room)]
}
