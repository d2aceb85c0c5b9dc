//go:build linux

// Adversity shows what a server withstands, in tables:
//
//	go run ./integration/adversity          a flood of SCCRQs, beside 100 sessions at work
//	go run ./integration/adversity idle     10,000 idle sessions, beside one at work
//
// Everything is on loopback, needs no privileges, and is over after the time that it says first. The exit status is 1 if a
// goal is missed, and 2 if something fails.
//
// A flood comes from 2^20 addresses, as many as 127.16.0.0/12 has, in three kinds: every SCCRQ has a tuple (address, port,
// tunnel id) of its own; or each tuple comes once more a second later, as an honest peer's retransmission does; or at once.
// What the sessions carry while it goes to their server is compared with what they carry while it goes to a socket whose
// owner only reads it, in turns, so that what the flood costs this machine by itself is on both sides of the ratio.
//
//	flooder ──┬─ flood ───────► server: node.Server, a TCP sink inside
//	          └─ baseline ─► reader   ▲  ▲
//	clients: 100 sessions, each with ─┘  │
//	a stack and a bulk connection        │
//	parent: honest calls, one by one ────┘
//
// Memory is what is resident, above what was before the first flood, when the heap had been collected once: whoever makes the
// garbage, a heap grows to about twice what lives in it, and that is no more than the server takes by itself.
//
// Each is a process of its own, this program again with a part to play (package roles).
package main
