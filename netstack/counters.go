package netstack

import "sync/atomic"

// Counters say what went through a NIC, a Router or a Port, in IP packets and
// their bytes, and what was dropped there.
type Counters struct {
	PacketsIn, BytesIn   uint64 // handed to the stack
	PacketsOut, BytesOut uint64 // handed to the sink below

	// Dropped on the way in.
	NotIP          uint64 // neither IPv4 nor IPv6
	NoIPv6         uint64 // IPv6, where it is not carried
	Malformed      uint64 // too short, or of lengths that contradict each other
	Martian        uint64 // from or to an address that no packet on a link can have
	Spoofed        uint64 // from an address that is not the session's
	ClientToClient uint64 // to an address of a session
	Late           uint64 // after closing

	// Dropped on the way out.
	NoRoute uint64 // to an address of no session, or one that must not leave
}

// Add adds d to c.
func (c *Counters) Add(d Counters) {
	c.PacketsIn += d.PacketsIn
	c.BytesIn += d.BytesIn
	c.PacketsOut += d.PacketsOut
	c.BytesOut += d.BytesOut
	c.NotIP += d.NotIP
	c.NoIPv6 += d.NoIPv6
	c.Malformed += d.Malformed
	c.Martian += d.Martian
	c.Spoofed += d.Spoofed
	c.ClientToClient += d.ClientToClient
	c.Late += d.Late
	c.NoRoute += d.NoRoute
}

type counters struct {
	packetsIn, bytesIn, packetsOut, bytesOut                                  atomic.Uint64
	notIP, noIPv6, malformed, martian, spoofed, clientToClient, late, noRoute atomic.Uint64
}

func (c *counters) snapshot() Counters {
	return Counters{
		PacketsIn: c.packetsIn.Load(), BytesIn: c.bytesIn.Load(),
		PacketsOut: c.packetsOut.Load(), BytesOut: c.bytesOut.Load(),
		NotIP: c.notIP.Load(), NoIPv6: c.noIPv6.Load(), Malformed: c.malformed.Load(), Martian: c.martian.Load(),
		Spoofed: c.spoofed.Load(), ClientToClient: c.clientToClient.Load(), Late: c.late.Load(),
		NoRoute: c.noRoute.Load(),
	}
}
