package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
)

var (
	from4 = netip.MustParseAddrPort("192.0.2.1:40000")
	to4   = netip.MustParseAddrPort("192.0.2.2:1701")
	from6 = netip.MustParseAddrPort("[2001:db8::1]:40000")
	to6   = netip.MustParseAddrPort("[2001:db8::2]:1701")
)

// ipv6 is an IPv6 packet with extension headers, of which the first one's number
// is next, in front of a datagram.
func ipv6(next byte, extensions string, payload []byte) []byte {
	rest := append(unhex(extensions), udp(from6, to6, payload)...)
	b := unhex("60000000 0000 00 40")
	binary.BigEndian.PutUint16(b[4:], uint16(len(rest)))
	b[6] = next
	b = append(append(b, from6.Addr().AsSlice()...), to6.Addr().AsSlice()...)
	return append(b, rest...)
}

// options puts IPv4 options of four octets into a packet.
func withOptions(b []byte) []byte {
	b = append(b[:20:20], append(unhex("01010100"), b[20:]...)...)
	b[0] = 0x46
	b[3] += 4
	return b
}

// edit is a packet with another octet somewhere.
func edit(b []byte, at int, octet byte) []byte {
	b = append([]byte(nil), b...)
	b[at] = octet
	return b
}

func TestLinkLayers(t *testing.T) {
	packet := ipv4(from4, to4, []byte("payload"))
	packet6 := ipv6(protocolUDP, "", []byte("payload"))
	for _, c := range []struct {
		name string
		link pcapng.LinkType
		file []byte
		six  bool
	}{
		{"raw IP", pcapng.LinkRaw, packet, false},
		{"raw IP, version 6", pcapng.LinkRaw, packet6, true},
		{"raw IPv4", pcapng.LinkIPv4, packet, false},
		{"raw IPv6", pcapng.LinkIPv6, packet6, true},
		{"Ethernet", pcapng.LinkEthernet, append(unhex("020000000001 020000000002 0800"), packet...), false},
		{"Ethernet, padded", pcapng.LinkEthernet, append(append(unhex("020000000001 020000000002 0800"), packet...), 1, 2, 3, 4), false},
		{"Ethernet, version 6", pcapng.LinkEthernet, append(unhex("020000000001 020000000002 86dd"), packet6...), true},
		{"a VLAN", pcapng.LinkEthernet, append(unhex("020000000001 020000000002 8100 0007 0800"), packet...), false},
		{"a VLAN in a VLAN", pcapng.LinkEthernet, append(unhex("020000000001 020000000002 88a8 0007 8100 0008 0800"), packet...), false},
		{"Linux cooked", pcapng.LinkSLL, append(unhex("0000 0001 0006 020000000001 0000 0800"), packet...), false},
		{"Linux cooked, version 2", pcapng.LinkSLL2, append(unhex("86dd 0000 00000002 0001 04 06 020000000001 0000"), packet6...), true},
		{"BSD loopback, little-endian", pcapng.LinkNull, append(unhex("02000000"), packet...), false},
		{"BSD loopback, version 6", pcapng.LinkNull, append(unhex("1e000000"), packet6...), true},
		{"OpenBSD loopback", pcapng.LinkLoop, append(unhex("00000002"), packet...), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := datagram{src: from4, dst: to4}
			if c.six {
				want.src, want.dst = from6, to6
			}
			d, v := parseLink(c.link, c.file)
			if v != isUDP || d.src != want.src || d.dst != want.dst || string(d.payload) != "payload" || d.missing != 0 {
				t.Errorf("%d: %+v", v, d)
			}
			// Cut anywhere, it is the same datagram with fewer octets, or none.
			for n := range c.file {
				d, v := parseLink(c.link, c.file[:n])
				if v == isUDP && (d.src != want.src || d.dst != want.dst || len(d.payload)+d.missing != len("payload")) {
					t.Errorf("cut to %d octets: %+v", n, d)
				}
			}
		})
	}
}

func TestIPPackets(t *testing.T) {
	packet := ipv4(from4, to4, []byte("payload"))
	const hopByHop, routing, dstOptions = "11 00 0502 00000104", "11 00 00 00 00000000", "11 01 010c 00000000 00000000 00000000"
	for _, c := range []struct {
		name string
		file []byte
		want verdict
	}{
		{"nothing", nil, isOther},
		{"version 5", edit(packet, 0, 0x55), isOther},
		{"TCP", edit(packet, 9, 6), isOther},
		{"options", withOptions(packet), isUDP},
		{"a header of four octets", edit(packet, 0, 0x41), isOther},
		{"a header that is longer than the packet says", edit(packet, 3, 19), isOther},
		{"a Total Length of 0, left to the network card", edit(packet, 3, 0), isUDP},
		{"the first fragment", edit(packet, 6, 0x20), isFragment},
		{"the last fragment", edit(packet, 7, 1), isFragment},
		{"Don't Fragment", edit(packet, 6, 0x40), isUDP},
		{"a UDP Length of 7", edit(packet, 25, 7), isOther},
		{"hop-by-hop options", ipv6(protocolHopByHop, hopByHop, []byte("payload")), isUDP},
		{"a routing header", ipv6(protocolRouting, routing, []byte("payload")), isUDP},
		{"destination options", ipv6(protocolDstOptions, dstOptions, []byte("payload")), isUDP},
		{"all of them", ipv6(protocolHopByHop, "2b"+hopByHop[2:]+"3c"+routing[2:]+dstOptions, []byte("payload")), isUDP},
		{"an extension that goes past the end", ipv6(protocolDstOptions, "11 ff 0000 00000000", []byte("payload")), isOther},
		{"half an extension", ipv6(protocolDstOptions, "11 00", nil)[:42], isOther},
		{"a fragment that is whole", ipv6(protocolFragment, "11 00 0000 00000001", []byte("payload")), isUDP},
		{"the first fragment, version 6", ipv6(protocolFragment, "11 00 0001 00000001", []byte("payload")), isFragment},
		{"the last fragment, version 6", ipv6(protocolFragment, "11 00 0008 00000001", []byte("payload")), isFragment},
		{"half a fragment header", ipv6(protocolFragment, "11 00", nil)[:42], isOther},
		{"TCP, version 6", ipv6(6, "", []byte("payload")), isOther},
		{"no end of headers", ipv6(protocolRouting, "2b 00 000000000000 2b 00 000000000000 2b 00 000000000000 2b 00 000000000000 2b 00 000000000000"+
			"2b 00 000000000000 2b 00 000000000000 2b 00 000000000000 11 00 000000000000", []byte("payload")), isOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, v := parseIP(c.file)
			if v != c.want {
				t.Errorf("it is %d, want %d: %+v", v, c.want, d)
			}
			if v == isUDP && string(d.payload) != "payload" {
				t.Errorf("payload %q", d.payload)
			}
		})
	}
}

func TestNamesOfAddresses(t *testing.T) {
	for n, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 27: "AB", 51: "AZ", 52: "BA", 701: "ZZ", 702: "AAA"} {
		if got := name(n); got != want {
			t.Errorf("the name of number %d is %s, want %s", n, got, want)
		}
	}
}

// What is remembered is bounded, and what has been forgotten is introduced again.
func TestManyAddresses(t *testing.T) {
	p := printer{w: nowhere{}, names: map[netip.AddrPort]string{}}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for port := range uint16(namesMax) {
		p.print(netip.AddrPortFrom(a, port), netip.AddrPortFrom(b, port), "0/0", line{what: "ZLB"})
		if len(p.names) > namesMax {
			t.Fatalf("%d names", len(p.names))
		}
		for _, addr := range []netip.Addr{a, b} {
			if !p.known(netip.AddrPortFrom(addr, port)) {
				t.Fatalf("%v:%d has no name", addr, port)
			}
		}
	}
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

func TestLinesAreFolded(t *testing.T) {
	begin := fmt.Sprintf("%25s", "")
	for _, c := range []struct {
		name string
		line line
		want string
	}{
		{"short", line{what: "HELLO"}, " HELLO\n"},
		{"with a state", line{what: "SCCCN", state: "established"},
			" SCCCN                                      established\n"},
		{"full to the last column", line{what: "LCP", items: []string{"123456789 123456789 123456789", "123456"}, state: "established"},
			" LCP 123456789 123456789 123456789, 123456  established\n"},
		{"the state takes the last item with it", line{what: "LCP", items: []string{"123456789 123456789 123456789", "1234567"}, state: "established"},
			" LCP 123456789 123456789 123456789,\n                          1234567                                    established\n"},
		{"an item that no line has room for", line{what: "CDN", items: []string{"123456789 123456789 123456789 123456789 123456789 123456789"}, state: "idle"},
			" CDN\n                          123456789 123456789 123456789 123456789 123456789\n                          123456789                                         idle\n"},
		{"a word that no line has room for", line{what: "CDN", items: []string{"1234567890123456789012345678901234567890123456789012345678901234567890"}, state: "idle"},
			" CDN\n                          1234567890123456789012345678901234567890123456789012345678901234567890\n                                                                            idle\n"},
		{"a fault", line{what: "CDN", items: []string{"session 1"}, wrong: "no room", repeated: true},
			" malformed CDN session 1: no room, retransmitted\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.line.fold(begin); got != begin+c.want {
				t.Errorf("folded\n%s\nwant\n%s", got, begin+c.want)
			}
		})
	}
}
