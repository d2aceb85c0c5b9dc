package pcapng

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestHeaders(t *testing.T) {
	for _, c := range []struct{ name, src, dst, payload, want string }{
		{"IPv4", "192.0.2.1:40000", "192.0.2.2:1701", "0102 03",
			"4500 001f 0000 4000 4011 b6ca c0000201 c0000202 9c40 06a5 000b d4ec"},
		{"IPv6", "[2001:db8::1]:40000", "[2001:db8::2]:1701", "0102 03",
			"60000000 000b 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 9c40 06a5 000b fd7b"},
	} {
		got := AppendHeaders([]byte("x"), netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst), unhex(c.payload))
		if want := append([]byte("x"), unhex(c.want)...); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", c.name, got, want)
		}
	}
}

// "If all bits of the result are one, the check succeeds" (RFC 1071 §1).
func TestChecksums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{4, 16}).Draw(t, "octets of an address")
		address := func(name string) netip.AddrPort {
			a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name))
			return netip.AddrPortFrom(a, rapid.Uint16().Draw(t, name+"'s port"))
		}
		src, dst := address("source"), address("destination")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "payload")
		b := append(AppendHeaders(nil, src, dst, payload), payload...)

		header := 40
		if n == 4 {
			header = 20
			if checksum(0, b[:header]) != 0xffff {
				t.Fatalf("the IPv4 header's checksum is wrong: %x", b)
			}
		}
		pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(b)-header))
		pseudo = append(pseudo, 0, 0, 0, 17)
		if checksum(0, append(pseudo, b[header:]...)) != 0xffff {
			t.Fatalf("the UDP checksum is wrong: %x", b)
		}
		if binary.BigEndian.Uint16(b[header+6:]) == 0 {
			t.Fatal("a checksum of 0 means none")
		}
	})
}
