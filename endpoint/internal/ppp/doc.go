// Package ppp is the Point-to-Point Protocol over one L2TP session, either
// end of it, as a machine without I/O and without a clock: [Link].
//
//	   Open, Close, Lost, Credential, Assign   AuthQuestion, AddressQuestion,
//	                 │                         Authenticated, Up, NetworkDown, Down
//	                 ▼                                  ▲
//	┌───────────────────────────── Link ────────────────┴──────────────┐
//	│  phase: Dead ─ Establish ─ Authenticate ─ Network ─ Terminate    │ RFC 1661 §3
//	│                    │            │            │                   │
//	│                   lcp       exchange        ipcp                 │
//	│           LCP, RFC 1661     PAP, RFC 1334   IPCP, RFC 1332, 1877 │
//	│                    │        CHAP, RFC 1994  │                    │
//	│                    │        MS-CHAPv2,      │                    │
//	│                    │           RFC 2759     │                    │
//	│                automaton ───────────── automaton                 │ RFC 1661 §4
//	└──────────────────────────────────────────────────────────────────┘
//	          ▲                                      │
//	   Handle(frame)                           Next() frame
//
// An automaton holds what RFC 1661 §4 says once for all protocols; lcp and ipcp
// are its layers, which know the options. The server demands authentication of
// its peer and gives it an address; the client proves itself and asks for one.
// Everything else is the same code. A user's credential and address are
// questions: events that the owner answers by a command, whenever it can.
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
//   - A Terminate-Request before the automaton is opened ends it one restart
//     period later, unless the peer starts again, and not only after
//     Max-Configure requests to a peer that wants none.
//
// # How long anything takes
//
// The restart timer is constant, without doubling. All waits together, from
// Open to Up and from each renegotiation to the next Up, end with
// [Config.SetupTimeout]; within it each wait has a bound and an error of its
// own. Taking a link down takes Max-Terminate restart periods at most.
package ppp
