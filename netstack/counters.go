package netstack

import "sync/atomic"

// Counters say what went through a NIC, a Router or a Port, in IP packets and
// their bytes, and what was dropped there.
type Counters struct {
	PacketsIn, BytesIn   uint64 // handed to the stack
	PacketsOut, BytesOut uint64 // handed to the sink below

	// Dropped on the way in.
	NotIPv4        uint64 // another version
	Malformed      uint64 // too short, or of lengths that contradict each other
	Martian        uint64 // from or to a loopback address
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
	c.NotIPv4 += d.NotIPv4
	c.Malformed += d.Malformed
	c.Martian += d.Martian
	c.Spoofed += d.Spoofed
	c.ClientToClient += d.ClientToClient
	c.Late += d.Late
	c.NoRoute += d.NoRoute
}

type counters struct {
	packetsIn, bytesIn, packetsOut, bytesOut                            atomic.Uint64
	notIPv4, malformed, martian, spoofed, clientToClient, late, noRoute atomic.Uint64
}

func (c *counters) snapshot() Counters {
	return Counters{
		PacketsIn: c.packetsIn.Load(), BytesIn: c.bytesIn.Load(),
		PacketsOut: c.packetsOut.Load(), BytesOut: c.bytesOut.Load(),
		NotIPv4: c.notIPv4.Load(), Malformed: c.malformed.Load(), Martian: c.martian.Load(),
		Spoofed: c.spoofed.Load(), ClientToClient: c.clientToClient.Load(), Late: c.late.Load(),
		NoRoute: c.noRoute.Load(),
	}
}
