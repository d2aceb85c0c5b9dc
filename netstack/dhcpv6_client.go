package netstack

import (
	"encoding/binary"
	"io"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// How a host asks for what Router Advertisements do not say (RFC 8415 §7.6, §18.2.6,
// §21.23).
const (
	optionElapsedTime        dhcpOption = 8
	optionOptionRequest      dhcpOption = 6
	optionInformationRefresh dhcpOption = 32

	infTimeout    = time.Second    // INF_TIMEOUT
	infMaxTimeout = time.Hour      // INF_MAX_RT
	infRefresh    = 24 * time.Hour // IRT_DEFAULT
	infRefreshMin = 10 * time.Minute
)

// An infoClient is a client of stateless DHCPv6: a machine without clock and I/O. Its
// owner calls start when a router has said that DHCPv6 knows more, handle with what came,
// and advance when deadline has come.
type infoClient struct {
	random io.Reader

	transaction [3]byte
	began       time.Time // the first message; zero: not started
	due         time.Time // when to send; zero: never
	timeout     time.Duration
	waiting     bool // for a reply
	dns         []netip.Addr
}

// start begins to ask, unless that has been done.
func (c *infoClient) start(now time.Time) {
	if c.began.IsZero() {
		c.begin(now)
	}
}

func (c *infoClient) begin(at time.Time) {
	c.began, c.due, c.timeout, c.waiting = at, at, 0, true
	io.ReadFull(c.random, c.transaction[:])
}

func (c *infoClient) deadline() time.Time { return c.due }

// advance gives the message that is to be sent now, or nil.
func (c *infoClient) advance(now time.Time) []byte {
	if c.due.IsZero() || now.Before(c.due) {
		return nil
	}
	if !c.waiting {
		c.begin(now)
	}
	// RFC 8415 §15: RT = 2*RTprev + RAND*RTprev, with RAND between -0.1 and +0.1.
	switch next := 2*c.timeout + c.fuzz(c.timeout); {
	case c.timeout == 0:
		c.timeout = infTimeout + c.fuzz(infTimeout)
	case next > infMaxTimeout:
		c.timeout = infMaxTimeout + c.fuzz(infMaxTimeout)
	default:
		c.timeout = next
	}
	c.due = now.Add(c.timeout)

	w := dhcpWriter{byte(dhcpInformationRequest), c.transaction[0], c.transaction[1], c.transaction[2]}
	// Without a client identifier, which it need not have: nobody can tell then who asks
	// twice (RFC 7844 §4.3.1).
	w.option(optionElapsedTime, func(w *dhcpWriter) {
		*w = binary.BigEndian.AppendUint16(*w, uint16(min(now.Sub(c.began)/(10*time.Millisecond), 0xffff)))
	})
	w.option(optionOptionRequest, func(w *dhcpWriter) {
		*w = binary.BigEndian.AppendUint16(*w, uint16(optionDNSServers))
		*w = binary.BigEndian.AppendUint16(*w, uint16(optionInformationRefresh))
	})
	return w
}

// fuzz is a tenth of d, more or less.
func (c *infoClient) fuzz(d time.Duration) time.Duration {
	var b [2]byte
	io.ReadFull(c.random, b[:])
	return d / 10 * time.Duration(int(binary.BigEndian.Uint16(b[:]))-0x8000) / 0x8000
}

// handle takes in what a server has answered.
func (c *infoClient) handle(now time.Time, message []byte) {
	if !c.waiting || len(message) < dhcpHeaderLen || dhcpType(message[0]) != dhcpReply || [3]byte(message[1:]) != c.transaction {
		return
	}
	var dns []netip.Addr
	var server []byte
	refresh := infRefresh
	ok := eachOption(message[dhcpHeaderLen:], func(code dhcpOption, value []byte) bool {
		switch code {
		case optionServerID:
			return setDUID(&server, value)
		case optionDNSServers:
			for ; len(value) >= 16; value = value[16:] {
				if a := netip.AddrFrom16([16]byte(value)); len(dns) < maxServers && (isGlobal(a) || a.IsLinkLocalUnicast()) && !slices.Contains(dns, a) {
					dns = append(dns, a)
				}
			}
			return len(value) == 0
		case optionInformationRefresh:
			if len(value) != 4 {
				return false
			}
			refresh = max(seconds(binary.BigEndian.Uint32(value)), infRefreshMin)
		case optionStatusCode:
			return len(value) >= 2 && dhcpStatus(binary.BigEndian.Uint16(value)) == statusSuccess
		}
		return true
	})
	if !ok || server == nil { // RFC 8415 §16.10
		return
	}
	c.dns, c.waiting, c.due = dns, false, now.Add(refresh)
}

// inform has a look at a packet of UDP that may be the answer of a DHCPv6 server, under
// n.v6.mu, and reports whether it is.
func (v *nic6) inform(now time.Time, p header.IPv6) bool {
	u := header.UDP(p.Payload())
	if v.info.began.IsZero() || p.TransportProtocol() != header.UDPProtocolNumber || len(u) < header.UDPMinimumSize || u.DestinationPort() != dhcpClientPort ||
		fromAddress(p.DestinationAddress()) != v.linkLocal {
		return false
	}
	if int(u.Length()) == len(u) && u.Checksum() == udpChecksum(p) {
		v.info.handle(now, u[header.UDPMinimumSize:])
	}
	return true
}

// informationRequest is a message of DHCPv6 in a packet.
func informationRequest(src netip.Addr, message []byte) []byte {
	p := newIPv6(src, allDHCPServers, 1, header.UDPProtocolNumber, header.UDPMinimumSize+len(message))
	u := header.UDP(p.Payload())
	u.Encode(&header.UDPFields{SrcPort: dhcpClientPort, DstPort: dhcpServerPort, Length: uint16(len(u))})
	copy(u[header.UDPMinimumSize:], message)
	u.SetChecksum(udpChecksum(p))
	return p
}
