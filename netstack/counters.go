package netstack

import "sync/atomic"

// Counters say what went through a NIC, a Router or a Port, in IP packets and
// their bytes, and what was dropped there.
type Counters struct {
	PacketsIn, BytesIn   uint64 // handed to the stack, answered, or switched
	PacketsOut, BytesOut uint64 // handed to the sink below
	Switched             uint64 // of the packets in: handed to another session
	Fragmented           uint64 // on the way out, since the session's MTU is smaller than the stack reckons with; each is many packets out

	// Dropped on the way in.
	NotIP          uint64 // neither IPv4 nor IPv6
	NoIPv6         uint64 // IPv6, where it is not carried
	Malformed      uint64 // too short, or of lengths that contradict each other
	Martian        uint64 // from or to an address that no packet on a link can have
	Spoofed        uint64 // from an address that is not the session's
	ClientToClient uint64 // to an address of a session, where that is not allowed or is its own
	LinkLocal      uint64 // to or from a link-local or multicast address of IPv6, where nothing has an answer to it
	Expired        uint64 // whose time to live has run out
	TooLong        uint64 // longer than the session carries that it is for, where it must not be fragmented
	Excessive      uint64 // asking for an answer more often than there is one
	Late           uint64 // after closing

	// Dropped on the way in, for a checksum that is wrong.
	CorruptIPv4, CorruptTCP, CorruptUDP uint64
	CorruptICMP                         uint64 // and ICMPv6

	// Dropped on the way out.
	NoRoute    uint64 // to an address of no session, or one that must not leave
	Unresolved uint64 // to a neighbor that did not answer, or for which too much waited

	// Dropped on the way in from Ethernet.
	OtherHost uint64 // frames to the MAC address of another host, or a group that we are not in
	OtherVLAN uint64 // frames of a VLAN that has no sub-interface

	Duplicate uint64 // times that another host said that it has an address of ours
}

// Add adds d to c.
func (c *Counters) Add(d Counters) {
	c.PacketsIn += d.PacketsIn
	c.BytesIn += d.BytesIn
	c.PacketsOut += d.PacketsOut
	c.BytesOut += d.BytesOut
	c.Switched += d.Switched
	c.Fragmented += d.Fragmented
	c.NotIP += d.NotIP
	c.NoIPv6 += d.NoIPv6
	c.Malformed += d.Malformed
	c.Martian += d.Martian
	c.Spoofed += d.Spoofed
	c.ClientToClient += d.ClientToClient
	c.LinkLocal += d.LinkLocal
	c.Expired += d.Expired
	c.TooLong += d.TooLong
	c.Excessive += d.Excessive
	c.Late += d.Late
	c.CorruptIPv4 += d.CorruptIPv4
	c.CorruptTCP += d.CorruptTCP
	c.CorruptUDP += d.CorruptUDP
	c.CorruptICMP += d.CorruptICMP
	c.NoRoute += d.NoRoute
	c.Unresolved += d.Unresolved
	c.OtherHost += d.OtherHost
	c.OtherVLAN += d.OtherVLAN
	c.Duplicate += d.Duplicate
}

type counters struct {
	packetsIn, bytesIn, packetsOut, bytesOut, switched, fragmented        atomic.Uint64
	notIP, noIPv6, malformed, martian, spoofed, clientToClient, linkLocal atomic.Uint64
	expired, tooLong, excessive, late, noRoute                            atomic.Uint64
	corruptIPv4, corruptTCP, corruptUDP, corruptICMP                      atomic.Uint64
	unresolved, otherHost, otherVLAN, duplicate                           atomic.Uint64
}

func (c *counters) snapshot() Counters {
	return Counters{
		PacketsIn: c.packetsIn.Load(), BytesIn: c.bytesIn.Load(),
		PacketsOut: c.packetsOut.Load(), BytesOut: c.bytesOut.Load(),
		Switched: c.switched.Load(), Fragmented: c.fragmented.Load(),
		NotIP: c.notIP.Load(), NoIPv6: c.noIPv6.Load(), Malformed: c.malformed.Load(), Martian: c.martian.Load(),
		Spoofed: c.spoofed.Load(), ClientToClient: c.clientToClient.Load(), LinkLocal: c.linkLocal.Load(),
		Expired: c.expired.Load(), TooLong: c.tooLong.Load(), Excessive: c.excessive.Load(), Late: c.late.Load(),
		NoRoute: c.noRoute.Load(), Unresolved: c.unresolved.Load(), OtherHost: c.otherHost.Load(), OtherVLAN: c.otherVLAN.Load(), Duplicate: c.duplicate.Load(),
		CorruptIPv4: c.corruptIPv4.Load(), CorruptTCP: c.corruptTCP.Load(), CorruptUDP: c.corruptUDP.Load(), CorruptICMP: c.corruptICMP.Load(),
	}
}

// sent counts packets that went out, of so many bytes in all.
func (c *counters) sent(packets, bytes int) {
	c.packetsOut.Add(uint64(packets))
	c.bytesOut.Add(uint64(bytes))
}
