package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

// RFC 2661 §3.1.
func TestParseHeader(t *testing.T) {
	for _, row := range []struct {
		name    string
		bytes   []string
		header  Header
		payload string
	}{
		{"data of Linux and xl2tpd: nothing optional",
			[]string{"0002", "1234 5678", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, "ff03c021"},
		{"data with Length, as xl2tpd's length bit asks for",
			[]string{"4002", "000c", "1234 5678", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, "ff03c021"},
		{"data with Length and padding after it",
			[]string{"4002", "000c", "1234 5678", "ff03c021", "0000000000"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, "ff03c021"},
		{"data with Length and nothing else",
			[]string{"4002", "0008", "1234 5678"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, ""},
		{"data of SoftEther: an offset of zero",
			[]string{"0202", "1234 5678", "0000", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, "ff03c021"},
		{"data with an odd offset",
			[]string{"0202", "1234 5678", "0003", "eeeeee", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, "ff03c021"},
		{"data whose offset takes all of it",
			[]string{"0202", "1234 5678", "0003", "eeeeee"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, ""},
		{"data with sequence numbers",
			[]string{"0802", "1234 5678", "0007 ffff", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678, HasNs: true, Ns: 7, Nr: 0xffff}, "ff03c021"},
		{"data with sequence numbers and an offset",
			[]string{"0a02", "1234 5678", "0007 0000", "0001", "ee", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678, HasNs: true, Ns: 7}, "ff03c021"},
		{"data with Length and an offset",
			[]string{"4202", "000f", "1234 5678", "0001", "ee", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, "ff03c021"},
		{"data with Length and sequence numbers",
			[]string{"4802", "0010", "1234 5678", "0007 0009", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678, HasNs: true, Ns: 7, Nr: 9}, "ff03c021"},
		{"data with everything, padded",
			[]string{"4a02", "0014", "1234 5678", "0007 0009", "0002", "eeee", "ff03c021", "00"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678, HasNs: true, Ns: 7, Nr: 9}, "ff03c021"},
		{"data with reserved bits and Priority, which are ignored",
			[]string{"35f2", "1234 5678", "ff03c021"},
			Header{Version: 2, TunnelID: 0x1234, SessionID: 0x5678}, "ff03c021"},
		{"data that looks like AVPs is data: only the T bit tells",
			[]string{"0002", "0001 0002", "8008 0000 0000 0001"},
			Header{Version: 2, TunnelID: 1, SessionID: 2}, "8008000000000001"},
		{"control",
			[]string{"c802", "0014", "1234 0000", "0001 0002", "8008 0000 0000 0006"},
			Header{Version: 2, Control: true, TunnelID: 0x1234, HasNs: true, Ns: 1, Nr: 2}, "8008000000000006"},
		{"control with padding after Length",
			[]string{"c802", "0014", "1234 0000", "0001 0002", "8008 0000 0000 0006", "0000"},
			Header{Version: 2, Control: true, TunnelID: 0x1234, HasNs: true, Ns: 1, Nr: 2}, "8008000000000006"},
		{"control with reserved bits and Priority, which are ignored",
			[]string{"fdf2", "0014", "1234 0000", "0001 0002", "8008 0000 0000 0006"},
			Header{Version: 2, Control: true, TunnelID: 0x1234, HasNs: true, Ns: 1, Nr: 2}, "8008000000000006"},
		{"a ZLB",
			[]string{"c802", "000c", "1234 5678", "0001 0002"},
			Header{Version: 2, Control: true, TunnelID: 0x1234, SessionID: 0x5678, HasNs: true, Ns: 1, Nr: 2}, ""},
	} {
		h, payload, err := ParseHeader(unhex(t, row.bytes...))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if h != row.header {
			t.Errorf("%s:\n got %+v\nwant %+v", row.name, h, row.header)
		}
		if got := hex.EncodeToString(payload); got != row.payload {
			t.Errorf("%s: payload %s, want %s", row.name, got, row.payload)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	type row struct {
		name  string
		bytes []string
		err   error
	}
	rows := []row{
		{"nothing", nil, ErrShort},
		{"one octet", []string{"c8"}, ErrShort},
		{"flags alone", []string{"0002"}, ErrShort},
		{"data cut in its Session ID", []string{"0002", "1234 56"}, ErrShort},
		{"data cut in its Length", []string{"4002", "00"}, ErrShort},
		{"data cut in its Nr", []string{"0802", "1234 5678", "0001 00"}, ErrShort},
		{"data cut in its Offset Size", []string{"0202", "1234 5678", "00"}, ErrShort},
		{"data with an offset beyond the end", []string{"0202", "1234 5678", "0005", "ff03c021"}, ErrOffsetSize},
		{"data with an offset beyond its Length", []string{"4202", "000a", "1234 5678", "0001", "ee"}, ErrOffsetSize},
		{"data with the largest offset", []string{"0202", "1234 5678", "ffff", "ff03c021"}, ErrOffsetSize},
		{"data with a Length larger than the datagram", []string{"4002", "000d", "1234 5678", "ff03c021"}, ErrLength},
		{"data with a Length smaller than its header", []string{"4002", "0007", "1234 5678", "ff03c021"}, ErrLength},
		{"data with a Length that leaves out its Offset Size", []string{"4202", "0008", "1234 5678", "0000", "ff"}, ErrLength},
		{"control, seven octets: 80 02 00 00 00 00 00", []string{"80020000000000"}, ErrControl},
		{"control without Length", []string{"8802", "1234 0000", "0001 0002", "8008 0000 0000 0006"}, ErrControl},
		{"control without sequence numbers", []string{"c002", "0010", "1234 0000", "8008 0000 0000 0006"}, ErrControl},
		{"control with an offset", []string{"ca02", "0016", "1234 0000", "0001 0002", "0000", "8008 0000 0000 0006"}, ErrControl},
		{"control shorter than its header", []string{"c802", "000b", "1234 0000", "0001 00"}, ErrShort},
		{"control with a Length of 0", []string{"c802", "0000", "1234 0000", "0001 0002"}, ErrLength},
		{"control with a Length smaller than its header", []string{"c802", "000b", "1234 0000", "0001 0002"}, ErrLength},
		{"control with a Length larger than the datagram", []string{"c802", "000d", "1234 0000", "0001 0002"}, ErrLength},
	}
	// "Packets received with an unknown Ver field MUST be discarded." (RFC 2661
	// §3.1) The version comes before all else: a header of another version may
	// break all the rules of this one.
	for version := range byte(16) {
		if version != 2 {
			digit := hex.EncodeToString([]byte{version})
			rows = append(rows,
				row{"data of version " + digit, []string{"00" + digit, "1234 5678", "ff03c021"}, ErrVersion},
				row{"control of version " + digit + " that is none in version 2", []string{"ca" + digit}, ErrVersion})
		}
	}
	for _, row := range rows {
		_, payload, err := ParseHeader(unhex(t, row.bytes...))
		if !errors.Is(err, row.err) || payload != nil {
			t.Errorf("%s: payload %x, error %v, want %v", row.name, payload, err, row.err)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, row := range []struct {
		bytes   string
		version uint8
		ok      bool
	}{
		{"", 0, false}, {"c8", 0, false},
		{"c802", 2, true}, {"c803", 3, true}, {"0003", 3, true}, {"00f1", 1, true},
	} {
		if version, ok := Version(unhex(t, row.bytes)); version != row.version || ok != row.ok {
			t.Errorf("Version(%s) = %d, %v", row.bytes, version, ok)
		}
	}
}

func TestControlHeader(t *testing.T) {
	packet := AppendControlHeader([]byte{}, 0x1234, 0x5678, 0xfffe, 3)
	if want := unhex(t, "c802", "000c", "1234 5678", "fffe 0003"); !bytes.Equal(packet, want) {
		t.Errorf("a ZLB is\n%x, want\n%x", packet, want)
	}
	packet = append(packet, unhex(t, "8008 0000 0000 0006")...)
	SetLength(packet)
	SetSequence(packet, 0xffff, 0x0100)
	if want := unhex(t, "c802", "0014", "1234 5678", "ffff 0100", "8008 0000 0000 0006"); !bytes.Equal(packet, want) {
		t.Errorf("a HELLO is\n%x, want\n%x", packet, want)
	}
}

func TestDataHeader(t *testing.T) {
	b := bytes.Repeat([]byte{0xee}, DataHeaderLen+2)
	PutDataHeader(b, 0x1234, 0x5678)
	if want := unhex(t, "0002", "1234 5678", "eeee"); !bytes.Equal(b, want) {
		t.Errorf("got %x, want %x", b, want)
	}
}

// What a peer can send costs no memory before anybody has looked at it.
func TestHeadersDoNotAllocate(t *testing.T) {
	data := unhex(t, "4a02", "0014", "1234 5678", "0007 0009", "0002", "eeee", "ff03c021")
	control := unhex(t, "c802", "000c", "1234 5678", "0001 0002")
	broken := unhex(t, "c802", "000b", "1234 5678", "0001 0002")
	out := make([]byte, DataHeaderLen)
	for name, f := range map[string]func(){
		"ParseHeader of data":             func() { _, _, _ = ParseHeader(data) },
		"ParseHeader of control":          func() { _, _, _ = ParseHeader(control) },
		"ParseHeader of something broken": func() { _, _, _ = ParseHeader(broken) },
		"PutDataHeader":                   func() { PutDataHeader(out, 0x1234, 0x5678) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What is parsed is the datagram: its fields, written again at their places,
// are the same, and the payload is a piece of it up to Length.
func FuzzHeader(f *testing.F) {
	for _, seed := range [][]string{
		{"0002", "1234 5678", "ff03c021"},
		{"4a02", "0014", "1234 5678", "0007 0009", "0002", "eeee", "ff03c021", "00"},
		{"0202", "1234 5678", "0005", "ff03c021"},
		{"c802", "0014", "1234 0000", "0001 0002", "8008 0000 0000 0006", "0000"},
		{"80020000000000"},
		{"c803", "000c", "00000000", "0001 0002"},
	} {
		f.Add(unhex(f, seed...))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		before := slices.Clone(datagram)
		h, payload, err := ParseHeader(datagram)
		if !bytes.Equal(datagram, before) {
			t.Fatal("the datagram was changed")
		}
		if err != nil {
			if payload != nil {
				t.Fatalf("payload %x beside the error %v", payload, err)
			}
			return
		}
		if v, ok := Version(datagram); !ok || v != 2 || h.Version != 2 {
			t.Fatalf("version %d accepted, the header says %d", v, h.Version)
		}
		if h.TunnelID > 0xffff || h.SessionID > 0xffff {
			t.Fatalf("identifiers wider than 16 bits: %+v", h)
		}
		if !bytes.Contains(datagram, payload) {
			t.Fatalf("the payload %x is no part of the datagram %x", payload, datagram)
		}
		switch {
		case h.Control:
			again := append(AppendControlHeader(nil, h.TunnelID, h.SessionID, h.Ns, h.Nr), payload...)
			SetLength(again)
			if !bytes.Equal(again[2:], datagram[2:len(again)]) {
				t.Fatalf("control message %x is, written again, %x", datagram, again)
			}
		case datagram[0]&0xca == 0:
			again := append(make([]byte, DataHeaderLen), payload...)
			PutDataHeader(again, h.TunnelID, h.SessionID)
			if !bytes.Equal(again[2:], datagram[2:]) {
				t.Fatalf("data message %x is, written again, %x", datagram, again)
			}
		}
	})
}
