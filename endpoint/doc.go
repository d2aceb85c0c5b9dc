// Package endpoint is L2TP in a process: it dials and answers tunnels on an
// ordinary UDP socket and hands out their pseudowires, without privileges.
//
//	ep, err := endpoint.Listen("udp", ":0", nil)
//	tun, err := ep.Dial(ctx, "lns.example.net", &endpoint.TunnelConfig{Secret: secret})
//	sess, err := tun.OpenPPP(ctx, &endpoint.PPPConfig{User: "alice", Password: password})
//	sess.Attach(sink) // IP packets come out here, and go in by sess.Put
//
// By L2TPv3 (RFC 3931) a tunnel carries Ethernet, VLANs and IP as well as PPP, and its
// control messages are authenticated:
//
//	tun, err := ep.Dial(ctx, "lcce.example.net", &endpoint.TunnelConfig{Secret: secret, V3: &endpoint.V3Config{}})
//	sess, err := tun.Open(ctx, &endpoint.PseudowireConfig{RemoteEndID: "red"})
//	sess.Attach(sink) // Ethernet frames
//
// A pseudowire of L2TPv3 that both ends are told of needs no tunnel to be dialled:
//
//	sess, err := ep.Static(ctx, "192.0.2.1", &endpoint.StaticConfig{SessionID: 1, PeerSessionID: 2})
//	sess.Attach(sink) // Ethernet frames
//
// # The picture
//
//	link.Sink  ◄─── Session ◄── order ◄──── reader ◄─── socket
//	                   │ PPP's own frames      │ control messages
//	                   ▼                       ▼
//	             ppp.Link            control.Tunnel        machines, on a loop
//	                   └───────────┬───────────┘
//	link.Sink  ───► Session ───────┴───────────────────► socket
//
// An [Endpoint] is one UDP address, a [Tunnel] one control connection or, for static
// sessions, one peer; a [Session] is one pseudowire. A session has an encapsulation, the
// header of L2TPv2 or of L2TPv3, and in it frames of its type: IP packets where PPP ends
// in the session, else what the pseudowire carries. Two sessions of one type can be
// joined, whatever their encapsulations ([Switch]).
//
// What the protocols do is in internal/control (RFC 2661, RFC 3931), internal/ppp (RFC 1661 and
// others) and internal/order (sequence numbers), which know neither sockets nor clocks;
// their bytes are in internal/wire. This package owns the socket, the tables and the
// questions that take time.
//
// # Goroutines
//
// One reader for each socket, of which there are several where there are processors for
// them ([Config.Sockets]): it finds a datagram's tunnel and session in tables without locks, and calls the session's sink itself; frames that have waited for others
// in vain come from a loop, one of both at a time for a session. At most four loops, each of
// which drives the machines of many tunnels: all of one tunnel's machines are on
// the same loop, so no protocol state has a lock. What they have to send is sent together
// when they have all had their turn. For as long as they take, one
// goroutine for each question to an [Authenticator] or [AddressPool], one for
// each Close, and one that writes the packets of a capture ([Endpoint.Capture]),
// for which nobody waits. Whoever calls [Session.Put] writes to the socket himself.
//
// # Strangers
//
// Anybody may send an SCCRQ in anybody's name. The reader answers it itself, by a
// machine that it throws away, and keeps a record of less than 512 bytes; nothing is
// sent again but when asked again, and never more than three times what has come. The
// SCCCN, which shows that somebody is at that address, makes the record a Tunnel. When
// there are too many records, an SCCRQ earns one by coming again: see [Limits]. SCCRQs of
// both versions, and those that offer both, go the same way; one of L2TPv3 whose digest is
// wrong leaves nothing, and is not answered.
//
// # Buffers
//
// The reader owns the bytes of a datagram; sinks may read them during Put only. A
// machine gets a copy. What is put into a session is the caller's again when Put
// returns.
//
// # What L2TP does not protect
//
// L2TP encrypts nothing and authenticates no data (RFC 2661 §9, RFC 3931 §8.1); L2TPv3's
// control messages are authenticated where there is a secret. Whoever is on the
// path reads and changes what the tunnel carries; random identifiers and the check of
// the peer's address keep out those who are not.
package endpoint
