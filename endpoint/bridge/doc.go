// Package bridge is a learning switch of Ethernet frames inside the process. Each
// [Port] is a [link.Sink] for what comes in at it, and has one for what goes out:
// a session, a network stack, a TAP device. Nothing but the standard library and
// package link is needed.
//
//	session ◄──► Port ─┐
//	session ◄──► Port ─┼─ Bridge: which MAC address is behind which port
//	stack   ◄──► Port ─┘
//
// # The way of a frame
//
//	Put ─► source ─► learnt here, moved here, or refused
//	  └──► destination ─┬─ known, another port ─► that port's out, all of a batch at once
//	                    ├─ known, this port   ─► dropped: there is no hairpin
//	                    ├─ 01:80:c2:00:00:0x  ─► dropped: of this link only (IEEE 802.1Q §8.6.3)
//	                    └─ unknown, or many   ─► flooded, so many frames a second
//
// Frames of one batch for one port stay in one batch and in order, so that the
// socket below sends them by as few calls as before; a batch for one port only is
// handed on as it is. Frames go with the tags of 802.1Q that they have, to all ports; an
// address is learnt for each VLAN by itself, since a router may have the same one in
// all of them.
//
// # Bounds
//
// A port has room for so many addresses, and so has the table. When that is full, a
// port with less than its share has room made for it by the port that has most; who
// has more than that learns nothing new. Frames of stations that could not be learnt
// are forwarded, but so many a second, as those that are flooded.
//
// # Stations that move, and loops
//
// An address belongs to the port on which it was heard last. While a station talks,
// its frames are not taken from elsewhere: for a second after it was heard on one port
// they are dropped on others. (Who uses the address of a station that has been silent for
// so long has it for as long as he talks himself, as behind any switch. The addresses that
// a port was given, as our own stack's are, cannot be had so.) A frame that comes back through a loop does that, at
// once, and dies; it is what a storm is made of. What has no place in the table is
// bounded by its rate, so that no loop can carry more than that.
//
// A loop also returns the probes that each port sends once a second: 16 random bytes
// from the bridge's own random address to a group address of its own, of the local
// experimental EtherType. A port on which a probe of a port with a lower number, or
// its own, comes back is held: nothing goes in or out until none has come back for
// half a minute. Of two ports with a loop between them one goes on working, and of two
// bridges with a loop between them the one with the lower address holds a port: a bridge
// that gets another's probes waits for it. Who waits in vain, because the loop has one
// direction only, or goes by the other bridge, holds a port after some seconds. Who sits
// behind a port can have that port held, by sending back what he gets, and no other.
//
// # Goroutines and locks
//
// A frame is forwarded on the goroutine that calls Put; a timer sends the probes and
// forgets old addresses. Looking up takes a read lock of a sixteenth of the table, which
// nobody holds for longer than it takes to enter an address.
package bridge
