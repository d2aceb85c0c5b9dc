package netstack

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// RFC 792: "If, according to the information in the gateway's routing tables, the
// network specified in the internet destination field of a datagram is unreachable
// […] the gateway may send a destination unreachable message to the internet source
// host of the datagram." It quotes "the internet header plus the first 64 bits of the
// original datagram's data".
func TestPingIsToldThatItIsUnreachable(t *testing.T) {
	gatewayOf := netip.MustParseAddr("10.0.0.254")
	target := netip.MustParseAddr("192.0.2.1")
	for _, row := range []struct {
		typ, code byte
		change    func(quoted []byte) []byte
		want      error // nil: the ping takes no notice
		words     string
	}{
		{3, 0, nil, syscall.ENETUNREACH, "10.0.0.254 says: network unreachable"},
		{3, 1, nil, syscall.EHOSTUNREACH, "10.0.0.254 says: host unreachable"},
		{3, 13, nil, syscall.EHOSTUNREACH, "10.0.0.254 says: administratively prohibited"},
		{11, 0, nil, syscall.EHOSTUNREACH, "10.0.0.254 says: time to live exceeded"},
		{3, 99, nil, syscall.EHOSTUNREACH, "10.0.0.254 says: type 3, code 99"},
		{5, 0, nil, nil, ""}, // a redirect is none
		{3, 1, func(q []byte) []byte { return q[:27] }, nil, ""},
		{3, 1, func(q []byte) []byte { q[0] = 0x4f; return q }, nil, ""}, // a header that is longer than the rest
		{3, 1, func(q []byte) []byte { q[19]++; return q }, nil, ""},     // to somebody else
		{3, 1, func(q []byte) []byte { q[20] = 0; return q }, nil, ""},   // of a reply
		{3, 1, func(q []byte) []byte { q[25]++; return q }, nil, ""},     // of another program
		{3, 1, func(q []byte) []byte { q[27]++; return q }, nil, ""},     // of another request
		{3, 1, func(q []byte) []byte { q[9] = 17; return q }, nil, ""},   // of UDP
	} {
		s := newStack(t, nil)
		var n *NIC
		sent := make(chan []byte, 1)
		n = addIP(t, s, link.SinkFunc(func(b *link.Batch) {
			for i := range b.Frames {
				sent <- b.Frames[i].AppendTo(nil)
			}
		}), addrA)
		go func() {
			request := <-sent
			quoted := request[:28]
			if row.change != nil {
				quoted = row.change(append([]byte(nil), quoted...))
			}
			put(n, ipv4Packet(gatewayOf.As4(), addrA.As4(), 1, icmpMessage(row.typ, row.code, quoted)))
			if row.want == nil {
				reply := append([]byte(nil), request[20:]...)
				reply[0] = 0
				put(n, ipv4Packet(target.As4(), addrA.As4(), 1, icmpMessage(0, 0, reply[8:], reply[4:8]...)))
			}
		}()
		_, err := s.Ping(patience(t), target, &PingOptions{Seq: 7})
		if row.want == nil {
			if err != nil {
				t.Errorf("%d/%d: %v, want the reply", row.typ, row.code, err)
			}
			continue
		}
		want(t, row.words, err, row.want)
		if u, ok := errors.AsType[*UnreachableError](err); !ok || u.Error() != row.words || u.Type != row.typ || u.Code != row.code {
			t.Errorf("%v, want %s", err, row.words)
		}
	}
}

// icmpMessage is an ICMP message with its checksum; rest are the four bytes after that.
func icmpMessage(typ, code byte, body []byte, rest ...byte) []byte {
	m := append([]byte{typ, code, 0, 0}, append(rest, make([]byte, 4-len(rest))...)...)
	m = append(m, body...)
	var sum uint32
	for i := 0; i < len(m); i += 2 {
		if i+1 < len(m) {
			sum += uint32(m[i])<<8 | uint32(m[i+1])
		} else {
			sum += uint32(m[i]) << 8
		}
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum&0xffff+sum>>16))
	return m
}

// RFC 4443 §3.1, with one header of IPv6 less to look at.
func TestPingIsToldThatItIsUnreachableOverIPv6(t *testing.T) {
	var e echoes
	var told error
	target, from := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ff")
	quoted := make([]byte, 48)
	quoted[0], quoted[6] = 0x60, 58
	copy(quoted[24:], target.AsSlice())
	quoted[40], quoted[45], quoted[47] = 128, 5, 7
	packet := make([]byte, 48, 96)
	packet[0], packet[6], packet[40], packet[41] = 0x60, 58, 1, 1
	copy(packet[8:], from.AsSlice())
	copy(packet[24:], target.AsSlice())
	packet = append(packet, quoted...)
	binary.BigEndian.PutUint16(packet[4:], uint16(len(packet)-40))
	e.look6(packet) // nobody waits
	forget := e.await(echoKey{target, 5, 7}, func(err error) { told = err })
	e.look6(packet)
	if told != nil {
		t.Errorf("with a checksum that is wrong it says %v", told)
	}
	m := header.ICMPv6(packet[40:])
	m.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: m, Src: toAddress(from), Dst: toAddress(target)}))
	for n := range packet { // cut anywhere it is none, and does no harm
		if n >= 40 {
			e.look6(packet[:n])
		}
	}
	if told != nil {
		t.Errorf("a part of it says %v", told)
	}
	e.look6(packet)
	if u, ok := errors.AsType[*UnreachableError](told); !ok || u.Error() != "2001:db8::ff says: administratively prohibited" || !errors.Is(told, syscall.EHOSTUNREACH) {
		t.Errorf("it says %v", told)
	}
	told = nil
	forget()
	e.look6(packet)
	if told != nil || len(e.tell) != 0 || e.waiting.Load() != 0 {
		t.Error("it is not forgotten")
	}
}
