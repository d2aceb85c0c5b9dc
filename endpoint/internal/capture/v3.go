package capture

import (
	"encoding/hex"
	"net/netip"
)

// A V3Way is one direction of a recorded pseudowire of static L2TPv3, with what its
// receiver had been told. All carry Ethernet.
type V3Way struct {
	Capture  string // for [Load]
	Src, Dst netip.Addr
	IP       bool   // over IP, not UDP: the Session ID comes first
	Session  uint32 // the receiver's
	Cookie   []byte // that the receiver expects: 0, 4 or 8 octets
	Sublayer bool   // 4 octets stand between the cookie and the frame
	Packets  int    // that were recorded
}

// V3 are both directions of the captures of static L2TPv3.
//
// In most of them 10.99.0.2 is Linux 6.1 ("ip l2tp", port 5002), and 10.99.0.1 a
// program (port 5001) of which the name of the capture begins: QEMU's "-netdev
// l2tpv3", or user-mode Linux's vector transport. Both can count their packets where
// the sublayer stands, in 32 bits from 1 on and without an S bit: "counter"; in
// "pincounter" the count stays 0. Packets are cut to 200 octets. "seqsend" and "seqboth"
// are how Linux was told to number; the first two packets of seqboth are of a run before,
// with another cookie. In "badcookie" the program sends another cookie than Linux
// expects.
//
// In uml-kernel-kernel-v3-… both ends are Linux; seqboth has both number.
func V3() (ways []V3Way) {
	const toLinux, toOther = 0x11112222, 0x33334444
	const cookie4, cookie8 = "01020304", "a1a2a3a4a5a6a7a8"
	const other4, other8 = "aabbccdd", "1122334455667788"
	both := func(name, end1, end2 string, ip bool, one, two V3Way) {
		one.Src, one.Dst = netip.MustParseAddr(end1), netip.MustParseAddr(end2)
		two.Src, two.Dst = one.Dst, one.Src
		for _, w := range []V3Way{one, two} {
			w.Capture, w.IP = "v3/"+name, ip
			ways = append(ways, w)
		}
	}
	way := func(session uint32, cookie string, sublayer bool, packets int) V3Way {
		b, err := hex.DecodeString(cookie)
		if err != nil {
			panic("BUG: capture: " + err.Error())
		}
		return V3Way{Session: session, Cookie: b, Sublayer: sublayer, Packets: packets}
	}
	linux := func(name string, one, two V3Way) { both(name, "10.99.0.1", "10.99.0.2", false, one, two) }

	linux("qemu-netdev-l2tpv3-none", way(toLinux, "", false, 30), way(toOther, "", false, 30))
	linux("qemu-netdev-l2tpv3-cookie32-pincounter", way(toLinux, cookie4, true, 29), way(toOther, other4, true, 31))
	linux("qemu-netdev-l2tpv3-cookie64-counter", way(toLinux, cookie8, true, 29), way(toOther, other8, true, 31))
	linux("uml-v3-nocookie-none", way(toLinux, "", false, 20), way(toOther, "", false, 26))
	linux("uml-v3-cookie32-none", way(toLinux, cookie4, false, 34), way(toOther, other4, false, 26))
	linux("uml-v3-cookie64-none", way(toLinux, cookie8, false, 32), way(toOther, other8, false, 28))
	linux("uml-v3-cookie64-default-counter", way(toLinux, cookie8, true, 30), way(toOther, other8, true, 30))
	linux("uml-v3-default-seqsend", way(toLinux, "", true, 33), way(toOther, "", true, 27))
	linux("uml-v3-default-seqboth", way(toLinux, "", true, 17), way(toOther, "", true, 7))
	linux("uml-v3-badcookie", way(toLinux, cookie4, false, 12), way(toOther, other4, false, 7))

	both("uml-kernel-kernel-v3-seqboth", "10.99.0.11", "10.99.0.12", false, way(2, "", true, 10), way(1, "", true, 10))
	both("uml-kernel-kernel-v3-udp6", "fd99::11", "fd99::12", false, way(2, "", false, 10), way(1, "", false, 9))
	both("uml-kernel-kernel-v3-ip115", "10.99.0.11", "10.99.0.12", true, way(2, "0011223344556677", false, 10), way(1, "0011223344556677", false, 10))
	return ways
}
