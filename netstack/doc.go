// Package netstack is a TCP/IP stack inside the process, gVisor's, as net.Conn
// and net.Listener. IP packets come from and go to a [link.Sink], such as a
// session of package endpoint; no privilege is needed and the host's own
// network is never touched.
//
//	DialContext  Listen  ListenPacket  LookupHost  Ping
//	      │         │         │            │        │
//	      └─────────┴────── Stack ─────────┴────────┘     gVisor: TCP, UDP, ICMP, IP
//	                          │
//	            ┌─────────────┴──────────────┐
//	           NIC                         Router         own addresses, one MTU
//	      one session below             │    │    │       by destination address
//	            │                     Port  Port  Port    one for each session
//	       out  │  Put                 │     │     │
//	            ▼                      ▼     ▼     ▼
//	         link.Sink              link.Sinks
//
// A client gives each session a Stack of its own, so that tunnels with the
// same addresses inside never meet. A server has one Stack with one [Router].
//
// # Names
//
// A name is resolved by the DNS servers that the tunnel gave
// ([IPConfig]) and through the tunnel, never by the host's resolver nor by its
// hosts file. Without such servers only addresses can be dialled.
//
// With IPv6 its IPv6 addresses are asked for at the same time and come first,
// and DialContext tries both families (Happy Eyeballs, RFC 8305).
//
// # IPv6
//
// A NIC with an interface identifier, which IPV6CP negotiated, has IPv6:
//
//	IPV6CP ──► fe80::/64 + identifier    at once
//	              │
//	              ├──► Router Solicitation      three times, 4 s apart
//	              ◄─── Router Advertisement     at any time
//	              │
//	              ├─ prefixes ──► global addresses, opaque and stable (RFC 7217)
//	              ├─ lifetime ──► default route
//	              ├─ RDNSS    ──► DNS servers (RFC 8106)
//	              └─ MTU
//
// gVisor has a part for this, which is off: it takes any prefix, multicast ones as
// well, does not stop soliciting, knows no MTU option, and must not be called
// back from its callbacks. What the network says is kept in a machine without
// clock, within limits, and the stack is told what has changed.
//
// # Ethernet
//
// A session that carries Ethernet frames has an [EthernetNIC]. Between its frames and the IP
// packets of a NIC is a layer, as PPP is one:
//
//	 Stack      gVisor
//	   │
//	  NIC       the same as on a point-to-point link
//	   │
//	 layer ─────┬─ neighbors: ARP, Neighbor Discovery, duplicates
//	   │        ├─ routes: who is next on the way
//	   │        └─ DHCPv4: a client, or a server for the others
//	   ▼
//	link.Sink   frames, with 14 octets in front, or 18 in a VLAN
//
// gVisor has neighbors as well, but one table for each of its stacks: a gateway's
// [Forwarder] has a stack of its own, which would ask for the hosts of the segment in the
// names of hosts far away. Here both are above the same layer, of which they know nothing.
// What neighbors say, and what is sent to those that there are not, is bounded.
//
// With [EthernetConfig.DHCP] the IPv4 address, its routes, DNS servers and MTU are leased
// (RFC 2131): asked for again in time, given up when another host has the address, and
// given back by Close. The addresses of IPv6 come as on a PPP link, and DNS servers from
// DHCPv6, too, where a router says so. All of it can be set up instead, or besides.
//
// With a [Forwarder] or an [Advertisement] the interface is its segment's gateway: a Router
// whose one Port is the segment, with all that is said of them below.
//
//	frames ─► layer ─► Port ─► Router ─┬─ own address ──► Stack
//	                                   └─ any other ────► Forwarder
//
// # What a server's sessions meet
//
// The link-local addresses of two sessions may be the same, so that nothing that is
// on a link reaches the stack: the Port answers it.
//
//	session ──► Port ──┬─ fe80::/10, ff00::/8 ──► echo, Router and Neighbor Solicitations, DHCPv6
//	                   ├─ not from its prefixes ──► dropped
//	                   ├─ to another session ──► its out, if that is allowed: with one hop less
//	                   └─ else ──► the stack
//
// A prefix of 64 bits is advertised ([PortConfig]), and the session makes its addresses
// from it (RFC 4862); a shorter one for the networks behind it is given by DHCPv6
// (RFC 8415), when asked for, for as long as the session stands. Nothing is remembered:
// each answer follows from the configuration. One timer advertises to all, every
// 10 to 30 minutes, since hosts solicit only once.
//
// A session may carry less than the others. What is too long for it is fragmented where
// it comes from the stack, which knows one MTU; another session is told of it (Packet
// Too Big). The segment size of TCP is clamped both ways, so that this is rare.
//
// # Forwarding
//
// A Router with a [Forwarder] has a second gVisor stack beside the Stack's own. What
// is for neither the Router's addresses nor another session goes there, and that
// stack takes packets to any address and speaks from any. In the first one,
// listeners at ":80" would take the sessions' connections to everywhere.
//
//	               ┌─ own address ──────────► Stack        Listen, Dial
//	Port ── Router ┼─ another session's ────► Port         if allowed
//	               └─ any other, unicast ───► Forwarder    TCPFlow, UDPFlow, EchoRequest
//
// A flow waits for the Forwarder's decision, so that the far end's refusal becomes
// the client's: a SYN is answered when the far end has been connected, by a reset when
// that has refused, by an ICMP error otherwise. Each session has its own bound of
// undecided flows.
//
// # When a tunnel goes down
//
// [Stack.Fail] and [Stack.Close] end everything on the stack at once, as
// [NIC.Close] and [Port.Close] end what goes through them: blocked calls
// return, later ones fail, with the error that was given, or net.ErrClosed.
// Nothing is ever dialled around the tunnel. Fail calls nothing below it and
// may be called anywhere; Close must follow it, and neither Close may be called
// from within a Sink.
//
// # Errors
//
// They are *net.OpError and *net.DNSError as those of package net are, and
// satisfy errors.Is for syscall.ECONNREFUSED, ECONNRESET, EHOSTUNREACH,
// ENETUNREACH, EADDRINUSE and so forth, for os.ErrDeadlineExceeded and for
// net.ErrClosed. A connection that broke never reads as one that ended: io.EOF
// means that the peer has sent its FIN and that nothing before it was lost (or
// that CloseRead was called).
//
// # What comes in
//
// A batch is looked at where it lies. The checksums of what is for the stack are
// verified here, but for what lies in fragments, and TCP segments that follow each
// other are merged ([link.Merger]): gVisor's work is by the packet. What goes on to
// another session is not touched, since it would not fit when it is merged.
//
//	Put ─► check ─┬─► another session          as it is, with one hop less
//	              └─► checksums ─► Merger ─► one copy ─► gVisor
//
// How much all connections together invite their peers to send is bounded by what the
// socket below holds ([Stack.SetReceiveWindow]), and those that receive much share it.
//
// # Goroutines and buffers
//
// gVisor runs GOMAXPROCS goroutines per Stack for TCP, and again for a Forwarder;
// there are no others, and none for a conn. A Forwarder's functions have one for
// each flow. A NIC with IPv6 has a timer, and so have a Router with IPv6, an EthernetNIC,
// and its client of DHCP.
//
// What comes in is copied once, from the frame into gVisor's memory, on the
// goroutine that calls Put. The buffer of the socket cannot be handed over instead:
// gVisor's packets are made of memory of its own pools alone. That copy takes a fiftieth
// of a bulk transfer's CPU time; it is gVisor's clearing of all memory that it takes from
// there, for either direction, which takes a fifth, and would if the socket read into it. On
// the way from gVisor to a socket of the system's, and back, there is no copy of ours
// (SendFrom and ReceiveTo of a TCP connection). What goes out is not copied: gVisor hands a
// super-packet of up to 64 segments to the link endpoint, which gives each
// segment a head of its own and lends the payload ([link.Split]), on the
// goroutine that wrote, or on the one of gVisor's that an acknowledgement woke.
// The connection's lock is held meanwhile. Therefore a Sink below a Stack must
// not answer a Put by calling that Stack's Put before it returns: an ICMP
// error would wait for the lock that its own packet was sent under.
package netstack
