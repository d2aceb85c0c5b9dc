package endpoint

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const twoAddresses = "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"

// RFC 3931 §5.4.4: "Non-IP traffic here refers to any packets that cannot be classified as
// an IP packet within their respective L2 framing".
func TestV3WhatIsIP(t *testing.T) {
	for _, c := range []struct {
		kind  PseudowireType
		frame string
		want  bool
	}{
		{PseudowireEthernet, twoAddresses + "\x08\x00E", true},
		{PseudowireEthernet, twoAddresses + "\x86\xdd`", true},
		{PseudowireEthernet, twoAddresses + "\x08\x06\x00", false}, // ARP
		{PseudowireEthernet, twoAddresses + "\x81\x00\x00\x07\x08\x00E", true},
		{PseudowireEthernet, twoAddresses + "\x88\xa8\x00\x07\x81\x00\x00\x08\x86\xdd`", true},
		{PseudowireEthernet, twoAddresses + "\x81\x00\x00\x07\x08\x06", false},
		{PseudowireEthernet, twoAddresses + "\x81\x00\x00\x07\x81\x00\x00\x07\x81\x00\x00\x07\x08\x00", false},
		{PseudowireEthernet, twoAddresses + "\x81\x00\x00\x07\x08", false},
		{PseudowireEthernet, twoAddresses + "\x08", false},
		{PseudowireVLAN, twoAddresses + "\x81\x00\x00\x07\x08\x00E", true},
		{PseudowireIP, "E", true},
		{PseudowireIP, "`", true},
		{PseudowireIP, "\x00", false},
		{PseudowireIP, "", false},
		{PseudowirePPP, "\xff\x03\x00\x21E", true},
		{PseudowirePPP, "\x00\x57`", true},
		{PseudowirePPP, "\x21E", true},
		{PseudowirePPP, "\xff\x03\xc0\x21\x01", false}, // LCP
		{PseudowirePPP, "\xff\x03\x00\xfd\x90", false}, // encrypted
		{PseudowirePPP, "\xff\x03", false},
		{PseudowireHDLC, "\x0f\x00\x08\x00E", true},
		{PseudowireHDLC, "\x8f\x00\x80\x35", false}, // keepalive
		{PseudowireHDLC, "\x0f\x00\x08", false},
		{PseudowireType(1), "\x08\x00\x08\x00", false},
	} {
		for cut := range len(c.frame) + 1 { // in one piece, and in two
			b := link.NewBatch()
			f := b.Add(cut, []byte(c.frame[cut:]), nil)
			copy(f.Head(), c.frame)
			if got := carriesIP(c.kind, f); got != c.want {
				t.Errorf("%v %x, %d octets in its head: %v", c.kind, c.frame, cut, got)
			}
			b.Free()
		}
	}
}

// "All traffic that can be classified as IP MUST be sent with no sequencing (i.e., the S bit
// in the L2-Specific Sublayer is set to zero)", if level 1 is asked for; at level 2 "all
// traffic MUST be sequenced"; at level 0 "there is no need to send packets with sequence
// numbers" (RFC 3931 §5.4.4).
func TestV3DataSequencingLevels(t *testing.T) {
	ip, arp := twoAddresses+"\x08\x00E", twoAddresses+"\x08\x06\x00"
	for level, numbers := range [][]string{ // by frame: IP, ARP, IP, ARP
		{"00000000", "00000000", "00000000", "00000000"},
		{"00000000", "40000000", "00000000", "40000001"},
		{"40000000", "40000001", "40000002", "40000003"},
	} {
		t.Run(fmt.Sprint("level ", level), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := openV3Server(t, n)
				defer server.Close()
				s := scriptedV3(t, n)
				s.tunnel(7)
				s.write(&wire.Message{Type: wire.ICRQ, AssignedSessionID: 9, CallSerialNumber: 1, V3: wire.V3{
					PseudowireType: 5, RemoteEndID: []byte("any"), CircuitStatus: 1, Sublayer: wire.SublayerDefault, DataSequencing: uint16(level)}})
				icrp := s.wantMessage(wire.ICRP)
				s.write(&wire.Message{Type: wire.ICCN, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: icrp.AssignedSessionID}})
				session, err := server.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for i, frame := range []string{ip, arp, ip, arp} {
					put(session, []byte(frame))
					if got, want := s.wantData(), "0003000000000009"+numbers[i]+fmt.Sprintf("%x", frame); got != want {
						t.Errorf("frame %d: sent %s, want %s", i, got, want)
					}
				}
			})
		})
	}
}

// RFC 5641 §2: of a pseudowire in standby "User traffic MUST NOT be transmitted", active or
// not; the N bit is ignored; and without the A bit nothing is sent, whatever the fault is.
func TestV3ExtendedCircuitStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := openV3Server(t, n)
		defer server.Close()
		s := scriptedV3(t, n)
		s.tunnel(7)
		icrp := s.call(9, 5)
		s.write(&wire.Message{Type: wire.ICCN, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: icrp.AssignedSessionID}})
		session, err := server.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		discards := uint64(0)
		for _, c := range []struct {
			status uint16
			words  string
			sends  bool
		}{
			{0x00, "inactive", false}, {0x01, "active", true}, {0x02, "inactive", false}, {0x03, "active", true},
			{0x04, "inactive, fault in receiving", false}, {0x08, "inactive, fault in sending", false},
			{0x10, "inactive, fault of the pseudowire in receiving", false}, {0x20, "inactive, fault of the pseudowire in sending", false},
			{0x40, "inactive, standby", false}, {0x41, "active, standby", false}, {0xff81, "active", true},
			{0x2c, "inactive, fault in receiving, fault in sending, fault of the pseudowire in sending", false},
		} {
			m := &wire.Message{Type: wire.SLI, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: icrp.AssignedSessionID, CircuitStatus: c.status}}
			m.Set(wire.AVPCircuitStatus)
			s.write(m)
			synctest.Wait()
			if got := session.Status().PeerCircuit; got != c.words {
				t.Errorf("%#x is %q, want %q", c.status, got, c.words)
			}
			put(session, frame("x"))
			if c.sends {
				s.wantData()
			} else {
				discards++
			}
			if got := session.Status().Traffic.CircuitDiscards; got != discards {
				t.Errorf("%#x: %d discards, want %d", c.status, got, discards)
			}
		}
	})
}

// wantData is the next data message, in hex.
func (s *script3) wantData() string {
	s.t.Helper()
	for {
		s.conn.SetReadDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 2000)
		k, _, err := s.conn.ReadFrom(b)
		if err != nil {
			s.t.Fatalf("expected a data message, found %v", err)
		}
		if b[0]&0x80 == 0 {
			return fmt.Sprintf("%x", b[:k])
		}
	}
}
