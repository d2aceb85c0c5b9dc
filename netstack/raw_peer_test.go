package netstack

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

var rawLinks = []struct {
	name      string
	ether, v6 bool
}{{"PPP, IPv4", false, false}, {"PPP, IPv6", false, true}, {"Ethernet, IPv4", true, false}, {"Ethernet, IPv6", true, true}}

// A rawPeer is at the other end of a link, with or without Ethernet, and speaks TCP by hand:
// it says which bytes the stack gets, in which packets, and sees how they are acknowledged.
type rawPeer struct {
	nic       link.Sink
	ether, v6 bool
	own, self netip.Addr // the stack's address, and the peer's
	answering sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	ports   map[uint16]*rawFlow
	answers int // packets that are no TCP
}

// A rawFlow is what its peer has seen of a connection.
type rawFlow struct {
	iss   uint32 // the stack's first sequence number
	open  bool
	acked uint32      // bytes, and the FIN
	sack  [][2]uint32 // of the last acknowledgement, in order
	reset bool
}

const rawISS = 0xffff_f000 // which soon wraps

// newRawPeer is the peer of a new stack, which listens at port 80.
func newRawPeer(t testing.TB, ether, v6 bool) (*rawPeer, *Stack, net.Listener) {
	p := &rawPeer{ether: ether, v6: v6, own: addrA, self: addrB, ports: map[uint16]*rawFlow{}}
	p.changed = sync.NewCond(&p.mu)
	if v6 {
		p.own, p.self = linkLocal(idA), linkLocal(idB)
	}
	s := newStack(t, nil)
	if ether {
		n := addEthernet(t, s, p, &EthernetConfig{Addresses: prefixes("10.0.0.1/24"), MAC: ownMAC[:]})
		p.nic = n
		if v6 {
			p.own = n.Addresses()[1].WithZone("")
		}
	} else {
		n, err := s.AddIP(p, &IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addrA, 32)}, InterfaceID: idA})
		if err != nil {
			t.Fatal(err)
		}
		p.nic = n
	}
	t.Cleanup(p.answering.Wait)
	ln, err := s.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return p, s, ln
}

// frame is an IP packet as it is on the link.
func (p *rawPeer) frame(packet []byte) []byte {
	switch {
	case !p.ether:
		return packet
	case p.v6:
		return frameOf(ownMAC, peerMAC, etherIPv6, packet)
	}
	return frameOf(ownMAC, peerMAC, etherIPv4, packet)
}

// packet is an IP packet whose transport checksum, at a place, is right.
func (p *rawPeer) packet(protocol byte, transport []byte, at int) []byte {
	transport = bytes.Clone(transport)
	transport[at], transport[at+1] = 0, 0
	var pseudo []byte
	if protocol != 1 {
		pseudo = append(p.self.AsSlice(), p.own.AsSlice()...)
		pseudo = append(pseudo, byte(len(transport)>>8), byte(len(transport)), 0, protocol)
	}
	binary.BigEndian.PutUint16(transport[at:], ^checksumOf(append(pseudo, transport...)))
	if p.v6 {
		return ipv6Packet(p.self, p.own, 64, protocol, transport)
	}
	return ipv4Packet(p.self.As4(), p.own.As4(), protocol, transport)
}

// segment is one of TCP, of the bytes from at on.
func (p *rawPeer) segment(f *rawFlow, port uint16, at uint32, flags byte, options, payload []byte) []byte {
	t := binary.BigEndian.AppendUint16(nil, port)
	t = append(t, 0, 80)
	t = binary.BigEndian.AppendUint32(t, rawISS+1+at)
	t = binary.BigEndian.AppendUint32(t, f.iss+1)
	t = append(t, byte(20+len(options))<<2, flags, 0xff, 0xff, 0, 0, 0, 0)
	return p.packet(6, slices.Concat(t, options, payload), 16)
}

// connect opens a connection from a port.
func (p *rawPeer) connect(t testing.TB, ln net.Listener, port uint16) (*rawFlow, net.Conn) {
	f := &rawFlow{}
	p.mu.Lock()
	p.ports[port] = f
	p.mu.Unlock()
	options := []byte{2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 1, 1, 1} // MSS, SACK permitted, scale
	syn := p.segment(f, port, 0xffff_ffff, byte(header.TCPFlagSyn), options, nil)
	binary.BigEndian.PutUint32(syn[len(syn)-32+8:], 0) // acknowledges nothing
	syn = p.packet(6, syn[len(syn)-32:], 16)
	put(p.nic, p.frame(syn))
	p.await(t, "SYN-ACK", f, func() bool { return f.open })
	put(p.nic, p.frame(p.segment(f, port, 0, byte(header.TCPFlagAck), nil, nil)))
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return f, c
}

// await waits until something is seen of a flow.
func (p *rawPeer) await(t testing.TB, what string, f *rawFlow, is func() bool) {
	t.Helper()
	late := time.AfterFunc(time.Minute, p.changed.Broadcast)
	defer late.Stop()
	began := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !is() {
		if f.reset || time.Since(began) >= time.Minute {
			t.Fatalf("expected %s, found %+v", what, f)
		}
		p.changed.Wait()
	}
}

// Put takes what the stack sends.
func (p *rawPeer) Put(b *link.Batch) {
	for i := range b.Frames {
		p.take(b.Frames[i].AppendTo(nil))
	}
}

func (p *rawPeer) take(f []byte) {
	if p.ether {
		kind := binary.BigEndian.Uint16(f[12:])
		if kind == etherARP {
			reply := arpPacket{op: arpReply, sender: peerMAC, senderAddr: addrB, target: ownMAC, wantAddr: addrA}
			p.answer(frameOf(ownMAC, peerMAC, etherARP, reply.bytes()))
			return
		}
		f = f[14:]
	}
	ip, protocol := 20, f[9]
	if f[0]>>4 == 6 {
		ip, protocol = 40, f[6]
	}
	t := f[ip:]
	if protocol == 58 && t[0] == 135 { // Neighbor Solicitation
		if target := netip.AddrFrom16([16]byte(t[8:24])); target == p.self {
			m := slices.Concat([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, t[8:24], []byte{2, 1}, peerMAC[:])
			p.answer(frameOf(ownMAC, peerMAC, etherIPv6, icmp6Packet(p.self, p.own, 255, m)))
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	if protocol != 6 {
		if protocol != 58 || t[0] == 129 || t[0] < 128 { // not what IPv6 has to say of itself
			p.answers++
		}
		return
	}
	h := header.TCP(t)
	flow := p.ports[h.DestinationPort()]
	if flow == nil {
		p.answers++
		return
	}
	switch {
	case h.Flags().Contains(header.TCPFlagRst):
		flow.reset = true
	case h.Flags().Contains(header.TCPFlagSyn):
		flow.iss, flow.open = h.SequenceNumber(), true
	default:
		flow.acked = h.AckNumber() - rawISS - 1
		flow.sack = nil
		for _, block := range header.ParseTCPOptions(t[20:h.DataOffset()]).SACKBlocks {
			flow.sack = append(flow.sack, [2]uint32{uint32(block.Start) - rawISS - 1, uint32(block.End) - rawISS - 1})
		}
		slices.SortFunc(flow.sack, func(a, b [2]uint32) int { return cmp.Compare(a[0], b[0]) })
	}
}

// answer gives the stack a frame, but not before it has sent its own.
func (p *rawPeer) answer(frame []byte) { p.answering.Go(func() { put(p.nic, frame) }) }
