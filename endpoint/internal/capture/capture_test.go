package capture

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// The figures are tshark's.
func TestLoad(t *testing.T) {
	datagrams := map[string]int{
		"qemu-lns-uml-lac-mschapv2": 80,
		"uml-lns-qemu-lac-chap":     44,
		"uml-v2-hidden-challenge":   48,
		"uml-v2-mschapv2":           44,
		"uml-v2-mschapv2-mppe128":   52,
		"uml-v2-pap":                47,
		"uml-xl2tpd-lac-lns-chap":   52,
	}
	names := Names()
	if len(names) != len(datagrams) {
		t.Errorf("captures: %v", names)
	}
	lac, lns := netip.MustParseAddrPort("10.99.0.3:1701"), netip.MustParseAddrPort("10.99.0.2:1701")
	for _, name := range names {
		packets := Load(t, name)
		if len(packets) != datagrams[name] {
			t.Errorf("%s: %d datagrams, tshark sees %d", name, len(packets), datagrams[name])
		}
		for i, p := range packets {
			if !(p.Src == lac && p.Dst == lns) && !(p.Src == lns && p.Dst == lac) {
				t.Errorf("%s, datagram %d: from %v to %v", name, i+1, p.Src, p.Dst)
			}
			if i > 0 && p.Time.Before(packets[i-1].Time) {
				t.Errorf("%s, datagram %d: recorded at %v, the one before at %v", name, i+1, p.Time, packets[i-1].Time)
			}
		}
	}

	// The ZLB that answers SCCCN: after its 12 octets comes nothing, however
	// the Ethernet frame was padded.
	zlb := Load(t, "uml-v2-pap")[3]
	if got := hex.EncodeToString(zlb.Payload); got != "c802000cc259000000010002" {
		t.Errorf("the ZLB after SCCCN is %s", got)
	}
	if got := zlb.Time.Format("2006-01-02 15:04:05.000000"); got != "2026-11-22 07:28:43.910980" {
		t.Errorf("the ZLB after SCCCN was recorded at %s", got)
	}
}

func TestReadRefusesWhatItDoesNotKnow(t *testing.T) {
	file, err := files.ReadFile("testdata/uml-v2-pap.pcap")
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string][]byte{
		"empty":        {},
		"pcapng":       {0x0a, 0x0d, 0x0d, 0x0a, 0x6c, 0, 0, 0},
		"cut header":   file[:fileHeader+3],
		"cut packet":   file[:len(file)-1],
		"another link": append(append([]byte(nil), file[:20]...), 113, 0, 0, 0),
	} {
		if packets, err := read(broken); err == nil {
			t.Errorf("%s: %d packets and no error", name, len(packets))
		}
	}
}

// The figures are tshark's.
func TestLoadV3(t *testing.T) {
	packets := make(map[string]int)
	ways := V3()
	for _, w := range ways {
		packets[w.Capture] += w.Packets
	}
	names, err := files.ReadDir("testdata/v3")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(packets) || len(ways) != 2*len(names) {
		t.Errorf("%d files, %d captures, %d ways", len(names), len(packets), len(ways))
	}
	for name, want := range packets {
		if got := Load(t, name); len(got) != want {
			t.Errorf("%s: %d packets, tshark sees %d", name, len(got), want)
		}
	}
	for _, w := range ways {
		n := 0
		for i, p := range Load(t, w.Capture) {
			if p.Src.Addr() == w.Src && p.Dst.Addr() == w.Dst {
				n++
			}
			if (p.Src.Port() == 0) != w.IP || len(p.Payload) == 0 {
				t.Errorf("%s, packet %d: from %v, %d octets", w.Capture, i+1, p.Src, len(p.Payload))
			}
		}
		if n != w.Packets {
			t.Errorf("%s: %d packets from %v, tshark sees %d", w.Capture, n, w.Src, w.Packets)
		}
	}

	// The first that is cut, of 1472 octets with Ethernet, IPv4 and UDP, to 200.
	p := Load(t, "v3/uml-v3-cookie64-none")[14]
	if len(p.Payload) != 200-42 || p.Missing != 1472-200 {
		t.Errorf("of packet 15 there are %d octets, %d are missing", len(p.Payload), p.Missing)
	}
}
