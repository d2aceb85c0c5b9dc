package netstack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Issue 5: "checksums of IPv4, TCP, UDP and ICMPv6 verified on receive". With any one of
// its bits changed that a checksum is of, a packet reaches nobody, and nothing answers it:
// on either kind of link, and with either version of IP, whatever else is in the batch.
func TestAnyBitThatIsAnother(t *testing.T) {
	for _, l := range rawLinks {
		t.Run(l.name, func(t *testing.T) {
			p, s, ln := newRawPeer(t, l.ether, l.v6)
			socket, err := s.ListenPacket("udp", ":53")
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			socket.SetReadDeadline(time.Now().Add(time.Minute))
			flow, conn := p.connect(t, ln, 999)
			defer conn.Close()
			conn.SetReadDeadline(time.Now().Add(time.Minute))

			udp := func(text string) []byte {
				return p.packet(17, append([]byte{0, 99, 0, 53, 0, byte(8 + len(text)), 0, 0}, text...), 6)
			}
			tcp := func(at uint32, text string) []byte {
				return p.segment(flow, 999, at, byte(header.TCPFlagAck|header.TCPFlagPsh), nil, []byte(text))
			}
			echoed, protocol := []byte{8, 0, 0, 0, 0, 1, 0, 1, 'e', 'c', 'h', 'o'}, byte(1)
			if l.v6 {
				echoed[0], protocol = 128, 58
			}
			ping := p.packet(protocol, echoed, 2)
			// Nobody is at that port: a reset would be the answer.
			stranger := p.segment(&rawFlow{}, 998, 0, byte(header.TCPFlagAck), nil, []byte("stranger"))

			first := 0
			if l.v6 {
				first = 8 // no checksum is of what is before
			}
			var batch [][]byte
			for _, whole := range [][]byte{udp("damaged"), tcp(0, "damaged"), ping, stranger} {
				for bit := first * 8; bit < len(whole)*8; bit++ {
					packet := bytes.Clone(whole)
					packet[bit/8] ^= 1 << (bit % 8)
					if batch = append(batch, p.frame(packet)); len(batch) == 50 {
						put(p.nic, batch...)
						batch = nil
					}
				}
			}
			put(p.nic, append(batch, p.frame(udp("whole")), p.frame(tcp(0, "whole")))...)

			b := make([]byte, 100)
			if n, _, err := socket.ReadFrom(b); err != nil || string(b[:n]) != "whole" {
				t.Errorf("of UDP there came %q, %v", b[:n], err)
			}
			if n, err := io.ReadFull(conn, b[:5]); err != nil || string(b[:n]) != "whole" {
				t.Errorf("of TCP there came %q, %v", b[:n], err)
			}
			p.await(t, "that five bytes are acknowledged", flow, func() bool { return flow.acked == 5 })
			socket.SetReadDeadline(time.Now())
			if n, _, err := socket.ReadFrom(b); !os.IsTimeout(err) {
				t.Errorf("of UDP there came %q as well, %v", b[:n], err)
			}
			p.mu.Lock()
			if p.answers != 0 {
				t.Errorf("%d packets were answered", p.answers)
			}
			p.mu.Unlock()
			c := p.nic.(interface{ Counters() Counters }).Counters()
			if c.CorruptTCP == 0 || c.CorruptUDP == 0 || c.CorruptICMP == 0 || !l.v6 && c.CorruptIPv4 == 0 {
				t.Errorf("counted %+v", c)
			}
			// They are all right but for that.
			put(p.nic, p.frame(ping), p.frame(stranger))
			p.await(t, "two answers", flow, func() bool { return p.answers == 2 })
		})
	}
}

// The checksum of what lies behind an extension header, which an interface does not look
// for, is verified all the same.
func TestDamageBehindAnExtensionHeader(t *testing.T) {
	for _, ether := range []bool{false, true} {
		t.Run(fmt.Sprint("Ethernet ", ether), func(t *testing.T) {
			p, s, ln := newRawPeer(t, ether, true)
			flow, conn := p.connect(t, ln, 999)
			defer conn.Close()
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			behind := func(packet []byte) []byte { // a Destination Options header of padding
				q := append(bytes.Clone(packet[:40]), packet[6], 0, 1, 4, 0, 0, 0, 0)
				q[6], q[5] = 60, q[5]+8
				return append(q, packet[40:]...)
			}
			segment := func(text string) []byte {
				return p.segment(flow, 999, 0, byte(header.TCPFlagAck|header.TCPFlagPsh), nil, []byte(text))
			}
			damaged := segment("damaged")
			damaged[len(damaged)-1] ^= 1
			put(p.nic, p.frame(behind(damaged)), p.frame(behind(segment("whole"))))
			b := make([]byte, 5)
			if n, err := io.ReadFull(conn, b); err != nil || string(b[:n]) != "whole" {
				t.Errorf("there came %q, %v", b[:n], err)
			}
			if n := s.gv.Stats().TCP.ChecksumErrors.Value(); n != 1 {
				t.Errorf("%d segments were found to be damaged, want one", n)
			}
		})
	}
}

// RFC 1191 §3: a host that has been told of a smaller MTU "SHOULD avoid" packets that are larger. Who tells of a ridiculous
// one, which any packet with the right ports does, makes segments of a byte of nobody's connection.
func TestARidiculousMTUIsNotBelieved(t *testing.T) {
	for _, c := range []struct{ mtu, least, most uint32 }{{0, 1300, 1400}, {68, 1300, 1400}, {80, 1300, 1400}, {551, 1300, 1400}, {552, 100, 512}} {
		p := newPair(t, nil, nil)
		var mu sync.Mutex
		var some []byte
		longest := 0
		p.ab.setTamper(func(f []byte) []byte {
			h := header.TCP(f[20:])
			mu.Lock()
			defer mu.Unlock()
			if n := len(f) - 20 - int(h.DataOffset()); n > 0 {
				some, longest = bytes.Clone(f), max(longest, n)
			}
			return f
		})
		client, server := p.connect(t)
		pass := func() {
			client.SetDeadline(time.Now().Add(time.Minute))
			server.SetDeadline(time.Now().Add(time.Minute))
			go client.Write(make([]byte, 10000))
			if _, err := io.ReadFull(server, make([]byte, 10000)); err != nil {
				t.Fatal(err)
			}
		}
		pass()
		mu.Lock()
		sent := header.IPv4(some)
		mu.Unlock()
		put(p.nicA, icmpError4(sent.DestinationAddress(), sent, header.ICMPv4DstUnreachable, header.ICMPv4FragmentationNeeded, c.mtu, 576))
		pass() // some of these segments may have been on their way
		mu.Lock()
		longest = 0
		mu.Unlock()
		pass()
		mu.Lock()
		if got := uint32(longest); got < c.least || got > c.most {
			t.Errorf("told of an MTU of %d: the longest segment has %d bytes, want %d to %d", c.mtu, got, c.least, c.most)
		}
		mu.Unlock()
	}
}
