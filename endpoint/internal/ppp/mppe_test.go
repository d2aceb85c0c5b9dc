package ppp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// ends are the sealer of one end and the opener of the other.
func ends(s strength) (*Sealer, *Opener) {
	master := &[16]byte{1, 2, 3}
	return newEncryption(master, true, s, s).Sealer, newEncryption(master, false, s, s).Opener
}

var (
	datagram4 = append([]byte{0x45}, "an IPv4 datagram"...)
	datagram6 = append([]byte{0x60}, "an IPv6 datagram"...)
)

// opens is whether a packet is opened, to what was sealed.
func opens(t *testing.T, o *Opener, information []byte) bool {
	t.Helper()
	protocol, datagram, err := o.Open(bytes.Clone(information))
	if err != nil {
		return false
	}
	if !(protocol == ProtocolIPv4 && bytes.Equal(datagram, datagram4)) && !(protocol == ProtocolIPv6 && bytes.Equal(datagram, datagram6)) {
		t.Fatalf("opened protocol %04x, %q", protocol, datagram)
	}
	return true
}

// "If the stateless option has been negotiated, this bit [A] MUST be set on every
// encrypted packet." "Bit D … set to 1 indicates that the packet is encrypted."
// The count "is a monotonically increasing counter which incremented by 1 for each
// packet sent. When the counter reaches 4095 (0x0FFF), it is reset to 0" (RFC 3078
// §3.1).
func TestSeal(t *testing.T) {
	for _, s := range []strength{bits40, bits56, bits128} {
		sealer, opener := ends(s)
		for n := range 10000 {
			protocol, datagram := uint16(ProtocolIPv4), datagram4
			if n%3 == 0 {
				protocol, datagram = ProtocolIPv6, datagram6
			}
			cut := n % len(datagram)
			b := sealer.Seal([]byte("before"), protocol, datagram[:cut], nil, datagram[cut:])
			b, ok := bytes.CutPrefix(b, []byte("before"))
			if !ok || len(b) != len(datagram)+EncryptionLen {
				t.Fatalf("sealed %x", b)
			}
			if header := binary.BigEndian.Uint16(b); header != 0x9000|uint16(n%4096) {
				t.Fatalf("packet %d has the header %04x", n, header)
			}
			if !opens(t, opener, b) {
				t.Fatalf("%v: packet %d is not opened", s, n)
			}
		}
	}
}

// "Only packets with PPP Protocol numbers in the range 0x0021 to 0x00FA are
// encrypted" (RFC 3078 §3).
func TestSealRange(t *testing.T) {
	for _, protocol := range []uint16{0, 0x20, 0xfb, 0xfd, protocolIPCP, protocolLCP} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("protocol %04x is encrypted", protocol)
				}
			}()
			sealer, _ := ends(bits128)
			sealer.Seal(nil, protocol, datagram4)
		}()
	}
}

// "The receiver MUST perform N = C1 - C2 key changes before decrypting the packet
// … if intervening packets have been lost, N may be greater than 1" (RFC 3078 §8.1).
func TestOpenAfterLoss(t *testing.T) {
	for _, lost := range []int{0, 1, 2, 255, 1000, 2046} {
		sealer, opener := ends(bits128)
		if !opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4)) {
			t.Fatal("the first packet is not opened")
		}
		for range lost {
			sealer.Seal(nil, ProtocolIPv4, datagram4)
		}
		if !opens(t, opener, sealer.Seal(nil, ProtocolIPv6, datagram6)) {
			t.Errorf("after %d lost packets the next one is not opened", lost)
		}
		if !opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4)) {
			t.Errorf("after %d lost packets the second one is not opened", lost)
		}
	}
	// The first packet may be lost too.
	sealer, opener := ends(bits128)
	sealer.Seal(nil, ProtocolIPv4, datagram4)
	if !opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4)) {
		t.Error("when the first packet is lost, the second one is not opened")
	}
}

// Packets that come twice or late are dropped, and those after them are opened.
func TestOpenLate(t *testing.T) {
	sealer, opener := ends(bits128)
	var sent [][]byte
	for range 3000 {
		sent = append(sent, sealer.Seal(nil, ProtocolIPv4, datagram4))
	}
	for n, p := range sent {
		if n == 1500 {
			continue
		}
		if !opens(t, opener, p) {
			t.Fatalf("packet %d is not opened", n)
		}
		if opens(t, opener, p) {
			t.Fatalf("packet %d is opened twice", n)
		}
		if n > 1500 && opens(t, opener, sent[1500]) {
			t.Fatalf("packet 1500 is opened after packet %d", n)
		}
		if late := sent[n-min(n, rand.IntN(2047))]; opens(t, opener, late) {
			t.Fatalf("a late packet is opened after packet %d", n)
		}
	}
}

// Loss, doubling and reordering: whatever is not late is opened.
func TestOpenLossy(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		sealer, opener := ends(bits128)
		last, opened := -1, 0
		var queue [][]byte
		for n := range 2000 {
			b := sealer.Seal(nil, ProtocolIPv4, datagram4)
			b = binary.BigEndian.AppendUint32(b, uint32(n)) // for the test alone
			if random.IntN(5) > 0 {
				queue = append(queue, b)
			}
			for len(queue) > random.IntN(4) {
				i := random.IntN(len(queue))
				b := queue[i]
				if random.IntN(10) > 0 { // else it is doubled
					queue = append(queue[:i], queue[i+1:]...)
				}
				k := int(binary.BigEndian.Uint32(b[len(b)-4:]))
				if got, want := opens(t, opener, b[:len(b)-4]), k > last; got != want {
					t.Fatalf("packet %d after %d: opened %v", k, last, got)
				}
				if k > last {
					last = k
					opened++
				}
			}
		}
		if opened < 800 {
			t.Errorf("only %d of 2000 packets were opened", opened)
		}
	}
}

// What is no packet of the peer's changes nothing: a forged one, whatever its
// count, does not bring the keys out of step.
func TestOpenForged(t *testing.T) {
	sealer, opener := ends(bits128)
	if !opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4)) {
		t.Fatal("not opened")
	}
	next := sealer.Seal(nil, ProtocolIPv4, datagram4)
	header := func(bits, count uint16) []byte { return binary.BigEndian.AppendUint16(nil, bits|count) }
	for name, forged := range map[string][]byte{
		"empty":          {},
		"half a header":  {0x90},
		"a header":       header(0x9000, 1),
		"one octet":      append(header(0x9000, 1), next[2]),
		"a protocol":     next[:4],
		"garbage":        append(header(0x9000, 1), "garbage, garbage"...),
		"garbage, ahead": append(header(0x9000, 1000), "garbage, garbage"...),
		"behind":         append(header(0x9000, 4000), "garbage, garbage"...),
		"not encrypted":  append(header(0x8000, 1), next[2:]...),
		"not flushed":    append(header(0x1000, 1), next[2:]...),
		"another key":    append(header(0x9000, 2), next[2:]...),
	} {
		before := bytes.Clone(forged)
		if _, _, err := opener.Open(forged); err == nil {
			t.Errorf("%s: opened", name)
		}
		if !bytes.Equal(forged, before) {
			t.Errorf("%s: the buffer has changed", name)
		}
	}
	if !opens(t, opener, next) {
		t.Error("after forged packets the next one is not opened")
	}
	// One that does not carry IP is not for us.
	if opens(t, opener, sealer.Seal(nil, 0x002d, datagram4)) || opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram6)) {
		t.Error("Van Jacobson's, or IPv6 as IPv4, is opened")
	}
	if !opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4)) {
		t.Error("the one after it is not opened")
	}
}

// A protocol of one octet, as a peer may send when we have acknowledged its
// Protocol-Field-Compression.
func TestOpenCompressedProtocol(t *testing.T) {
	sealer, opener := ends(bits128)
	sealer.keys.next()
	sealer.keys.start()
	b := append([]byte{0x90, 0x00, ProtocolIPv4}, datagram4...)
	sealer.keys.cipher.xor(b[2:], b[2:])
	if !opens(t, opener, b) {
		t.Error("not opened")
	}
}

// Keys that are passed over cost time. A peer that passes over 2,000 of them with
// each packet is not followed for long; one that loses 2,000 packets now and then
// is.
func TestOpenCredit(t *testing.T) {
	sealer, opener := ends(bits128)
	burst := func() bool {
		for range 2000 {
			sealer.Seal(nil, ProtocolIPv4, datagram4)
		}
		return opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4))
	}
	if !burst() || burst() {
		t.Fatal("one burst is forgiven, not two")
	}
	sealer, opener = ends(bits128)
	for n := range 10 {
		if !burst() {
			t.Fatalf("burst %d is not forgiven", n)
		}
		for range maxCredit / gainCredit {
			opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4))
		}
	}
}

// More than half of the counts lost in one go: nothing fits again, and Open says
// so, soon and not before.
func TestOutOfStep(t *testing.T) {
	for _, lost := range []int{2047, 3000, 4094, 4095, 5000} {
		sealer, opener := ends(bits128)
		opens(t, opener, sealer.Seal(nil, ProtocolIPv4, datagram4))
		for range lost {
			sealer.Seal(nil, ProtocolIPv4, datagram4)
		}
		for n := 1; ; n++ {
			_, _, err := opener.Open(sealer.Seal(nil, ProtocolIPv4, datagram4))
			if errors.Is(err, ErrOutOfStep) != (n >= maxMisses) || err == nil {
				t.Fatalf("%d packets lost: packet %d gives %v", lost, n, err)
			}
			if n > 2*maxMisses {
				break
			}
		}
	}
}

func TestMPPEAllocates(t *testing.T) {
	sealer, opener := ends(bits128)
	datagram := append([]byte{0x45}, make([]byte, 1395)...)
	b := make([]byte, 0, len(datagram)+EncryptionLen)
	if n := testing.AllocsPerRun(1000, func() {
		b = sealer.Seal(b[:0], ProtocolIPv4, datagram[:20], datagram[20:])
		if _, _, err := opener.Open(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func BenchmarkMPPE(b *testing.B) {
	datagram := append([]byte{0x45}, make([]byte, 1395)...)
	out := make([]byte, 0, len(datagram)+EncryptionLen)
	sealer, opener := ends(bits128)
	b.SetBytes(int64(len(datagram)))
	b.ReportAllocs()
	for b.Loop() {
		out = sealer.Seal(out[:0], ProtocolIPv4, datagram)
		if _, _, err := opener.Open(out); err != nil {
			b.Fatal(err)
		}
	}
}
