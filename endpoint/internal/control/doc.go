// Package control is the control connection of L2TPv2 (RFC 2661) and of L2TPv3 (RFC
// 3931): a [Tunnel] with its calls, as one machine without I/O and without a clock. Both
// ends share it; who dials is what the RFC calls the originator, and any end may take
// calls. The versions have the same tables; what L2TPv3 has differently is in v3.go
// (digests, ACK, fall-back) and pseudowire.go (what sessions agree on, ties).
//
//	     Dial, Answer, Call, PlaceCall, AcceptCall, AcceptOutgoing, Hangup, Close
//	                          │
//	incoming.go  session   session   session      ICRQ ICRP ICCN CDN, §7.4
//	outgoing.go      ╲        │        ╱          OCRQ OCRP OCCN CDN, §7.5
//	                  ╲       │       ╱           calls.go, calltable.go: what both share
//	establish.go        control connection        SCCRQ SCCRP SCCCN StopCCN HELLO, §7.2
//	                          │
//	reliable.go         reliable delivery         Ns, Nr, windows, retransmission, §5.8, appendix A
//	                          │
//	                 Handle ◄─┴─► Next            datagrams; events in their order among them
//
// # A tunnel's life
//
//	Dial ──► wait-ctl-reply ─┐                         ┌─► Gone
//	                         ├─► established ──► closing
//	Answer ──► wait-ctl-conn ┘    TunnelUp       TunnelDown
//
// TunnelDown comes once. Afterwards the machine lives on for as long as the
// peer may need its acknowledgements (§5.7); at Gone the owner may free it.
// Every session whose id the owner has been told, by Call, PlaceCall,
// IncomingCall or OutgoingCallRequest, ends with exactly one SessionDown, at the latest before TunnelDown.
//
// # Tunnels that compete
//
// A Tunnel knows of no other. When both ends dial each other, and when a peer
// that has restarted dials again, the owner decides which one goes: [Collide],
// [Tunnel.Yield], [Tunnel.LoseTie], [Tunnel.DrawTie], [Tunnel.Superseded] in compete.go.
//
// # How long things take
//
// A message that the peer does not acknowledge ends the tunnel after 31 s
// (sent again after 1, 3, 7, 15 and 23 s). What it acknowledges, but then does
// not answer, ends 30 s after the acknowledgement. Someone who dials us has
// 30 s from SCCRQ to SCCCN. So a dial succeeds or fails within 61 s, and a call
// within 61 s of being sent; one that a LAC places for us, within 91 s. All of this is [Config]'s to change.
package control
