package netstack

import (
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	dhcp4ServerPort = 67
	dhcp4ClientPort = 68
)

// A dhcp4Datagram is a message of DHCPv4 and where it goes.
type dhcp4Datagram struct {
	message  []byte // what is in UDP
	from, to netip.AddrPort
	at       mac // zero: whoever has the address, by ARP
}

// dhcp4 takes a packet of UDP over IPv4 that is one of DHCP's, before there is an
// address that it could be for. It reports whether it was.
func (e *etherLayer) dhcp4(p []byte, from mac) bool {
	client, server := e.client, e.server
	h := header.IPv4(p)
	hlen, total := int(h.HeaderLength()), int(h.TotalLength())
	if hlen < header.IPv4MinimumSize || total > len(p) || total < hlen+header.UDPMinimumSize || h.More() || h.FragmentOffset() != 0 {
		return false
	}
	u := header.UDP(p[hlen:total])
	port := u.DestinationPort()
	if !(port == dhcp4ClientPort && client != nil) && !(port == dhcp4ServerPort && server != nil) {
		return false
	}
	if int(u.Length()) != len(u) || link.Verify(p[:total]) != link.Intact {
		e.counters.malformed.Add(1)
		return true
	}
	message := u[header.UDPMinimumSize:]
	if port == dhcp4ClientPort {
		client(message, from)
		return true
	}
	if r := server.handle(time.Now(), message, from); r != nil {
		e.sendDHCP4(dhcp4Datagram{
			message: r.message, at: r.at,
			from: netip.AddrPortFrom(server.cfg.Server.Addr(), dhcp4ServerPort), to: netip.AddrPortFrom(r.to, dhcp4ClientPort),
		})
	}
	return true
}

// sendDHCP4 sends a message of DHCP.
func (e *etherLayer) sendDHCP4(d dhcp4Datagram) {
	p := d.packet()
	if d.at == (mac{}) {
		putWhole(etherDown{e}, [][]byte{p}, len(p))
		return
	}
	e.send(d.at, etherIPv4, p)
}

// packet is the message in UDP and IPv4.
func (d dhcp4Datagram) packet() []byte {
	size := header.IPv4MinimumSize + header.UDPMinimumSize + len(d.message)
	p := make(header.IPv4, size)
	p.Encode(&header.IPv4Fields{
		TotalLength: uint16(size), TTL: echoHopLimit, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: toAddress(d.from.Addr()), DstAddr: toAddress(d.to.Addr()),
	})
	p.SetChecksum(^p.CalculateChecksum())
	u := header.UDP(p[header.IPv4MinimumSize:])
	u.Encode(&header.UDPFields{SrcPort: d.from.Port(), DstPort: d.to.Port(), Length: uint16(len(u))})
	copy(u[header.UDPMinimumSize:], d.message)
	u.SetChecksum(udpSum(p.SourceAddress(), p.DestinationAddress(), u))
	return p
}
