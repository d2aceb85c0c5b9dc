// Package decode tells in words what a capture has of L2TP and PPP: a line for each
// control message and each message of PPP's control protocols, with the state that
// it led to, and for each direction of a session of L2TPv3. [Print] is all of it.
//
//	A is 10.99.0.3:1701, B is 10.99.0.2:1701
//	  0.000 A > B 0/0         SCCRQ "lac", tunnel 49753, window 4     wait-ctl-reply
//	  0.012 A > B 10300/7216  ICCN 10000000 bit/s, framing sync  session established
//	  0.038 B > A 49753/51901 LCP Conf-Req 1 ACCM 0, auth PAP, magic        req-sent
//	  │     │     │           │                                             │
//	  │     │     │           └ message, identifier, AVPs or options        └ state
//	  │     │     └ Tunnel ID / Session ID of the header: the receiver's; of L2TPv3
//	  │     │       the Control Connection ID, or the Session ID of data
//	  │     └ from whom to whom; a line before says who they are
//	  └ seconds since the capture's first packet
//
// # What it is made of
//
//	capture ──► pcapng.Reader ──► link.go      Ethernet … UDP
//	                                │ datagrams
//	                              tunnel.go     which tunnel, which session
//	                                │
//	                ┌───────────────┴────────────┐
//	           control.go                      ppp.go       messages in words
//	           their states,                   auth.go
//	           RFC 2661 §7                     layer.go     states, RFC 1661 §4
//	                └───────────────┬────────────┘
//	                              line.go       80 columns
//
// # Pseudowires of L2TPv3
//
// Messages of a static session do not say which header they have. But the frames are
// Ethernet, PPP or IP packets, which can be told from anything else when they are
// whole. So it comes out how many octets stand before them, and then whether those
// are a cookie, which is always the same, or a sublayer. That is said at the end, of
// each direction:
//
//	0.000 A > B 0x33334444  data Ethernet, cookie of 4 octets, no sublayer,
//	                        26 packets (3388 octets) in 1.373 s
//
// A counter is a sublayer with a number and without the S bit, as QEMU has it. With
// the S bit, numbers that are missing and those that come late or twice are counted.
// PPP's messages are shown as those of L2TPv2; that two directions are one session is
// seen only where no others between the same ends have PPP at that time.
//
// # The states
//
// An observer does not see inside the peers. It applies the RFCs' tables to
// what it sees, and takes it that what was sent arrives: the state is the one
// that the message's sender has when it has sent it, "wait-ctl-reply" after
// SCCRQ, or "ack-sent" after a Configure-Ack. (After a Terminate-Ack, whose
// sender had its new state before, it is the receiver's.) A tunnel or session is
// "idle" again when it is over. What is sent again leads nowhere new and is
// marked "retransmitted". A message of L2TPv3 with a wrong digest leads nowhere.
//
// A capture may begin in the middle and have gaps; then less is known, and
// nothing is guessed.
//
// # What is not shown
//
// Passwords, and the values of challenges and responses. Everything else that
// peers wrote is shown quoted and cut. Data packets are counted only, and of a cookie
// its length is told.
//
// Captures come from anybody: nothing in them makes this package panic, and
// what it remembers is bounded; the oldest is forgotten first.
package decode
