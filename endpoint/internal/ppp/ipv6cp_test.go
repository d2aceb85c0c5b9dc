package ppp

import (
	"testing"
	"time"
)

// "If a good source of uniqueness cannot be found, it is recommended that a random
// number be generated. In this case, the "u" bit of the interface identifier MUST
// be set to zero" (RFC 5072 §4.1).
func TestInterfaceIdentifiers(t *testing.T) {
	seen := map[interfaceID]bool{}
	for seed := range uint64(200) {
		id := New(Config{Rand: random(seed)}).ipv6cp.local
		if id == (interfaceID{}) || id[0]&2 != 0 || seen[id] {
			t.Errorf("identifier %x", id)
		}
		seen[id] = true
	}
}

// A peer's identifier: zero and our own get a Nak with a suggestion, which is the
// same each time; any other is its own business.
func TestPeersIdentifier(t *testing.T) {
	x := dualClient(t)
	x.ipv6cp(configureRequest, 1, idOption("\x00"))
	list, _ := parseOptions(x.last().data)
	suggested := interfaceOf(list[0])
	if len(list) != 1 || suggested == (interfaceID{}) || suggested == x.link.ipv6cp.local || suggested[0]&2 != 0 {
		t.Fatalf("suggested %x", list)
	}
	x.want("zero", "IPV6CP Configure-Nak 1 <id ...>")
	x.ipv6cp(configureRequest, 2, x.link.ipv6cp.local.option())
	if again := interfaceOf(option{1, x.last().data[2:]}); again != suggested {
		t.Errorf("suggested %x, then %x", suggested, again)
	}
	x.want("ours", "IPV6CP Configure-Nak 2 <id ...>")
	x.ipv6cp(configureRequest, 3, option{ipv6cpInterface, []byte{1, 2, 3}})
	x.want("too short", "IPV6CP Configure-Nak 3 <id ...>")
	x.ipv6cp(configureRequest, 4, idOption("p"), option{2, []byte{0, 0x4f}})
	x.want("compression", "IPV6CP Configure-Reject 4 <2 004f>")
	x.ipv6cp(configureRequest, 5, idOption("p"), idOption("p"))
	x.want("a Configure-Request MUST contain exactly one instance of the interface-identifier option",
		"IPV6CP Configure-Reject 5 <id 7070707070707070>")
	x.ipv6cp(configureRequest, 6, idOption("\xff"))
	x.want("the u bit is the peer's", "IPV6CP Configure-Ack 6 <id ffffffffffffffff>")
}

// "If … the peer did not provide the option in its Configure-Request, the option
// SHOULD be appended to a Configure-Nak … If the next Configure-Request does not
// include this option, the peer MUST NOT send another Configure-Nak with this
// option included." Without an identifier there is no IPv6.
func TestNoIdentifier(t *testing.T) {
	x := dualClient(t)
	x.upIPCP()
	x.ackOurs(&x.link.ipv6cp.automaton)
	x.ipv6cp(configureRequest, 1)
	x.want("asked for", "IPV6CP Configure-Nak 1 <id ...>")
	x.ipv6cp(configureRequest, 2)
	x.want("once", "IPV6CP Configure-Ack 2", `IPV6CP Terminate-Request 2 ""`)
	x.wantSettled(1)
	if err := x.link.ipv6cp.err; err == nil || err.Error() != "IPV6CP: the peer has no interface identifier" {
		t.Errorf("IPV6CP: %v", err)
	}
}

// "Reception of a Configure-Nak with a suggested interface identifier different
// from that of the last Configure-Nak sent to the peer indicates a unique interface
// identifier. In this case, a new Configure-Request MUST be sent with the
// identifier value suggested in the last Configure-Nak from the peer." l2tpns
// always does that.
func TestOurIdentifierNaked(t *testing.T) {
	x := dualClient(t)
	first := x.link.ipv6cp.local
	x.ipv6cp(configureNak, 1, idOption("s"))
	x.want("adopted", "IPV6CP Configure-Request 2 <id ours>")
	if x.link.ipv6cp.local != interfaceOf(idOption("s")) {
		t.Errorf("we are %x", x.link.ipv6cp.local)
	}

	// "But if the received interface identifier is equal to the one sent in the
	// last Configure-Nak, a new interface identifier MUST be chosen."
	x.ipv6cp(configureRequest, 1, idOption("s"))
	suggested := interfaceOf(option{1, x.last().data[2:]})
	x.want("a collision", "IPV6CP Configure-Nak 1 <id ...>")
	x.ipv6cp(configureNak, 2, suggested.option())
	x.want("both suggest the same", "IPV6CP Configure-Request 3 <id ours>")
	if now := x.link.ipv6cp.local; now == suggested || now == interfaceOf(idOption("s")) || now == first || now[0]&2 != 0 {
		t.Errorf("we are %x", now)
	}
	for id, bad := range []option{idOption("\x00"), {ipv6cpInterface, []byte{1}}, {ipv6cpInterface, nil}} {
		x.ipv6cp(configureNak, uint8(3+id), bad)
		x.want("no identifier", "IPV6CP Configure-Request ... <id ours>")
		if now := x.link.ipv6cp.local; now == (interfaceID{}) || now[0]&2 != 0 {
			t.Errorf("we are %x", now)
		}
	}
	x.ipv6cp(configureRequest, 2, idOption("p"))
	x.forget()
	x.ipv6cp(configureNak, 6, idOption("p"))
	x.want("the peer's own", "IPV6CP Configure-Request 7 <id ours>")
	if now := x.link.ipv6cp.local; now == interfaceOf(idOption("p")) {
		t.Errorf("we are %x", now)
	}
}

// "A new Configure-Request MUST NOT contain the interface-identifier option if a
// valid Interface-Identifier Configure-Reject is received"; and without it there
// is no IPv6, after a renegotiation neither.
func TestOurIdentifierRejected(t *testing.T) {
	x := dualClient(t)
	x.upIPCP()
	x.ipv6cp(configureReject, 1, x.link.ipv6cp.local.option())
	x.want("given up", `IPV6CP Terminate-Request 2 ""`)
	x.wantSettled(1)
	x.lcp(configureRequest, 102)
	x.forget()
	x.ackOurs(&x.link.lcp.automaton)
	x.want("a renegotiation", "IPCP Configure-Request ...", "IPV6CP Configure-Request 3")
	x.ackOurs(&x.link.ipv6cp.automaton)
	x.ipv6cp(configureRequest, 1, idOption("p"))
	x.want("given up again", "IPV6CP Configure-Ack 1 <id 7070707070707070>", `IPV6CP Terminate-Request 4 ""`)
}

// "PPP links supporting IPv6 MUST allow the information field to be at least as
// large as the minimum link MTU size required for IPv6" (RFC 5072 §2).
func TestSmallMTU(t *testing.T) {
	for _, mru := range []uint16{1279, 1280} {
		cfg := clientConfig()
		cfg.NoIPv6 = false
		x := open(t, cfg)
		x.openLCP(uint16Option(lcpMRU, mru))
		x.ipv6cp(configureRequest, 1, idOption("p"))
		x.ackOurs(&x.link.ipv6cp.automaton)
		if mru == 1280 {
			x.want("just enough", "IPV6CP Configure-Ack ...", "Up6{Peer:7070707070707070 MTU:1280}")
		} else {
			x.want("too small", "IPV6CP Configure-Ack ...", `IPV6CP Terminate-Request 2 ""`)
			if err := x.link.ipv6cp.err.Error(); err != "IPV6CP: the MTU is 1279, and IPv6 needs 1280" {
				t.Error(err)
			}
		}
	}
}

// The same identifier at both ends: they part, and both are up.
func TestIdentifierCollision(t *testing.T) {
	for seed := range uint64(50) {
		cfg := clientConfig()
		cfg.NoIPv6 = false
		w := newWire(seed, cfg, Config{Methods: []Method{CHAPMD5}})
		w.client().link.ipv6cp.local = interfaceOf(idOption("x"))
		w.server().link.ipv6cp.local = interfaceOf(idOption("x"))
		w.open(t)
		w.run(t, longest, w.settled)
		w.run(t, 10*time.Second, func() bool { return false })
		c, s := w.client(), w.server()
		if !c.isUp6 || !s.isUp6 || c.link.ipv6cp.local == s.link.ipv6cp.local ||
			c.link.ipv6cp.local != s.link.ipv6cp.peer || s.link.ipv6cp.local != c.link.ipv6cp.peer {
			t.Errorf("seed %d: client %v %x, server %v %x", seed, c.isUp6, c.link.ipv6cp.local, s.isUp6, s.link.ipv6cp.local)
		}
	}
}
