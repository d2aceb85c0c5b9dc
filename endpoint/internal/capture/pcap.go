package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

const (
	magic          = 0xa1b2c3d4 // little-endian, microseconds
	linkEthernet   = 1
	fileHeader     = 24
	recordHeader   = 16
	ethernetHeader = 14
	etherTypeIPv4  = 0x0800
	etherTypeIPv6  = 0x86dd
	ipv6Header     = 40
	udpHeader      = 8
	protocolUDP    = 17
	protocolL2TP   = 115
)

// read takes a pcap file apart, in the one flavour that we keep: little-endian,
// microseconds, Ethernet.
func read(file []byte) (packets []Packet, err error) {
	le := binary.LittleEndian
	if len(file) < fileHeader || le.Uint32(file) != magic || le.Uint32(file[20:]) != linkEthernet {
		return nil, fmt.Errorf("not a little-endian pcap file of Ethernet frames with microseconds")
	}
	for file = file[fileHeader:]; len(file) > 0; {
		if len(file) < recordHeader {
			return nil, fmt.Errorf("%d octets after the last packet", len(file))
		}
		at := time.Unix(int64(le.Uint32(file)), int64(le.Uint32(file[4:]))*1000).UTC()
		n, whole := int(le.Uint32(file[8:])), int(le.Uint32(file[12:]))
		if n > whole || n > len(file)-recordHeader {
			return nil, fmt.Errorf("of a packet of %d octets %d are recorded, the file ends after %d", whole, n, len(file)-recordHeader)
		}
		// What the recorder has cut off is zero here, until its number is known.
		frame := append(append(make([]byte, 0, whole), file[recordHeader:recordHeader+n]...), make([]byte, whole-n)...)
		p, ok := ip(frame)
		if ok {
			p.Time = at
			end := cap(frame) - cap(p.Payload) + len(p.Payload) // of the payload, in the frame
			p.Missing = min(max(0, end-n), len(p.Payload))
			p.Payload = p.Payload[:len(p.Payload)-p.Missing]
			packets = append(packets, p)
		}
		file = file[recordHeader+n:]
	}
	return packets, nil
}

// ip takes a datagram out of an Ethernet frame with a whole IP packet.
func ip(frame []byte) (p Packet, ok bool) {
	if len(frame) < ethernetHeader {
		return p, false
	}
	be, packet := binary.BigEndian, frame[ethernetHeader:]
	switch be.Uint16(frame[12:]) {
	case etherTypeIPv4:
		if len(packet) < 20 {
			return p, false
		}
		n, total := int(packet[0]&0xf)*4, int(be.Uint16(packet[2:]))
		if fragment := be.Uint16(packet[6:])&0x3fff != 0; fragment || total > len(packet) || total < n {
			return p, false
		}
		src, dst := netip.AddrFrom4([4]byte(packet[12:])), netip.AddrFrom4([4]byte(packet[16:]))
		return datagram(src, dst, packet[9], packet[n:total]) // Ethernet pads short frames
	case etherTypeIPv6:
		if len(packet) < ipv6Header {
			return p, false
		}
		total := ipv6Header + int(be.Uint16(packet[4:]))
		if total > len(packet) {
			return p, false
		}
		src, dst := netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:]))
		return datagram(src, dst, packet[6], packet[ipv6Header:total])
	}
	return p, false
}

// datagram is what a UDP datagram or an IP packet of protocol 115 has in it.
func datagram(src, dst netip.Addr, protocol uint8, b []byte) (p Packet, ok bool) {
	switch {
	case protocol == protocolL2TP:
		p.Src, p.Dst, p.Payload = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0), b
		return p, true
	case protocol == protocolUDP && len(b) >= udpHeader:
		p.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
		p.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
		p.Payload = b[udpHeader:]
		return p, true
	}
	return p, false
}
