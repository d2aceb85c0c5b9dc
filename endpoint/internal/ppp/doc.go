// Package ppp is the Point-to-Point Protocol over one L2TP session, either
// end of it, as a machine without I/O and without a clock: [Link].
//
//	   Open, Close, Lost, Credential, Assign   AuthQuestion, AddressQuestion,
//	                 │                         Authenticated, Up, Up6, Settled, …, Down
//	                 ▼                                  ▲
//	┌───────────────────────────── Link ────────────────┴──────────────┐
//	│  phase: Dead ─ Establish ─ Authenticate ─ Network ─ Terminate    │ RFC 1661 §3
//	│                    │            │            │                   │
//	│                   lcp       exchange        ccp ─► ipcp, ipv6cp  │
//	│           LCP, RFC 1661     PAP, RFC 1334   CCP, RFC 1962, 3078  │
//	│                    │        CHAP, RFC 1994  IPCP, RFC 1332, 1877 │
//	│                    │        MS-CHAPv2,      IPV6CP, RFC 5072     │
//	│                    │           RFC 2759     │                    │
//	│                    │        EAP, RFC 3748   │                    │
//	│                automaton ───────────── automaton, each           │ RFC 1661 §4
//	└──────────────────────────────────────────────────────────────────┘
//	          ▲                                      │
//	   Handle(frame)                           Next() frame
//
// An automaton holds what RFC 1661 §4 says once for all protocols; lcp, ccp, ipcp
// and ipv6cp are its layers, which know the options. IPv4 and IPv6 come up and go
// down each for itself, after encryption, if that is wanted; a link ends when it
// serves neither. The server demands authentication of its peer and gives it an
// address; the client proves itself and asks for one. Everything else is the same
// code. A user's credential and address are questions: events that the owner
// answers by a command, whenever it can.
//
// # Where we depart from the RFCs
//
//   - Echo-Requests are answered before LCP is opened too (RFC 1661 §5.8 says
//     SHOULD discard): SoftEther sends them early.
//   - A Configure-Ack, -Nak or -Reject counts once. A second one with the same
//     identifier is a datagram that the network doubled, and no crossed
//     connection: it would take an opened link down (footnote x of RFC 1661 §4.1).
//   - A Configure-Request that comes again, octet by octet, gets the Ack again, and
//     does not take an opened layer down: it is a datagram that the network doubled,
//     or that was overtaken, or our Ack was lost. LCP holds that for a restart
//     period only: a peer that has begun anew with the identifier and the options
//     of before repeats itself after that. The others begin anew with LCP.
//   - A Challenge that is sent again is the same Challenge (RFC 1994 §4.1 wants
//     another value each time): the answer to the first may be on its way.
//   - The client repeats its CHAP Response until it is answered: a Success that
//     was lost would otherwise leave it waiting.
//   - EAP's Success and Failure may have the identifier after the Response's, as
//     pppd's do (RFC 3748 §4.2: MUST match).
//   - An NCP, or CCP, whose Configure-Requests are in vain sends a
//     Terminate-Request before it gives up, where the table says nothing more
//     (TO-): the link goes on, and the peer may take the protocol for opened.
//   - A link that MPPE is allowed for goes on without it when the peer does not
//     agree (RFC 3078 §2: "the link SHOULD be terminated"). One that is encrypted
//     ends when CCP is renegotiated: the same keys would come again.
//   - A Terminate-Request before the automaton is opened ends it one restart
//     period later, unless the peer starts again, and not only after
//     Max-Configure requests to a peer that wants none.
//
// # How long anything takes
//
// The restart timer begins with 1 s and doubles, up to 3 s. All waits together, from
// Open to Up and from each renegotiation to the next Up, end with
// [Config.SetupTimeout]; within it each wait has a bound and an error of its
// own. Taking a link down takes Max-Terminate restart periods at most.
package ppp
