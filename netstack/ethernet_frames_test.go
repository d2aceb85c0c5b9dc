package netstack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

var (
	ownMAC  = mac{2, 0, 0, 0, 0, 0xaa}
	peerMAC = mac{2, 0, 0, 0, 0, 0xbb}
)

func frameOf(dst, src mac, kind uint16, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(append(dst[:], src[:]...), kind), payload...)
}

func tagged(id uint16, f []byte) []byte {
	return slices.Concat(f[:12], []byte{0x81, 0, byte(id >> 8), byte(id)}, f[12:])
}

// newOwnNIC is 10.0.0.1/24, with ownMAC, and what it sends.
func newOwnNIC(t testing.TB, cfg EthernetConfig) (*EthernetNIC, *basket) {
	var sent basket
	cfg.MAC = ownMAC[:]
	if cfg.Addresses == nil {
		cfg.Addresses = prefixes("10.0.0.1/24")
	}
	return addEthernet(t, newStack(t, nil), &sent, &cfg), &sent
}

func request(sender mac, from, want string) []byte {
	return arpPacket{op: arpRequest, sender: sender, senderAddr: netip.MustParseAddr(from), wantAddr: netip.MustParseAddr(want)}.bytes()
}

// Frames for other hosts are dropped and counted; those for us, for all, and for the
// groups that we are in are taken, with and without a tag.
func TestWhichFramesAreTaken(t *testing.T) {
	n, _ := newOwnNIC(t, EthernetConfig{})
	if _, err := n.AddVLAN(7, &EthernetConfig{Addresses: prefixes("10.7.0.1/24")}); err != nil {
		t.Fatal(err)
	}
	ping := ipv4Packet(addrB.As4(), addrA.As4(), 1, echo())
	toAll := ipv4Packet(addrB.As4(), [4]byte{224, 0, 0, 1}, 2, make([]byte, 8))
	for _, row := range []struct {
		name  string
		frame []byte
		want  Counters
	}{
		{"to us", frameOf(ownMAC, peerMAC, etherIPv4, ping), Counters{PacketsIn: 1}},
		{"padded to 60 octets", append(frameOf(ownMAC, peerMAC, etherIPv4, ping), make([]byte, 12)...), Counters{PacketsIn: 1}},
		{"with a priority", tagged(0xe000, frameOf(ownMAC, peerMAC, etherIPv4, ping)), Counters{PacketsIn: 1}},
		{"to all hosts", frameOf(mac{1, 0, 0x5e, 0, 0, 1}, peerMAC, etherIPv4, toAll), Counters{PacketsIn: 1}},
		{"to another host", frameOf(mac{2, 9}, peerMAC, etherIPv4, ping), Counters{OtherHost: 1}},
		{"to a group that we are not in", frameOf(mac{1, 0, 0x5e, 9, 9, 9}, peerMAC, etherIPv4, toAll), Counters{OtherHost: 1}},
		{"to bridges", frameOf(mac{1, 0x80, 0xc2, 0, 0, 0}, peerMAC, 38, make([]byte, 38)), Counters{OtherHost: 1}},
		// RFC 1122 §3.3.6
		{"to our address, by a broadcast", frameOf(broadcastMAC, peerMAC, etherIPv4, ping), Counters{Martian: 1}},
		{"from a group", frameOf(ownMAC, mac{1, 0, 0x5e, 0, 0, 1}, etherIPv4, ping), Counters{Martian: 1}},
		{"from us", frameOf(ownMAC, ownMAC, etherIPv4, ping), Counters{Martian: 1}},
		{"of another VLAN", tagged(8, frameOf(ownMAC, peerMAC, etherIPv4, ping)), Counters{OtherVLAN: 1}},
		{"with two tags", tagged(0, tagged(0, frameOf(ownMAC, peerMAC, etherIPv4, ping))), Counters{NotIP: 1}},
		{"of another protocol", frameOf(ownMAC, peerMAC, 0x8863, ping), Counters{NotIP: 1}},
		{"IPv6 that calls itself IPv4", frameOf(ownMAC, peerMAC, etherIPv4, slices.Concat([]byte{0x60}, make([]byte, 50))), Counters{Malformed: 1}},
		{"IPv4 that calls itself IPv6", frameOf(ownMAC, peerMAC, etherIPv6, slices.Concat(ping, make([]byte, 50))), Counters{Malformed: 1}},
		{"nothing", nil, Counters{Malformed: 1}},
		{"13 octets", frameOf(ownMAC, peerMAC, etherIPv4, nil)[:13], Counters{Malformed: 1}},
		{"half a tag", tagged(7, frameOf(ownMAC, peerMAC, etherIPv4, nil))[:16], Counters{Malformed: 1}},
		{"no packet", frameOf(ownMAC, peerMAC, etherIPv4, nil), Counters{Malformed: 1}},
		{"half an ARP packet", frameOf(broadcastMAC, peerMAC, etherARP, make([]byte, 27)), Counters{Malformed: 1}},
		{"ARP of another protocol", frameOf(broadcastMAC, peerMAC, etherARP, make([]byte, 28)), Counters{Malformed: 1}},
		{"ARP from a group", frameOf(broadcastMAC, peerMAC, etherARP, request(mac{1}, "10.0.0.2", "10.0.0.1")), Counters{Malformed: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := n.Counters()
			put(n, row.frame)
			got := n.Counters()
			got.subtract(before)
			got.BytesIn, got.PacketsOut, got.BytesOut = 0, 0, 0
			if got != row.want {
				t.Errorf("counted %+v, want %+v", got, row.want)
			}
		})
	}
}

// Each frame of a batch goes where it belongs, and the batch is left as it was found.
func TestABatchOfFramesForSeveral(t *testing.T) {
	n, _ := newOwnNIC(t, EthernetConfig{})
	sub, err := n.AddVLAN(7, &EthernetConfig{Addresses: prefixes("10.7.0.1/24")})
	if err != nil {
		t.Fatal(err)
	}
	ours := frameOf(ownMAC, peerMAC, etherIPv4, ipv4Packet(addrB.As4(), addrA.As4(), 1, echo()))
	theirs := tagged(7, frameOf(ownMAC, peerMAC, etherIPv4, ipv4Packet([4]byte{10, 7, 0, 2}, [4]byte{10, 7, 0, 1}, 1, echo())))
	b := link.NewBatch()
	defer b.Free()
	var want [][]byte
	for _, f := range [][]byte{frameOf(mac{2, 9}, peerMAC, etherIPv4, nil), ours, theirs, nil, theirs, ours, ours} {
		b.Add(0, f[:len(f)/2], f[len(f)/2:])
		want = append(want, f)
	}
	n.Put(b)
	for i := range b.Frames {
		if got := b.Frames[i].AppendTo(nil); !bytes.Equal(got, want[i]) {
			t.Errorf("the %d. frame is % x now, was % x", i, got, want[i])
		}
	}
	if a, b := n.Counters().PacketsIn, sub.Counters().PacketsIn; a != 3 || b != 2 {
		t.Errorf("%d packets for the interface and %d for the VLAN, want 3 and 2", a, b)
	}
}

// Requests for our address are answered, those for others' are not; octet by octet (RFC
// 826).
func TestARPRequestsAreAnswered(t *testing.T) {
	n, sent := newOwnNIC(t, EthernetConfig{NoIPv6: true})
	put(n, frameOf(broadcastMAC, peerMAC, etherARP, request(peerMAC, "10.0.0.2", "10.0.0.3")))
	if got := sent.take(); len(got) != 0 {
		t.Errorf("a request for another's address was answered by % x", got)
	}
	put(n, frameOf(broadcastMAC, peerMAC, etherARP, request(peerMAC, "10.0.0.2", "10.0.0.1")))
	want := []byte{
		2, 0, 0, 0, 0, 0xbb, 2, 0, 0, 0, 0, 0xaa, 8, 6,
		0, 1, 8, 0, 6, 4, 0, 2,
		2, 0, 0, 0, 0, 0xaa, 10, 0, 0, 1,
		2, 0, 0, 0, 0, 0xbb, 10, 0, 0, 2,
	}
	if got := sent.take(); len(got) != 1 || !bytes.Equal(got[0], want) {
		t.Errorf("sent % x, want % x", got, want)
	}
	// Who has asked need not be asked for: a ping is answered at once.
	put(n, frameOf(ownMAC, peerMAC, etherIPv4, ipv4Packet(addrB.As4(), addrA.As4(), 1, echo())))
	if got := sent.take(); len(got) != 1 || !bytes.HasPrefix(got[0], frameOf(peerMAC, ownMAC, etherIPv4, nil)) {
		t.Errorf("sent % x, want an echo reply to %x", got, peerMAC)
	}
	// Of a probe for a duplicate, nobody is remembered (RFC 5227 §2.1).
	put(n, frameOf(broadcastMAC, mac{2, 7}, etherARP, request(mac{2, 7}, "0.0.0.0", "10.0.0.1")))
	if got := sent.take(); len(got) != 1 {
		t.Errorf("a probe for our address got % x", got)
	}
	if got := len(n.layer.neighbors.entries); got != 1 {
		t.Errorf("%d neighbors are known, want 1", got)
	}
}

// A ping to a neighbor that is not known goes out when its answer has come, and the router
// is asked for what is beyond the link.
func TestNeighborsAreAskedFor(t *testing.T) {
	n, sent := newOwnNIC(t, EthernetConfig{NoIPv6: true, Gateway: netip.MustParseAddr("10.0.0.254")})
	packet := func(dst [4]byte) []byte { return ipv4Packet(addrA.As4(), dst, 1, echo()) }
	put(etherDown{n.layer}, packet([4]byte{192, 0, 2, 1}), packet([4]byte{192, 0, 2, 2}))
	got := sent.take()
	want := frameOf(broadcastMAC, ownMAC, etherARP, request(ownMAC, "10.0.0.1", "10.0.0.254"))
	if len(got) != 1 || !bytes.Equal(got[0], want) {
		t.Fatalf("sent % x, want % x", got, want)
	}
	reply := arpPacket{op: arpReply, sender: peerMAC, senderAddr: netip.MustParseAddr("10.0.0.254"), target: ownMAC, wantAddr: addrA}
	put(n, frameOf(ownMAC, peerMAC, etherARP, reply.bytes()))
	if got = sent.take(); len(got) != 2 || !bytes.Equal(got[1], frameOf(peerMAC, ownMAC, etherIPv4, packet([4]byte{192, 0, 2, 2}))) {
		t.Fatalf("sent % x", got)
	}
	// An answer that nobody has asked for changes what is known, and adds nothing.
	reply.sender = mac{2, 7}
	put(n, frameOf(broadcastMAC, mac{2, 7}, etherARP, reply.bytes()))
	reply.senderAddr = netip.MustParseAddr("10.0.0.77")
	put(n, frameOf(ownMAC, mac{2, 7}, etherARP, reply.bytes()))
	put(etherDown{n.layer}, packet([4]byte{192, 0, 2, 1}))
	if got = sent.take(); len(got) != 1 || !bytes.HasPrefix(got[0], frameOf(mac{2, 7}, ownMAC, etherIPv4, nil)) {
		t.Errorf("sent % x, want it to go to where the router says that it is now", got)
	}
	if got := len(n.layer.neighbors.entries); got != 1 {
		t.Errorf("%d neighbors are known, want 1", got)
	}
	// All hosts of the subnet, and of a group, are nobody's to be asked for.
	put(etherDown{n.layer}, packet([4]byte{10, 0, 0, 255}), packet([4]byte{255, 255, 255, 255}), packet([4]byte{224, 0, 0, 251}))
	got = sent.take()
	for i, to := range []mac{broadcastMAC, broadcastMAC, {1, 0, 0x5e, 0, 0, 251}} {
		if len(got) != 3 || mac(got[i]) != to {
			t.Fatalf("sent % x, want the %d. to %x", got, i, to)
		}
	}
}

// A Neighbor Solicitation for our address is answered with our MAC address (RFC 4861
// §7.2.4), and nobody but a host of the link can ask.
func TestNeighborSolicitationsAreAnswered(t *testing.T) {
	own, peer := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	n, sent := newOwnNIC(t, EthernetConfig{Addresses: prefixes("2001:db8::1/64")})
	solicitation := func(change func(p []byte)) []byte {
		m := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, own.AsSlice()...)
		p := icmpv6Packet(peer, solicitedNode(own), 255, append(m, linkOption(optionSourceLink, peerMAC)...))
		change(p)
		return frameOf(groupMAC(solicitedNode(own)), peerMAC, etherIPv6, p)
	}
	take := func() (list [][]byte) {
		for _, f := range sent.take() {
			if f[14+40] == byte(header.ICMPv6NeighborAdvert) {
				list = append(list, f)
			}
		}
		return list
	}
	// RFC 4429 §3.3: while another host may still have it, "the Override flag [is] set to 0".
	for _, flags := range []byte{0x40 /* S */, 0x60 /* S, O */} {
		put(n, solicitation(func([]byte) {}))
		advert := slices.Concat([]byte{136, 0, 0, 0, flags, 0, 0, 0}, own.AsSlice(), linkOption(optionTargetLink, ownMAC))
		want := frameOf(peerMAC, ownMAC, etherIPv6, icmpv6Packet(own, peer, 255, advert))
		if got := take(); len(got) != 1 || !bytes.Equal(got[0], want) {
			t.Errorf("sent % x, want % x", got, want)
		}
		n.layer.mu.Lock()
		n.layer.claims = nil
		n.layer.mu.Unlock()
	}
	for name, change := range map[string]func(p []byte){
		"through a router":      func(p []byte) { p[7] = 254 },
		"with a wrong checksum": func(p []byte) { p[42] ^= 1 },
		"with an option of no length": func(p []byte) {
			p[65] = 0
			header.ICMPv6(p[40:]).SetChecksum(icmpv6Checksum(p))
		},
		"without a source, to one": func(p []byte) {
			clear(p[8:24])
			header.ICMPv6(p[40:]).SetChecksum(icmpv6Checksum(p))
		},
	} {
		before := n.Counters().Malformed
		put(n, solicitation(change))
		if got := take(); len(got) != 0 || n.Counters().Malformed != before+1 {
			t.Errorf("%s: sent % x", name, got)
		}
	}
}

// Whatever frames come in, nothing panics, what is remembered is bounded, and there are
// not more answers than frames.
func FuzzEthernet(f *testing.F) {
	ping := frameOf(ownMAC, peerMAC, etherIPv4, ipv4Packet(addrB.As4(), addrA.As4(), 1, echo()))
	f.Add(ping)
	f.Add(tagged(7, ping))
	f.Add(tagged(0xe000, ping))
	f.Add(frameOf(broadcastMAC, peerMAC, etherARP, request(peerMAC, "10.0.0.2", "10.0.0.1")))
	f.Add(frameOf(ownMAC, peerMAC, etherIPv6, newAdvert().auto(prefixA).packet()))
	m := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, addrB.AsSlice()...)
	f.Add(frameOf(ownMAC, peerMAC, etherIPv6, icmpv6Packet(linkLocal(idA), allNodes, 255, m)))
	f.Add(frameOf(broadcastMAC, peerMAC, etherIPv4, dhcp4Datagram{
		message: newLeaseTest(&testing.T{}).sent[0].message,
		from:    netip.AddrPortFrom(netip.IPv4Unspecified(), 68), to: netip.AddrPortFrom(broadcast4, 67),
	}.packet()))
	var sent basket
	add := func(cfg *EthernetConfig) *EthernetNIC {
		cfg.MAC = ownMAC[:]
		n := addEthernet(f, newStack(f, nil), &sent, cfg)
		if _, err := n.AddVLAN(7, &EthernetConfig{DHCP: true}); err != nil {
			f.Fatal(err)
		}
		return n
	}
	host := add(&EthernetConfig{Addresses: prefixes("10.0.0.1/24"), DHCP: true})
	gateway := add(&EthernetConfig{
		Addresses: prefixes("10.0.0.2/24", "2001:db8:7::1/64"), Forwarder: answerTCP(), DHCPServer: newDHCPServer(f),
		Advertise: &Advertisement{Prefix: netip.MustParsePrefix("2001:db8:7::/64")},
	})
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, n := range []*EthernetNIC{host, gateway} {
			put(n, frame)
			if len(frame) >= etherLen {
				// Most would be for somebody else.
				ours := bytes.Clone(frame)
				copy(ours, ownMAC[:])
				copy(ours[6:], peerMAC[:])
				put(n, ours, tagged(7, ours))
				b := link.NewBatch()
				b.Add(0, ours[:len(ours)/2], ours[len(ours)/2:])
				n.Put(b)
				b.Free()
			}
			n.layer.mu.Lock()
			known, waiting := len(n.layer.neighbors.entries), n.layer.neighbors.waiting
			n.layer.mu.Unlock()
			if known > maxNeighbors || waiting > maxWaiting {
				t.Fatalf("%d neighbors, %d packets waiting", known, waiting)
			}
		}
		sent.take()
	})
}
