// Package node is the whole thing for an embedding program: a [Client] that stays
// connected, a [Server] with users and pools, a [Pseudowire] without any negotiation, and
// a [Hub] of them. It ties package endpoint, which has
// the tunnels, to package netstack, which has TCP/IP; the command line is built on it.
//
// # A client
//
//	c, err := node.Dial(ctx, &node.Client{Server: "lns.example.net", User: "alice", Password: password})
//	web := &http.Client{Transport: &http.Transport{DialContext: c.DialContext}}
//	ln, err := c.Listen("tcp", ":80")
//
// A Client has one stack for its life, and one NIC, session, tunnel and socket for
// each time that it is connected:
//
//	DialContext  Listen  ListenPacket  LookupHost  Ping
//	      └─────────┴─────────┼────────────┴────────┘
//	                    netstack.Stack ················· as long as the Client
//	                          │
//	   keeper ──► netstack.NIC · Session · Tunnel · Endpoint ···· as long as it lasts
//	     │
//	     └─ servers in turn, their names resolved afresh, one address family after the
//	        other; a pause between rounds that grows to a minute, and is random
//
// What the loss of the tunnel means for who uses the Client:
//
//	a connection           its calls fail at once, with a [DownError]
//	a new one              fails at once with a [DownError] that says why the tunnel is
//	                       down, or waits ([WithWait])
//	a listener             waits, and has connections again
//	a UDP socket           reading waits, writing fails
//	a name                 as a new connection
//
// and nothing ever goes around the tunnel.
//
// That the peer is gone is found by package endpoint: by its goodbye, or by its silence,
// within 30 s while there is traffic. A machine that has slept does not wait for that:
// where one of its clocks has jumped the peer is asked at once. A NAT that has
// forgotten us is a silent peer, and the redial has a new port. IPv6 addresses stay the
// same as long as the server advertises the same prefix.
//
// By L2TPv3 ([Client.V3]) the session may also be one of Ethernet, a VLAN or IP
// ([Client.Pseudowire]), with addresses as a Pseudowire below has them; the MAC address is
// the same for as long as the Client lives.
//
// Errors that do not mend by themselves, such as a wrong password, are tried again
// slowly, since servers lock accounts; [Dial]'s first attempt returns them, as it
// returns all others.
//
// # A server
//
//	s := &node.Server{Users: map[string]node.User{"alice": {Password: password}}, Egress: &node.Egress{}}
//	err := s.Start()
//	web, err := s.Listen("tcp", ":80")
//
// A Server has one socket below, one stack above, and everything that a session is
// given by its addresses:
//
//	Users, Pool, Pool6 ─► addresses ─► a grant: IPv4, IPv6 prefix, delegated prefix
//	                                         │ routes
//	Endpoint ──► Session ──► caller ──► netstack.Port ─┬─ Router ── Stack: Listen, Dial,
//	                                         │         │            the DNS forwarder
//	                              ClientToClient ◄─────┴─► Egress: the host's sockets
//
// A grant is given back when both the endpoint and the router have done with it, so
// that nobody gets an address that is still routed to somebody else. What is fixed
// for a user is given to each of its calls at once; the old session leaves the routes
// at the moment when the new one, authenticated and configured, enters them.
//
// With V3 the same socket answers L2TPv3, too. What a peer asks for by a Remote End ID is
// a [Circuit], or, where there are none, Ethernet, and PPP if there are users:
//
//	PPP               Session ──► caller ──► netstack.Port ──► Router ─┐
//	IP                Session ──► caller ──► netstack.Port ──► Router ─┼─ Stack: Listen, Dial, DNS
//	Ethernet, VLAN    Session ──► caller ──► bridge.Port ─┐            │
//	                                     bridge.Bridge ───┴► LAN ──────┘
//
// The [LAN] is an Ethernet with a network of its own; its DHCP server, advertisements and
// Egress are as in a [Hub]. Without ClientToClient the switch's ports are isolated, and a
// guard in front of each drops frames with addresses that another client has.
//
// # A pseudowire
//
//	p, err := node.OpenPseudowire(ctx, &node.Pseudowire{Local: ":1701", Remote: "192.0.2.7:1701", Static: static, DHCP: true})
//
// A [Pseudowire] is a Client whose way to a session is another one: nothing is dialled,
// since both ends are configured (L2TPv3 without a control connection), and the interface
// on it is what its type wants:
//
//	Ethernet, VLAN   netstack.EthernetNIC   addresses given, leased or advertised
//	IP               netstack.NIC           addresses given
//	PPP              netstack.NIC           addresses negotiated, as client or server
//
// Nobody tells it that the other end has gone. PPP finds that out, and is negotiated
// again; elsewhere the Pseudowire is connected as long as its socket lives.
//
// # A hub
//
//	h, err := node.StartHub(ctx, &node.Hub{Ports: ports, LAN: &node.LAN{Addresses: own, ServeDHCP: leases, Egress: &node.Egress{}}})
//	web, err := h.Listen("tcp", ":80")
//
// A [Hub] joins pseudowires of Ethernet to one segment, static ones and those that are
// negotiated by L2TPv3: who is dialled, a keeper like a Client's dials again, with one
// control connection for all ports from one socket to one address. The ports of the switch
// are there all the time; their links come and go with the sessions. A [LAN] is our own
// stack in it, as one host among others or as their gateway:
//
//	Endpoint ── Session ◄──► bridge.Port ─┐
//	Endpoint ── Session ◄──► bridge.Port ─┼─ bridge.Bridge
//	   LAN: EthernetNIC ◄──► bridge.Port ─┘
//	          ├─ Stack: Listen, Dial, the DNS forwarder
//	          ├─ DHCP server, router advertisements
//	          └─ Egress: the host's sockets
//
// Nobody can take the gateway's MAC address, which is fixed in the switch.
//
// # Goroutines
//
// A Server has one that accepts, one for each session that comes or goes, or gets its first
// address in the LAN, until Events has been told, two or four for DNS, and those of its [Egress]: two for each flow, one of
// which is netstack's, and one for each version of IP that has been pinged with. A
// Client has two of its own: its keeper, which calls Events, and a ticker that
// compares the clocks; a third one ends the wait for addresses with the session. A goodbye
// is said on another, while the next server is tried. A Hub has
// one for each socket and another one if others open sessions through it, one for each
// session at a port, the keeper of each port that is dialled, those of its DNS forwarder, and
// those of its Egress.
package node
