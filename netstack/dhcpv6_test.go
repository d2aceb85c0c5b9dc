package netstack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// opt is a DHCPv6 option.
func opt(code uint16, parts ...[]byte) []byte {
	value := slices.Concat(parts...)
	b := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

func be32(n ...uint32) (b []byte) {
	for _, n := range n {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// iaPrefix is an IA Prefix option (RFC 8415 §21.22).
func iaPrefix(prefix string, preferred, valid uint32) []byte {
	p := netip.MustParsePrefix(prefix)
	return opt(26, be32(preferred, valid), []byte{byte(p.Bits())}, p.Addr().AsSlice())
}

var (
	testDUID  = []byte{0, 3, 0, 1, 2, 3, 4, 5, 6, 7}
	clientID  = opt(1, testDUID)
	iaid      = []byte("iaid")
	dhcpPeer  = netip.MustParseAddr("fe80::5")
	delegated = netip.MustParsePrefix("2001:db8:100::/56")
)

// dhcpPacket is a message of a client.
func dhcpPacket(src, dst netip.Addr, kind byte, options ...[]byte) []byte {
	m := append([]byte{kind, 1, 2, 3}, slices.Concat(options...)...)
	u := append([]byte{0x02, 0x22, 0x02, 0x23, byte((8 + len(m)) >> 8), byte(8 + len(m)), 0, 0}, m...)
	p := ipv6Packet(src, dst, 1, 17, u)
	pseudo := append(bytes.Clone(p[8:40]), 0, 0, byte(len(u)>>8), byte(len(u)), 0, 0, 0, 17)
	binary.BigEndian.PutUint16(p[46:], ^checksumOf(append(pseudo, u...)))
	return p
}

// readDHCP writes a message down: its type and its options, those that do not differ
// left out.
func readDHCP(t testing.TB, p []byte) string {
	if len(p) < 52 || p[6] != 17 || netip.AddrFrom16([16]byte(p[8:])) != linkLocal(idA) || netip.AddrFrom16([16]byte(p[24:])) != dhcpPeer {
		t.Fatalf("not a message from us to the client: % x", p)
	}
	pseudo := append(bytes.Clone(p[8:40]), 0, 0, p[4], p[5], 0, 0, 0, 17)
	if ^checksumOf(append(pseudo, p[40:]...)) != 0 || !bytes.Equal(p[40:44], []byte{0x02, 0x23, 0x02, 0x22}) {
		t.Fatalf("ports or checksum are wrong: % x", p[40:48])
	}
	m := p[48:]
	if !bytes.Equal(m[1:4], []byte{1, 2, 3}) {
		t.Errorf("the transaction is % x", m[1:4])
	}
	var list func(b []byte) string
	list = func(b []byte) string {
		var s []string
		for len(b) > 0 {
			code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
			v := b[4 : 4+n]
			b = b[4+n:]
			switch code {
			case 1, 2:
				s = append(s, map[uint16]string{1: "client", 2: "server"}[code])
				if code == 1 && !bytes.Equal(v, testDUID) {
					t.Errorf("the client is % x", v)
				}
			case 3, 25:
				times := ""
				if t1 := binary.BigEndian.Uint32(v[4:]); t1 != 0 {
					times = fmt.Sprintf("%d %d ", t1, binary.BigEndian.Uint32(v[8:]))
				}
				s = append(s, fmt.Sprintf("%s %s{%s%s}", map[uint16]string{3: "IA_NA", 25: "IA_PD"}[code], v[:4], times, list(v[12:])))
			case 4:
				s = append(s, fmt.Sprintf("IA_TA %s{%s}", v[:4], list(v[4:])))
			case 13:
				s = append(s, fmt.Sprintf("status %d", binary.BigEndian.Uint16(v)))
			case 26:
				s = append(s, fmt.Sprintf("%v/%d %d %d", netip.AddrFrom16([16]byte(v[9:])), v[8], binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])))
			case 23:
				s = append(s, "DNS "+netip.AddrFrom16([16]byte(v)).String())
			default:
				s = append(s, fmt.Sprintf("option %d % x", code, v))
			}
		}
		return strings.Join(s, ", ")
	}
	return fmt.Sprintf("%d: %s", m[0], list(m[4:]))
}

// Issue: "DHCPv6 prefix delegation". RFC 8415 §18.3 has a section for each of these
// messages; addresses are not given, since they come from the prefix advertised.
func TestDHCPv6(t *testing.T) {
	p, sent := attach6(t, PortConfig{Prefix: sessionNet(2), Delegated: delegated, DNS: []netip.Addr{gateway6}})
	bare, bareSent := attach6(t, PortConfig{Prefix: sessionNet(2)})
	server := opt(2, p.router.duid)
	anotherServer := opt(2, []byte{0, 3, 0, 1, 9, 9, 9, 9, 9, 9})
	pd := opt(25, iaid, be32(0, 0))
	pdOurs := opt(25, iaid, be32(0, 0), iaPrefix("2001:db8:100::/56", 0, 0))
	pdOther := opt(25, iaid, be32(0, 0), iaPrefix("2001:db8:200::/56", 100, 200))
	na := opt(3, []byte("addr"), be32(0, 0))
	ta := opt(4, []byte("temp"))
	address := func(a string) []byte {
		return opt(3, []byte("addr"), be32(0, 0), opt(5, netip.MustParseAddr(a).AsSlice(), be32(0, 0)))
	}
	const lease = "IA_PD iaid{1800 2880 2001:db8:100::/56 3600 7200"
	const dns = ", DNS 2001:db8::1"
	for _, row := range []struct {
		name    string
		kind    byte
		options []byte
		want    string // empty: no answer
	}{
		{"Solicit", 1, slices.Concat(clientID, pd), "2: client, server, option 7 ff, " + lease + "}" + dns},
		{"Solicit with options that nobody knows, and a hint", 1, slices.Concat(clientID, opt(6, []byte{0, 23}), opt(8, []byte{0, 0}), opt(999), pdOther), "2: client, server, option 7 ff, " + lease + "}" + dns},
		{"Solicit with Rapid Commit", 1, slices.Concat(clientID, opt(14), pd), "7: client, server, option 14 , " + lease + "}" + dns},
		{"Solicit for an address, too", 1, slices.Concat(clientID, na, pd), "2: client, server, option 7 ff, IA_NA addr{status 2}, " + lease + "}" + dns},
		{"Solicit for a temporary address", 1, slices.Concat(clientID, ta), "2: client, server, option 7 ff, IA_TA temp{status 2}" + dns},
		{"Solicit for two prefixes", 1, slices.Concat(clientID, pd, opt(25, []byte("more"), be32(0, 0))), "2: client, server, option 7 ff, " + lease + "}, IA_PD more{status 6}" + dns},
		{"Solicit without a client", 1, pd, ""},
		{"Solicit to a server", 1, slices.Concat(clientID, server, pd), ""},
		{"Request", 3, slices.Concat(clientID, server, pdOurs), "7: client, server, " + lease + "}" + dns},
		{"Request to another server", 3, slices.Concat(clientID, anotherServer, pdOurs), ""},
		{"Request to no server", 3, slices.Concat(clientID, pdOurs), ""},
		{"Confirm", 4, slices.Concat(clientID, address("2001:db8:0:2::5")), "7: client, server, status 0" + dns},
		{"Confirm of an address elsewhere", 4, slices.Concat(clientID, address("2001:db8:0:3::5")), "7: client, server, status 4" + dns},
		{"Confirm of nothing", 4, slices.Concat(clientID, pdOurs), ""},
		{"Renew", 5, slices.Concat(clientID, server, pdOurs), "7: client, server, " + lease + "}" + dns},
		{"Renew of a prefix of an earlier session", 5, slices.Concat(clientID, server, pdOther), "7: client, server, " + lease + ", 2001:db8:200::/56 0 0}" + dns},
		{"Renew of an address", 5, slices.Concat(clientID, server, na), "7: client, server, IA_NA addr{status 3}" + dns},
		{"Rebind", 6, slices.Concat(clientID, pdOurs), "7: client, server, " + lease + "}" + dns},
		{"Rebind to a server", 6, slices.Concat(clientID, server, pdOurs), ""},
		{"Release", 8, slices.Concat(clientID, server, pdOurs), "7: client, server, status 0"},
		{"Release of an address", 8, slices.Concat(clientID, server, na), "7: client, server, status 0, IA_NA addr{status 3}"},
		{"Decline", 9, slices.Concat(clientID, server, na), "7: client, server, status 0, IA_NA addr{status 3}"},
		{"Information-Request", 11, clientID, "7: client, server" + dns},
		{"Information-Request without a client", 11, opt(6, []byte{0, 23}), "7: server" + dns},
		{"Information-Request to us", 11, slices.Concat(clientID, server), "7: client, server" + dns},
		{"Information-Request to another server", 11, slices.Concat(clientID, anotherServer), ""},
		{"Information-Request with an association", 11, slices.Concat(clientID, pd), ""},
		{"Advertise", 2, slices.Concat(clientID, server, pd), ""},
		{"Reply", 7, slices.Concat(clientID, server, pd), ""},
		{"Reconfigure", 10, slices.Concat(clientID, server), ""},
		{"Relay-forward", 12, opt(9, []byte{1, 1, 2, 3}), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p.v6.asked = pacer{}
			packet := dhcpPacket(dhcpPeer, allDHCPServers, row.kind, row.options)
			got := counted(p, packet)
			answers := sent.take()
			if row.want == "" {
				if len(answers) != 0 || got != (Counters{PacketsIn: 1, BytesIn: uint64(len(packet))}) {
					t.Fatalf("answered % x, counted %+v", answers, got)
				}
				return
			}
			if len(answers) != 1 {
				t.Fatalf("%d answers, %+v", len(answers), got)
			}
			if got := readDHCP(t, answers[0]); got != row.want {
				t.Errorf("answered %s\nwant     %s", got, row.want)
			}
		})
	}
	// A session that has nothing but its prefix.
	for _, row := range []struct {
		kind    byte
		options []byte
		want    string
	}{
		{1, slices.Concat(clientID, pd), "2: client, server, option 7 ff, IA_PD iaid{status 6}"},
		{5, slices.Concat(clientID, opt(2, bare.router.duid), pdOurs), "7: client, server, IA_PD iaid{status 3}"},
		{8, slices.Concat(clientID, opt(2, bare.router.duid), pdOurs), "7: client, server, status 0, IA_PD iaid{status 3}"},
		{11, clientID, "7: client, server"},
	} {
		put(bare, dhcpPacket(dhcpPeer, allDHCPServers, row.kind, row.options))
		if answers := bareSent.take(); len(answers) != 1 || readDHCP(t, answers[0]) != row.want {
			t.Errorf("message %d is answered % x, want %s", row.kind, answers, row.want)
		}
	}
}

// What is no valid message is dropped and counted.
func TestDHCPv6Malformed(t *testing.T) {
	p, sent := attach6(t, PortConfig{Prefix: sessionNet(2), Delegated: delegated})
	message := func(options ...[]byte) []byte { return dhcpPacket(dhcpPeer, allDHCPServers, 1, options...) }
	pd := opt(25, iaid, be32(0, 0))
	change := func(f func(p []byte)) []byte {
		b := message(clientID, pd)
		f(b)
		return b
	}
	many := func(n int, option []byte) []byte { return bytes.Repeat(option, n) }
	malformed, elsewhere := Counters{Malformed: 1}, Counters{LinkLocal: 1}
	for _, row := range []struct {
		name   string
		packet []byte
		want   Counters
	}{
		{"a wrong checksum", change(func(p []byte) { p[47]++ }), malformed},
		{"no checksum", change(func(p []byte) { p[46], p[47] = 0, 0 }), malformed},
		{"a UDP length of less", change(func(p []byte) { p[45]-- }), malformed},
		{"a UDP length of more", change(func(p []byte) { p[45]++ }), malformed},
		{"seven bytes of UDP", ipv6Packet(dhcpPeer, allDHCPServers, 1, 17, make([]byte, 7)), malformed},
		{"no transaction", func() []byte { return dhcpShort(3) }(), malformed},
		{"half an option", message(clientID, []byte{0, 25, 0}), malformed},
		{"an option past the end", message(clientID, []byte{0, 25, 0, 1}), malformed},
		{"a DUID of two bytes", message(opt(1, []byte{0, 1})), malformed},
		{"a DUID of 131 bytes", message(opt(1, make([]byte, 131))), malformed},
		{"two clients", message(clientID, clientID), malformed},
		{"Rapid Commit with something in it", message(clientID, opt(14, []byte{1})), malformed},
		{"half an IA_PD", message(clientID, opt(25, iaid, be32(0))), malformed},
		{"half an IA_TA", message(clientID, opt(4, iaid[:3])), malformed},
		{"half a prefix", message(clientID, opt(25, iaid, be32(0, 0), opt(26, make([]byte, 24)))), malformed},
		{"a prefix of 129 bits", message(clientID, opt(25, iaid, be32(0, 0), opt(26, make([]byte, 8), []byte{129}, make([]byte, 16)))), malformed},
		{"half an address", message(clientID, opt(3, iaid, be32(0, 0), opt(5, make([]byte, 23)))), malformed},
		{"an option past the end of its association", message(clientID, opt(25, iaid, be32(0, 0), []byte{0, 26, 0, 25})), malformed},
		{"nine associations", message(clientID, many(9, pd)), malformed},
		{"nine prefixes in one", message(clientID, opt(25, iaid, be32(0, 0), many(9, iaPrefix("2001:db8:200::/56", 0, 0)))), malformed},
		{"to another port", change(func(p []byte) { p[43]++ }), elsewhere},
		{"to us alone", dhcpPacket(dhcpPeer, linkLocal(idA), 1, clientID, pd), elsewhere},
		{"to the servers of the site", dhcpPacket(dhcpPeer, netip.MustParseAddr("ff05::1:3"), 1, clientID, pd), elsewhere},
		{"from a global address", dhcpPacket(sessionNet(2).Addr().Next(), allDHCPServers, 1, clientID, pd), elsewhere},
		{"from our address", dhcpPacket(linkLocal(idA), allDHCPServers, 1, clientID, pd), elsewhere},
		{"from no address", dhcpPacket(netip.IPv6Unspecified(), allDHCPServers, 1, clientID, pd), Counters{Martian: 1}},
	} {
		p.v6.asked = pacer{}
		if got := counted(p, row.packet); got != row.want || len(sent.take()) != 0 {
			t.Errorf("%s: counted %+v, want %+v", row.name, got, row.want)
		}
	}
	// The most that there may be: the first association is given the prefix, and what
	// it had is taken from it.
	all := many(8, opt(25, iaid, be32(0, 0), many(8, iaPrefix("2001:db8:200::/56", 0, 0))))
	packet := dhcpPacket(dhcpPeer, allDHCPServers, 6, clientID, all)
	p.v6.asked = pacer{}
	if got := counted(p, packet); got.PacketsIn != 1 || got.PacketsOut != 1 {
		t.Errorf("%+v", got)
	}
	sent.take()
	// Who asks without end is answered now and then.
	begun, before := time.Now(), p.Counters()
	const n = 1000
	for range n {
		put(p, message(clientID, pd))
	}
	most := dhcpBurst + 1 + int(time.Since(begun)/dhcpInterval)
	if answers := len(sent.take()); answers > most || p.Counters().Excessive-before.Excessive != uint64(n-answers) {
		t.Errorf("%d answers, want %d at most; %+v", answers, most, p.Counters())
	}
}

// dhcpShort is a message of so many bytes.
func dhcpShort(n int) []byte {
	p := dhcpPacket(dhcpPeer, allDHCPServers, 1)
	p = p[:48+n]
	p[5], p[45] = byte(8+n), byte(8+n)
	u := p[40:]
	u[6], u[7] = 0, 0
	pseudo := append(bytes.Clone(p[8:40]), 0, 0, 0, byte(len(u)), 0, 0, 0, 17)
	binary.BigEndian.PutUint16(u[6:], ^checksumOf(append(pseudo, u...)))
	return p
}

// RFC 8415 §11: "The DUID is designed to be unique across all DHCP clients and servers,
// and stable for any specific client or server".
func TestServerDUID(t *testing.T) {
	key, other := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16)
	a := newDUID(key)
	if !bytes.Equal(a, newDUID(key)) || bytes.Equal(a, newDUID(other)) {
		t.Error("not what the key makes of it")
	}
	if len(a) != 18 || a[1] != 4 || a[8]>>4 != 8 || a[10]>>6 != 2 {
		t.Errorf("% x is not a DUID-UUID", a)
	}
}

// FuzzDHCPv6: whatever a client asks, the answer is no longer than a packet, and can be
// taken apart.
func FuzzDHCPv6(f *testing.F) {
	v := &port6{prefix: sessionNet(2), delegated: delegated, dns: []netip.Addr{gateway6}}
	duid := newDUID(make([]byte, 16))
	pd := opt(25, iaid, be32(0, 0), iaPrefix("2001:db8:200::/56", 0, 0))
	for _, kind := range []byte{1, 3, 4, 5, 6, 8, 9, 11} {
		f.Add(slices.Concat([]byte{kind, 1, 2, 3}, clientID, pd))
		f.Add(slices.Concat([]byte{kind, 1, 2, 3}, clientID, opt(2, duid), pd))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseDHCP(b)
		if !ok {
			return
		}
		if len(m.ias) > maxIAs {
			t.Fatalf("%d associations", len(m.ias))
		}
		answer := v.answer(&m, duid)
		if answer == nil {
			return
		}
		whole := eachOption(answer[dhcpHeaderLen:], func(dhcpOption, []byte) bool { return true })
		if !whole || len(answer) > minMTU6-48 {
			t.Errorf("% x is answered % x", b, answer)
		}
	})
}
