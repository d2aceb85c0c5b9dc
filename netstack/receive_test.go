package netstack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Issue: "in-order segments that end in the stack merged". In either direction, over
// either version of IP, gVisor gets far fewer packets than have come, and every byte.
func TestSegmentsAreMerged(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprint("IPv6 ", v6), func(t *testing.T) {
			r := newRouter6(t, newStack(t, nil), RoutedConfig{})
			c := newClient6(t, r, 2, 0)
			own := r.addrs[0]
			for _, a := range r.addrs {
				if a.Is6() == v6 {
					own = a
				}
			}
			ln, err := r.stack.Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			const size = 8 << 20
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				c, err := ln.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if err := sameStream(c, size); err != nil {
					t.Error(err)
				}
			})
			before := c.port.Counters().PacketsIn
			conn, err := c.stack.DialContext(patience(t), "tcp", netip.AddrPortFrom(own, 80).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.CopyBuffer(struct{ io.Writer }{conn}, &pattern{size: size}, make([]byte, 256<<10)); err != nil {
				t.Fatal(err)
			}
			conn.(*tcpConn).CloseWrite()
			wg.Wait()
			came := c.port.Counters().PacketsIn - before
			got := r.stack.gv.Stats().TCP.ValidSegmentsReceived.Value()
			if came < size/1400 || got > came/4 {
				t.Errorf("%d packets came, and gVisor got %d", came, got)
			}
		})
	}
}

// What is for the Forwarder ends in a stack, too.
func TestForwardedSegmentsAreMerged(t *testing.T) {
	const size = 4 << 20
	done := make(chan error, 1)
	x := newForwardTest(t, &Forwarder{TCP: func(f *TCPFlow) {
		c, err := f.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		done <- sameStream(c, size)
	}})
	c, err := x.stack.DialContext(patience(t), "tcp", outside+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{c}, &pattern{size: size}, make([]byte, 256<<10)); err != nil {
		t.Fatal(err)
	}
	c.(*tcpConn).CloseWrite()
	if err := <-done; err != nil {
		t.Error(err)
	}
	came, got := x.router.Counters().PacketsIn, x.router.forward.gv.Stats().TCP.ValidSegmentsReceived.Value()
	if came < size/1400 || got > came/4 {
		t.Errorf("%d packets came, and gVisor got %d", came, got)
	}
}

// Segments are told apart by their sessions, too: what is for another client goes on
// as it came, since it would not fit.
func TestSwitchedSegmentsAreNotMerged(t *testing.T) {
	s := newSwitched(t, 0)
	for _, v6 := range []bool{false, true} {
		var packets [][]byte
		for i := range 10 {
			segment := make([]byte, 120)
			binary.BigEndian.PutUint32(segment[4:], uint32(i*100))
			segment[12], segment[13] = 0x50, byte(header.TCPFlagAck)
			packets = append(packets, s.packet(v6, 6, segment))
		}
		put(s.one, packets...)
		got := s.toTwo.take()
		if len(got) != len(packets) {
			t.Fatalf("%d segments become %d packets", len(packets), len(got))
		}
		for i := range got {
			if want := packets[i]; len(got[i]) != len(want) || !bytes.Equal(got[i][len(want)-120:], want[len(want)-120:]) {
				t.Errorf("segment %d is not what it was", i)
			}
		}
	}
}

// A checksum over several fragments is nothing that an interface can verify. That
// of the datagram that they make is verified all the same.
func TestFragmentsAreVerified(t *testing.T) {
	s := newStack(t, nil)
	n, err := s.AddIP(discard, &IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addrA, 32)}, InterfaceID: idA})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := s.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, own := linkLocal(idB), linkLocal(idA)
	for _, row := range []struct {
		name  string
		send  func(id byte, datagram []byte)
		plain func(text string) []byte
	}{
		{"IPv4", func(id byte, d []byte) {
			first, last := ipv4Packet(addrB.As4(), addrA.As4(), 17, d[:16]), ipv4Packet(addrB.As4(), addrA.As4(), 17, d[16:])
			for i, p := range [][]byte{first, last} {
				p[5], p[6], p[7] = id, 0x20, 0
				if i == 1 {
					p[6], p[7] = 0, 2
				}
				p[10], p[11] = 0, 0
				binary.BigEndian.PutUint16(p[10:], ^checksumOf(p[:20]))
			}
			put(n, first, last)
		}, func(text string) []byte { return udpDatagram(addrB, addrA, text) }},
		{"IPv6", func(id byte, d []byte) {
			put(n,
				ipv6Packet(peer, own, 64, 44, append([]byte{17, 0, 0, 1, 0, 0, 0, id}, d[:16]...)),
				ipv6Packet(peer, own, 64, 44, append([]byte{17, 0, 0, 16, 0, 0, 0, id}, d[16:]...)))
		}, func(text string) []byte { return udpDatagram(peer, own, text) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			damaged := row.plain("this one was damaged on its way")
			damaged[20] ^= 1
			row.send(1, damaged)
			row.send(2, row.plain("this one was not damaged at all"))
			b := make([]byte, 100)
			conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			k, _, err := conn.ReadFrom(b)
			if err != nil || string(b[:k]) != "this one was not damaged at all" {
				t.Errorf("read %q, %v", b[:k], err)
			}
			conn.SetReadDeadline(time.Now())
			if k, _, err := conn.ReadFrom(b); !os.IsTimeout(err) {
				t.Errorf("read %q as well, %v", b[:k], err)
			}
		})
	}
}

// udpDatagram is a datagram with its checksum, from port 99 to port 53.
func udpDatagram(src, dst netip.Addr, text string) []byte {
	d := append([]byte{0, 99, 0, 53, 0, byte(8 + len(text)), 0, 0}, text...)
	pseudo := append(append(src.AsSlice(), dst.AsSlice()...), 0, 17, 0, byte(len(d)))
	binary.BigEndian.PutUint16(d[6:], ^checksumOf(append(pseudo, d...)))
	return d
}
