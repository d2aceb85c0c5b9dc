package link

import (
	"bytes"
	"encoding/binary"
)

const (
	// mergeMax is the longest packet that is made of several, in bytes with its
	// headers: what the total length of IPv4 can say.
	mergeMax = 0xffff

	// mergeFlows is how many flows a Merger follows at once. Of more, those whose
	// packets come in turns are merged less.
	mergeFlows = 8

	tcpAck    = 8
	tcpWindow = 14
	tcpUrgent = 18
	tcpACK    = 0x10
)

// A Merger makes one packet of TCP segments of a flow that follow each other: what
// [Split] does, backwards. It is for those who take IP packets from a [Batch] to a
// host's stack, for which one long packet is as much work as a short one. Packets
// that go on to another link must not be merged, since they would not fit.
//
// First all packets are added, then those that have come about are written:
//
//	m.Add(p) …
//	for i := range m.Len() {
//		if h, n := m.Size(i); h > 0 {
//			m.Write(i, make([]byte, h), make([]byte, n))
//		}
//	}
//	m.Reset()
//
// Segments are merged where nothing is lost by it: in IPv4 without options or
// fragments, or IPv6 without extension headers, with TCP that carries data; whose
// sequence numbers follow each other, and whose headers are equal in everything
// else but identification, checksum and PSH. So an acknowledgement, a window, a
// timestamp or an ECN mark (RFC 3168 §5) that differs begins a packet of its own, as
// do all flags but ACK and PSH, and a packet ends with PSH. The packets of a flow stay in
// order, and come where the first segment was.
//
// The zero value is ready to use. A Merger keeps its memory when it is Reset.
type Merger struct {
	packets []merging
	open    [mergeFlows]int // the packet that begins a run, plus 1; 0: none
	turn    int             // which of open is given up next
}

// A merging is a packet that was added. Those of a run form a list, and the first
// one is where the run's account is kept.
type merging struct {
	packet  []byte
	headers int // IP and TCP; all of it if it cannot be merged
	next    int // the run's next packet, plus 1; 0: none

	size int    // of the whole run, with one set of headers; 0: this one is in another's run
	last int    // the run's last packet
	seq  uint32 // that would follow
}

// Add adds a whole IP packet without padding, which is not empty, and whose
// checksums are right ([Verify]): those of the segments are lost. It is borrowed
// until Reset.
func (m *Merger) Add(packet []byte) {
	i := len(m.packets)
	m.packets = append(m.packets, merging{packet: packet, headers: len(packet), size: len(packet), last: i})
	s, is := parseSegment(packet)
	switch is {
	case notTCP:
		return
	case obscure:
		m.open = [mergeFlows]int{} // whichever flow it belongs to, it stays in order
		return
	}
	slot := m.find(s)
	if is == single {
		if slot >= 0 {
			m.open[slot] = 0
		}
		return
	}
	p := &m.packets[i]
	p.headers = s.ip + s.tcp
	n := len(packet) - p.headers
	p.seq = s.sequence() + uint32(n)
	ends := packet[s.ip+tcpFlags]&tcpPSH != 0
	if slot >= 0 {
		first := &m.packets[m.open[slot]-1]
		if first.seq == s.sequence() && first.size+n <= mergeMax && s.continues(first.packet) {
			m.packets[first.last].next = i + 1
			first.last, first.seq, first.size = i, p.seq, first.size+n
			p.size = 0
			if ends {
				m.open[slot] = 0
			}
			return
		}
	} else {
		slot = m.free()
	}
	m.open[slot] = i + 1
	if ends {
		m.open[slot] = 0
	}
}

// Len is how many packets have been added.
func (m *Merger) Len() int { return len(m.packets) }

// Size is how long what the i-th packet added has become is: the headers of a TCP
// segment and its payload, or all of another packet and nothing. No headers: it is
// part of an earlier packet.
func (m *Merger) Size(i int) (headers, payload int) {
	p := &m.packets[i]
	if p.size == 0 {
		return 0, 0
	}
	return p.headers, p.size - p.headers
}

// Write writes what the i-th packet has become to headers and payload, which are
// as long as [Merger.Size] says. Lengths and the checksum of IPv4 are right; the
// checksum of a TCP packet made of several is that of the first segment, and not to
// be looked at.
func (m *Merger) Write(i int, headers, payload []byte) {
	p := &m.packets[i]
	at := copy(payload, p.packet[copy(headers, p.packet):])
	if p.next == 0 {
		return
	}
	for next := p.next; next != 0; next = m.packets[next-1].next {
		q := &m.packets[next-1]
		at += copy(payload[at:], q.packet[q.headers:])
	}
	ip := ipv6Len
	if headers[0]>>4 == 4 {
		ip = ipv4MinLen
		binary.BigEndian.PutUint16(headers[ipv4TotalLength:], uint16(p.size))
		headers[ipv4Checksum], headers[ipv4Checksum+1] = 0, 0
		binary.BigEndian.PutUint16(headers[ipv4Checksum:], ^sum(headers[:ip]))
	} else {
		binary.BigEndian.PutUint16(headers[ipv6PayloadLength:], uint16(p.size-ip))
	}
	headers[ip+tcpFlags] = m.packets[p.last].packet[ip+tcpFlags]
}

// Reset forgets the packets.
func (m *Merger) Reset() {
	clear(m.packets) // borrowed bytes must not be kept alive
	m.packets = m.packets[:0]
	m.open = [mergeFlows]int{}
}

// find is where the open run of a segment's flow is, or -1.
func (m *Merger) find(s segmentOf) int {
	for slot, first := range m.open {
		if first != 0 && s.sameFlow(m.packets[first-1].packet) {
			return slot
		}
	}
	return -1
}

// free is a place for another open run.
func (m *Merger) free() int {
	for slot, first := range m.open {
		if first == 0 {
			return slot
		}
	}
	m.turn = (m.turn + 1) % mergeFlows
	return m.turn
}

// What a packet is to a Merger.
type mergeKind int

const (
	notTCP  mergeKind = iota
	obscure           // TCP, of whichever flow
	single            // TCP that stays alone
	plain             // TCP that can be merged
)

// A segmentOf is a packet with TCP right behind its IP header, which has no
// options, and the lengths of both headers.
type segmentOf struct {
	packet  []byte
	ip, tcp int
}

func parseSegment(p []byte) (s segmentOf, is mergeKind) {
	s = segmentOf{packet: p}
	switch {
	case len(p) < ipv4MinLen:
		return s, notTCP
	case p[0]>>4 == 4:
		if p[ipv4Protocol] != protocolTCP {
			return s, notTCP
		}
		if p[0]&0x0f != ipv4MinLen/4 || binary.BigEndian.Uint16(p[ipv4Fragment:])&0x3fff != 0 || int(binary.BigEndian.Uint16(p[ipv4TotalLength:])) != len(p) {
			return s, obscure
		}
		s.ip = ipv4MinLen
	case p[0]>>4 == 6 && len(p) >= ipv6Len:
		switch p[ipv6NextHeader] {
		case protocolUDP, protocolICMPv6:
			return s, notTCP
		case protocolTCP:
		default: // extension headers, and TCP behind them perhaps
			return s, obscure
		}
		if int(binary.BigEndian.Uint16(p[ipv6PayloadLength:])) != len(p)-ipv6Len {
			return s, obscure
		}
		s.ip = ipv6Len
	default:
		return s, notTCP
	}
	t := p[s.ip:]
	if len(t) < tcpMinLen {
		return s, obscure
	}
	s.tcp = int(t[tcpOffset]>>4) * 4
	if s.tcp < tcpMinLen || s.tcp >= len(t) || t[tcpOffset]&0x0f != 0 || t[tcpFlags]&^tcpPSH != tcpACK {
		return s, single
	}
	return s, plain
}

func (s segmentOf) sequence() uint32 {
	return binary.BigEndian.Uint32(s.packet[s.ip+tcpSequence:])
}

// sameFlow reports whether first, which begins a run, is between the same
// addresses and ports.
func (s segmentOf) sameFlow(first []byte) bool {
	p := s.packet
	if p[0]>>4 != first[0]>>4 {
		return false
	}
	addresses := ipv4Addresses // which the ports follow
	if s.ip == ipv6Len {
		addresses = ipv6Addresses
	}
	return bytes.Equal(p[addresses:s.ip+4], first[addresses:s.ip+4])
}

// continues reports whether the headers of a segment are equal to those of the
// first of its run, which is of the same flow, where they need to be.
func (s segmentOf) continues(first []byte) bool {
	p, ip := s.packet, s.ip
	if ip == ipv6Len {
		// Version, traffic class and flow label; next header and hop limit.
		if !bytes.Equal(p[:ipv6PayloadLength], first[:ipv6PayloadLength]) || !bytes.Equal(p[ipv6NextHeader:ipv6Addresses], first[ipv6NextHeader:ipv6Addresses]) {
			return false
		}
	} else if !bytes.Equal(p[:ipv4TotalLength], first[:ipv4TotalLength]) || !bytes.Equal(p[ipv4Fragment:ipv4Checksum], first[ipv4Fragment:ipv4Checksum]) {
		// Version and type of service; flags, time to live and protocol.
		return false
	}
	p, first = p[ip:], first[ip:]
	// A first one with longer options is longer than these, or differs in its offset.
	return p[tcpOffset] == first[tcpOffset] &&
		bytes.Equal(p[tcpAck:tcpOffset], first[tcpAck:tcpOffset]) &&
		bytes.Equal(p[tcpWindow:tcpChecksum], first[tcpWindow:tcpChecksum]) &&
		bytes.Equal(p[tcpUrgent:s.tcp], first[tcpUrgent:s.tcp])
}
