package pcapng

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// unhex is bytes of hexadecimal digits, spaced as one likes.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// A record is a Packet that keeps.
type record struct {
	at        time.Time
	link      LinkType
	name, app string
	direction Direction
	data      string
	length    int
}

// all reads a capture to its end.
func all(r io.Reader) (records []record, err error) {
	d, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	for {
		p, err := d.Next()
		if err != nil {
			return records, err
		}
		records = append(records, record{p.Time.UTC(), p.Interface.Link, p.Interface.Name, p.Interface.Application, p.Direction, string(p.Data), p.Length})
	}
}

var noon = time.Date(2024, 5, 17, 12, 0, 0, 123456789, time.UTC)

func TestWhatIsWritten(t *testing.T) {
	b := AppendSection(nil, "l2tpnet")
	b = AppendInterface(b, LinkRaw, "inner")
	b = AppendPacket(b, 0, time.Unix(0, 0x0102030405060708), Outbound, []byte{1, 2}, []byte{3, 4, 5})
	b = AppendStatistics(b, 0, time.Unix(0, 0x0102030405060709), 7, 6)
	want := unhex(`
		0a0d0d0a 2c000000 4d3c2b1a 0100 0000 ffffffffffffffff  0400 0700 6c3274706e657400  0000 0000  2c000000
		01000000 2c000000 6500 0000 00000000  0200 0500 696e6e6572000000  0900 0100 09000000  0000 0000  2c000000
		06000000 34000000 00000000 04030201 08070605 05000000 05000000 0102030405000000  0200 0400 02000000  0000 0000  34000000
		05000000 40000000 00000000 04030201 09070605
			0300 0800 0403020109070605  0400 0800 0700000000000000  0500 0800 0600000000000000  0000 0000  40000000`)
	if !bytes.Equal(b, want) {
		t.Errorf("written\n%x\nwant\n%x", b, want)
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		links := rapid.SliceOfN(rapid.SampledFrom([]LinkType{LinkRaw, LinkEthernet, LinkSLL2}), 1, 4).Draw(t, "links")
		file := AppendSection(nil, "l2tpnet")
		for i, l := range links {
			file = AppendInterface(file, l, fmt.Sprint("interface ", i))
		}
		var want []record
		for range rapid.IntRange(0, 5).Draw(t, "packets") {
			n := rapid.IntRange(0, len(links)-1).Draw(t, "interface")
			at := time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "time")).UTC()
			d := rapid.SampledFrom([]Direction{Unknown, Inbound, Outbound}).Draw(t, "direction")
			piece := rapid.SliceOfN(rapid.Byte(), 0, 30)
			head, tail := piece.Draw(t, "headers"), piece.Draw(t, "payload")
			file = AppendPacket(file, n, at, d, head, tail)
			want = append(want, record{at, links[n], fmt.Sprint("interface ", n), "l2tpnet", d, string(head) + string(tail), len(head) + len(tail)})
		}
		for i := range links {
			file = AppendStatistics(file, i, noon, 1, 0)
		}
		got, err := all(iotest.OneByteReader(bytes.NewReader(file)))
		if err != io.EOF || !slices.Equal(got, want) {
			t.Fatalf("read %v and %v, want %v", got, err, want)
		}
	})
}

// The same packet in every flavour that is about.
func TestFlavours(t *testing.T) {
	const idb = "01000000 14000000 0100 0000 00000000 14000000" // Ethernet, microseconds
	const shb = "0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000"
	micro := noon.Truncate(time.Microsecond)
	for _, c := range []struct {
		name, file string
		want       record
	}{
		{"pcap, little-endian", "d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000  c0464766 40e20100 02000000 03000000 abcd",
			record{at: micro, link: LinkEthernet, data: "\xab\xcd", length: 3}},
		{"pcap, big-endian", "a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000065  664746c0 0001e240 00000002 00000002 abcd",
			record{at: micro, link: LinkRaw, data: "\xab\xcd", length: 2}},
		{"pcap, nanoseconds", "4d3cb2a1 0200 0400 00000000 00000000 ffff0000 14010000  c0464766 15cd5b07 02000000 02000000 abcd",
			record{at: noon, link: LinkSLL2, data: "\xab\xcd", length: 2}},
		{"pcap, frame check sequences announced", "d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000024  c0464766 40e20100 00000000 00000000",
			record{at: micro, link: LinkEthernet}},
		{"pcap, OpenBSD's raw IP", "d4c3b2a1 0200 0400 00000000 00000000 ffff0000 0e000000  c0464766 40e20100 00000000 00000000",
			record{at: micro, link: LinkRaw}},
		{"pcapng", shb + idb + "06000000 24000000 00000000 a5180600 40f2a8b1 02000000 02000000 abcd0000 24000000",
			record{at: time.UnixMicro(0x618a5_b1a8f240).UTC(), link: LinkEthernet, data: "\xab\xcd", length: 2}},
		{"pcapng, big-endian", "0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c" +
			"00000001 00000014 0065 0000 00000000 00000014" +
			"00000006 00000030 00000000 000618a5 b1a8f240 00000002 00000009 abcd0000 0002 0004 00000001 00000000 00000030",
			record{at: time.UnixMicro(0x618a5_b1a8f240).UTC(), link: LinkRaw, direction: Inbound, data: "\xab\xcd", length: 9}},
		{"pcapng, binary fractions and an offset", shb + "01000000 2c000000 0100 0000 00000000 0900 0100 81000000 0e00 0800 0a00000000000000 0000 0000 2c000000" +
			"06000000 20000000 00000000 00000000 03000000 00000000 00000000 20000000",
			record{at: time.Unix(11, 5e8).UTC(), link: LinkEthernet}},
		{"pcapng, a resolution that nobody has", shb + "01000000 20000000 0100 0000 00000000 0900 0100 ff000000 0000 0000 20000000" +
			"06000000 20000000 00000000 00000000 03000000 00000000 00000000 20000000",
			record{link: LinkEthernet}},
		{"pcapng, a simple packet block", shb + "01000000 14000000 0100 0000 02000000 14000000" + "03000000 14000000 05000000 abcd0000 14000000",
			record{link: LinkEthernet, data: "\xab\xcd", length: 5}},
		{"pcapng, an obsolete packet block", shb + idb + "02000000 24000000 0000 ffff a5180600 40f2a8b1 02000000 02000000 abcd0000 24000000",
			record{at: time.UnixMicro(0x618a5_b1a8f240).UTC(), link: LinkEthernet, data: "\xab\xcd", length: 2}},
		{"pcapng, blocks that nobody knows", shb + "ad0b0000 10000000 01020304 10000000" + idb + "0a000000 0c000000 0c000000" +
			"03000000 10000000 00000000 10000000",
			record{link: LinkEthernet}},
		{"pcapng, a second section", shb + idb + shb + "01000000 14000000 6500 0000 00000000 14000000" + "03000000 10000000 00000000 10000000",
			record{link: LinkRaw}},
		{"pcapng, options that end in the middle of one", shb + "01000000 1c000000 0100 0000 00000000 0200 ff00 65746830 1c000000" + "03000000 10000000 00000000 10000000",
			record{link: LinkEthernet}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := all(bytes.NewReader(unhex(c.file)))
			if err != io.EOF || len(got) != 1 || got[0] != c.want {
				t.Errorf("read %+v and %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestBrokenCaptures(t *testing.T) {
	const shb = "0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000"
	const idb = "01000000 14000000 0100 0000 00000000 14000000"
	const pcap = "d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000"
	broken := errors.New("a FormatError")
	for _, c := range []struct {
		name, file string
		want       error
	}{
		{"nothing", "", ErrFormat},
		{"a text", "23212f62 696e2f73 680a", ErrFormat},
		{"three octets", "0a0d0d", ErrFormat},
		{"half a pcap header", "d4c3b2a1 0200 0400 00000000", ErrFormat},
		{"half a section header", "0a0d0d0a 1c000000 4d3c2b1a", ErrFormat},
		{"a section header of another order of bytes", "0a0d0d0a 1c000000 3c4d1a2b 0100 0000 ffffffffffffffff 1c000000", ErrFormat},
		{"a section header of 16 octets", "0a0d0d0a 10000000 4d3c2b1a 10000000", ErrFormat},
		{"pcapng version 2", "0a0d0d0a 1c000000 4d3c2b1a 0200 0000 ffffffffffffffff 1c000000", ErrFormat},
		{"no packets", pcap, io.EOF},
		{"half a packet's header", pcap + "c0464766 40e2", io.ErrUnexpectedEOF},
		{"a header without its packet", pcap + "c0464766 40e20100 02000000 02000000", io.ErrUnexpectedEOF},
		{"half a packet", pcap + "c0464766 40e20100 02000000 02000000 ab", io.ErrUnexpectedEOF},
		{"a packet of 4 GiB", pcap + "c0464766 40e20100 ffffffff ffffffff", broken},
		{"half a block", shb + "06000000 24000000 0000", io.ErrUnexpectedEOF},
		{"a block's type alone", shb + "06000000", io.ErrUnexpectedEOF},
		{"a second section that ends", shb + "0a0d0d0a 1c000000", io.ErrUnexpectedEOF},
		{"a block of 4 octets", shb + "06000000 04000000", broken},
		{"a block of 13 octets", shb + "0a000000 0d000000 00000000", broken},
		{"a block of 2 GiB", shb + "0a000000 00000080 00000000", broken},
		{"two lengths", shb + "0a000000 0c000000 10000000", broken},
		{"half an interface", shb + "01000000 10000000 0100 0000 10000000", broken},
		{"a packet of no interface", shb + "06000000 20000000 00000000 00000000 03000000 00000000 00000000 20000000", broken},
		{"a simple packet of no interface", shb + "03000000 10000000 00000000 10000000", broken},
		{"a packet of the second of one interface", shb + idb + "06000000 20000000 01000000 00000000 03000000 00000000 00000000 20000000", broken},
		{"a packet longer than its block", shb + idb + "06000000 20000000 00000000 00000000 03000000 01000000 01000000 20000000", broken},
		{"a simple packet longer than its block", shb + idb + "03000000 10000000 01000000 10000000", broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := all(bytes.NewReader(unhex(c.file)))
			if len(got) != 0 {
				t.Errorf("read %v", got)
			}
			if c.want == broken {
				if !errors.As(err, new(*FormatError)) {
					t.Errorf("error %v, want a FormatError", err)
				}
			} else if err != c.want {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestAClaimCostsNoMemory(t *testing.T) {
	// A packet that claims 16 MiB and has none.
	file := unhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000  c0464766 40e20100 00000001 00000001")
	d, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if cap(d.buf) > 1<<20 {
		t.Errorf("%d octets of memory for a packet of none", cap(d.buf))
	}
}

func TestAnErrorOfTheReaderBelowIsPassedOn(t *testing.T) {
	if _, err := NewReader(iotest.ErrReader(os.ErrPermission)); err != os.ErrPermission {
		t.Errorf("error %v, want os.ErrPermission", err)
	}
	file := AppendSection(nil, "")
	if _, err := all(io.MultiReader(bytes.NewReader(file), iotest.ErrReader(os.ErrPermission))); err != os.ErrPermission {
		t.Errorf("error %v, want os.ErrPermission", err)
	}
}

// editcap, which knows all formats, is the judge of how we read them.
func TestFormatsOfEditcap(t *testing.T) {
	editcap, err := exec.LookPath("editcap")
	if err != nil {
		t.Skipf("SKIPPED: %s; missing: editcap, install with: apt-get install tshark", t.Name())
	}
	const name = "../capture/testdata/uml-v2-pap.pcap"
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := all(bytes.NewReader(file))
	if err != io.EOF || len(want) != 47 {
		t.Fatalf("%d packets and %v", len(want), err)
	}
	for _, format := range []string{"pcap", "nsecpcap", "pcapng"} {
		converted := filepath.Join(t.TempDir(), format)
		if out, err := exec.Command(editcap, "-F", format, name, converted).CombinedOutput(); err != nil {
			t.Fatalf("editcap: %v: %s", err, out)
		}
		f, err := os.Open(converted)
		if err != nil {
			t.Fatal(err)
		}
		got, err := all(f)
		f.Close()
		for i := range got {
			got[i].name, got[i].app = "", "" // editcap tells its own
		}
		if err != io.EOF || !slices.Equal(got, want) {
			t.Errorf("%s: %d packets and %v, not the same as before", format, len(got), err)
		}
	}
}

// Whatever is read, it does not panic, and it comes to an end.
func FuzzReader(f *testing.F) {
	for _, name := range []string{"uml-v2-pap", "uml-v2-mschapv2-mppe128"} {
		b, err := os.ReadFile("../capture/testdata/" + name + ".pcap")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:1000])
	}
	b := AppendInterface(AppendSection(nil, "l2tpnet"), LinkRaw, "outer")
	b = AppendPacket(b, 0, noon, Inbound, []byte("headers"), []byte("and payload"))
	f.Add(AppendStatistics(b, 0, noon, 1, 0))
	f.Add(binary.LittleEndian.AppendUint32(b, blockSection))
	f.Fuzz(func(t *testing.T, file []byte) {
		records, err := all(bytes.NewReader(file))
		if err == nil {
			t.Error("an end without an error")
		}
		total := 0
		for _, r := range records {
			total += len(r.data)
			if r.length < len(r.data) {
				t.Errorf("%d octets of a packet of %d", len(r.data), r.length)
			}
		}
		if total > len(file) {
			t.Errorf("%d octets out of a file of %d", total, len(file))
		}
	})
}
