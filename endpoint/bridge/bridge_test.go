package bridge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A wire is what is at the far end of a port: it keeps what comes out, but for probes.
type wire struct {
	*Port
	mu      sync.Mutex
	frames  [][]byte
	batches []int // how many frames each had
	probes  [][]byte
}

func (w *wire) take(b *link.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for i := range b.Frames {
		f := &b.Frames[i]
		whole := f.AppendTo(nil)
		f.Push(8) // as a session does: there is room
		f.Pop(8)
		if destinationOf(whole) == probeTo {
			w.probes = append(w.probes, whole)
			continue
		}
		w.frames = append(w.frames, whole)
		n++
	}
	if n > 0 {
		w.batches = append(w.batches, n)
	}
}

// got is what has come out since the last time, by payload.
func (w *wire) got() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, f := range w.frames {
		all = append(all, string(f[headerLen:]))
	}
	w.frames, w.batches = nil, nil
	return strings.Join(all, " ")
}

func bridgeOf(t testing.TB, cfg *Config, ports ...*PortConfig) (*Bridge, []*wire) {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	var wires []*wire
	for i, cfg := range ports {
		wires = append(wires, attach(t, b, fmt.Sprint("port", i), cfg))
	}
	return b, wires
}

func attach(t testing.TB, b *Bridge, name string, cfg *PortConfig) *wire {
	t.Helper()
	w := &wire{}
	p, err := b.Attach(name, link.SinkFunc(w.take), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Port = p
	return w
}

// station is the MAC address number n.
func station(n int) mac { return 0x020000000000 + mac(n) }

func frame(dst, src mac, payload string) []byte {
	b := slices.Concat(dst.hardware(), src.hardware(), []byte{0x08, 0x00}, []byte(payload))
	return b
}

func (w *wire) send(frames ...[]byte) {
	b := link.NewBatch()
	defer b.Free()
	for _, f := range frames {
		b.Add(0, f, nil)
	}
	w.Put(b)
}

func want(t *testing.T, what string, w *wire, payloads string) {
	t.Helper()
	if got := w.got(); got != payloads {
		t.Errorf("%s: %s got %q, want %q", what, w.name, got, payloads)
	}
}

// Issue 6: "learning", "hairpin off".
func TestFramesGoWhereTheirStationIs(t *testing.T) {
	_, w := bridgeOf(t, nil, nil, nil, nil)
	a, b, c := station(1), station(2), station(3)
	w[0].send(frame(b, a, "who"))
	want(t, "unknown", w[1], "who")
	want(t, "unknown", w[2], "who")
	want(t, "unknown", w[0], "") // never back
	w[1].send(frame(a, b, "me"))
	want(t, "known", w[0], "me")
	want(t, "known", w[2], "")
	w[0].send(frame(b, a, "hello"))
	want(t, "learnt from the answer", w[1], "hello")
	want(t, "learnt from the answer", w[2], "")

	w[0].send(frame(a, c, "neighbour"))
	for _, w := range w {
		want(t, "hairpin", w, "")
	}
	if got := w[0].Counters().Filtered; got != 1 {
		t.Errorf("%d filtered, want 1", got)
	}
	w[1].send(frame(broadcast, b, "all"), frame(0x333300000001, b, "group"))
	want(t, "many", w[0], "all group")
	want(t, "many", w[1], "")
	want(t, "many", w[2], "all group")
}

// IEEE 802.1Q §8.6.3: "Frames containing any of the group MAC Addresses specified in Table 8-1 in their
// destination address field shall not be relayed by the Bridge."
func TestWhatNoBridgeForwards(t *testing.T) {
	_, w := bridgeOf(t, nil, nil, nil)
	a := station(1)
	for i := range 16 {
		w[0].send(frame(reserved+mac(i), a, "bpdu"))
	}
	w[0].send(frame(broadcast, station(2)|group, "from a group"), frame(broadcast, 0, "from nobody"), []byte("13 bytes only"), nil)
	want(t, "dropped", w[1], "")
	if c := w[0].Counters(); c.Reserved != 16 || c.Malformed != 4 || c.FramesIn != 20 {
		t.Errorf("counted %+v", c)
	}
	w[0].send(frame(reserved+16, a, "next"))
	want(t, "the address after them", w[1], "next")
	if s := w[0].bridge.Stations(); len(s) != 1 || toMAC(s[0].Address) != a {
		t.Errorf("learnt %v", s)
	}
}

// Frames for one destination stay together, so that UDP_SEGMENT still works; those of one
// port only are not even looked at again.
func TestABatchStaysTogether(t *testing.T) {
	_, w := bridgeOf(t, nil, nil, nil, nil)
	a, b, c := station(1), station(2), station(3)
	w[1].send(frame(a, b, ""))
	w[2].send(frame(a, c, ""))
	for _, w := range w {
		w.got()
	}
	w[0].send(frame(b, a, "b1"), frame(b, a, "b2"), frame(c, a, "c1"), frame(broadcast, a, "all"), frame(b, a, "b3"), frame(c, a, "c2"))
	if !slices.Equal(w[1].batches, []int{4}) || !slices.Equal(w[2].batches, []int{3}) {
		t.Errorf("came in batches of %v and %v, want one each", w[1].batches, w[2].batches)
	}
	want(t, "in order", w[1], "b1 b2 all b3")
	want(t, "in order", w[2], "c1 all c2")
	w[0].send(frame(b, a, "b1"), frame(c, a, "c1"), frame(b, a, "b2"), []byte("short"))
	if !slices.Equal(w[1].batches, []int{2}) || !slices.Equal(w[2].batches, []int{1}) {
		t.Errorf("came in batches of %v and %v, want one each", w[1].batches, w[2].batches)
	}
}

// A head may lie apart from what follows, as in what a stack sends.
func TestAHeaderInPieces(t *testing.T) {
	_, w := bridgeOf(t, nil, nil, nil)
	f := frame(broadcast, station(1), "pieces")
	batch := link.NewBatch()
	defer batch.Free()
	copy(batch.Add(10, f[10:12], f[12:]).Head(), f)
	w[0].Put(batch)
	want(t, "pieces", w[1], "pieces")
	if got := w[0].bridge.Stations(); len(got) != 1 || toMAC(got[0].Address) != station(1) {
		t.Errorf("learnt %v", got)
	}
}

func TestWhatIsTooLongForAPort(t *testing.T) {
	_, w := bridgeOf(t, nil, nil, &PortConfig{MTU: 100}, nil)
	a := station(1)
	fits, over := strings.Repeat("f", 100), strings.Repeat("o", 101)
	tagged := func(n int) []byte {
		f := frame(broadcast, a, strings.Repeat("t", 4+n))
		binary.BigEndian.PutUint16(f[12:], 0x8100)
		return f
	}
	w[0].send(frame(broadcast, a, fits), frame(broadcast, a, over), tagged(100), tagged(101))
	if got := w[1].got(); got != fits+" "+strings.Repeat("t", 104) {
		t.Errorf("got %q", got)
	}
	if c := w[1].Counters(); c.TooLong != 2 || c.FramesOut != 2 {
		t.Errorf("counted %+v", c)
	}
	if got := strings.Count(w[2].got(), " "); got != 3 {
		t.Errorf("the port without a limit got %d frames, want 4", got+1)
	}
	w[1].ChangeMTU(101)
	w[0].send(frame(broadcast, a, over))
	want(t, "a wider link", w[1], over)
	if s := w[1].Status(); s.MTU != 101 || w[2].Status().MTU != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestIsolatedPorts(t *testing.T) {
	alone := &PortConfig{Isolated: true}
	_, w := bridgeOf(t, nil, alone, alone, nil)
	a, b, c := station(1), station(2), station(3)
	w[1].send(frame(broadcast, b, "b"))
	w[2].send(frame(broadcast, c, "c"))
	want(t, "isolated", w[0], "c")
	want(t, "isolated", w[1], "c")
	want(t, "isolated", w[2], "b")
	w[0].send(frame(b, a, "to b"), frame(c, a, "to c"), frame(broadcast, a, "to all"))
	want(t, "isolated", w[1], "")
	want(t, "isolated", w[2], "to c to all")
	if got := w[0].Counters().Filtered; got != 1 {
		t.Errorf("%d filtered, want 1", got)
	}
}

// Issue 6: "ageing". IEEE 802.1Q §8.8.3: an entry is removed when the ageing time "has elapsed since the entry
// was created or last updated".
func TestAddressesAgeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := bridgeOf(t, nil, nil, nil, nil)
		defer b.Close()
		x, y := station(1), station(2)
		w[0].send(frame(broadcast, x, "x"))
		pause(200 * time.Second)
		w[0].send(frame(broadcast, x, "still"))
		pause(290 * time.Second)
		w[1].send(frame(x, y, "for x"))
		w[2].got()
		w[1].send(frame(x, y, "for x"))
		want(t, "290 s after it was heard", w[2], "")
		if s := b.Stations(); len(s) != 2 || s[0].Heard != 290*time.Second || s[0].Port != w[0].Port {
			t.Errorf("table %v", s)
		}
		pause(11 * time.Second)
		w[1].send(frame(x, y, "again"))
		want(t, "301 s after it was heard", w[2], "again")
		pause(time.Hour)
		if s := b.Stations(); len(s) != 0 {
			t.Errorf("left in the table: %v", s)
		}
		if n := w[1].learned.Load(); n != 0 || b.table.learned != 0 {
			t.Errorf("%d and %d are counted as learnt", n, b.table.learned)
		}
	})
}

// Issue 6: "flood limits".
func TestFloodsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := bridgeOf(t, nil, &PortConfig{Unknown: 10, Broadcast: 20, Multicast: 30, Learned: 1, Unlearned: 5}, &PortConfig{Broadcast: -1}, nil)
		defer b.Close()
		count := func() int { n := len(w[2].frames); w[2].got(); return n }
		blast := func(w *wire, dst, src mac) {
			for range 2000 {
				w.send(frame(dst, src, "x"))
			}
		}
		x := station(1)
		for _, c := range []struct {
			what string
			dst  mac
			most int
		}{{"unknown", station(99), 10}, {"broadcast", broadcast, 20}, {"multicast", 0x333300000001, 30}} {
			blast(w[0], c.dst, x)
			if n := count(); n != c.most {
				t.Errorf("%s: %d at once, want %d", c.what, n, c.most)
			}
			pause(time.Second / 2)
			blast(w[0], c.dst, x)
			if n := count(); n != c.most/2 {
				t.Errorf("%s: %d half a second later, want %d", c.what, n, c.most/2)
			}
		}
		w[2].send(frame(broadcast, station(3), "here"))
		blast(w[0], station(3), x)
		if n := count(); n != 2000 {
			t.Errorf("%d of 2000 for a known station", n)
		}
		blast(w[0], station(3), station(4)) // which is not learnt
		if n := count(); n != 5 {
			t.Errorf("%d of a station without room in the table, want 5", n)
		}
		blast(w[1], broadcast, station(5))
		if n := count(); n != 2000 {
			t.Errorf("%d of 2000 without a limit", n)
		}
		blast(w[1], station(99), station(5))
		if n := count(); n != defaultFlood {
			t.Errorf("%d by default, want %d", n, defaultFlood)
		}
		if l := w[0].Counters().Limited; l != (Limited{2*2000 - 15, 2*2000 - 30, 2*2000 - 45, 2000 - 5}) {
			t.Errorf("counted %+v", l)
		}
	})
}

// Issue 6: "bounded tables". Who floods the bridge with addresses has his own share, and
// the others have theirs.
func TestAFloodOfAddresses(t *testing.T) {
	b, w := bridgeOf(t, &Config{Addresses: 300}, &PortConfig{Learned: -1}, nil, nil)
	flood := func(w *wire, first, n int) {
		for i := range n {
			w.send(frame(station(1), station(first+i), ""))
		}
	}
	flood(w[1], 1, 20)
	flood(w[0], 1000, 100000)
	if s := w[0].Status(); s.Addresses != 280 {
		t.Errorf("%d addresses of who floods, want 280", s.Addresses)
	}
	flood(w[2], 200, 90) // 80 less than what is its share
	flood(w[1], 1, 100)
	flood(w[0], 500000, 1000)
	for i, want := range []int{110, 100, 90} {
		if s := w[i].Status(); s.Addresses != want {
			t.Errorf("port %d has %d addresses, want %d", i, s.Addresses, want)
		}
	}
	if c := w[0].Counters(); c.Displaced != 170 || w[1].Counters().Displaced+w[2].Counters().Displaced != 0 {
		t.Errorf("counted %+v", c)
	}
	if len(b.Stations()) != 300 {
		t.Errorf("%d addresses in all", len(b.Stations()))
	}
	w[0].Close()
	if b.table.learned != 190 || len(b.Stations()) != 190 {
		t.Errorf("%d addresses are left, want 190", b.table.learned)
	}
}

func TestAPortHasABoundOfItsOwn(t *testing.T) {
	_, w := bridgeOf(t, nil, &PortConfig{Learned: 3}, nil)
	for i := range 10 {
		w[0].send(frame(broadcast, station(i), fmt.Sprint(i)))
	}
	want(t, "not learnt, but heard", w[1], "0 1 2 3 4 5 6 7 8 9")
	if s := w[0].Status(); s.Addresses != 3 {
		t.Errorf("learnt %d", s.Addresses)
	}
}

// Where only so many stations may be, nothing of others is forwarded, and whoever asks is told
// of those that are known.
func TestAPortWithSoManyStationsOnly(t *testing.T) {
	b, w := bridgeOf(t, nil, &PortConfig{Learned: 2, LearnedOnly: true}, nil)
	for n := range 4 {
		w[0].send(frame(broadcast, station(n), fmt.Sprint(n)))
	}
	want(t, "from the first two", w[1], "0 1")
	if c := w[0].Counters(); c.Limited.Unlearned != 2 {
		t.Errorf("counted %+v", c)
	}
	for n, p := range []*Port{w[0].Port, w[0].Port, nil} {
		if got := b.PortOf(station(n).hardware()); got != p {
			t.Errorf("station %d is behind %v", n, got)
		}
	}
	if got := b.PortOf(nil); got != nil {
		t.Errorf("no address is behind %v", got.Name())
	}
	if all := w[0].Stations(); len(all) != 2 || all[0].Address.String() != station(0).hardware().String() || all[1].Port != w[0].Port || len(w[1].Stations()) != 0 {
		t.Errorf("stations %v", all)
	}
	w[1].send(frame(station(1), station(9), "back"))
	want(t, "to a known one", w[0], "back")
}

func TestStationsThatMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := bridgeOf(t, nil, nil, nil, nil)
		defer b.Close()
		x, y := station(1), station(2)
		w[0].send(frame(broadcast, x, "x"))
		w[2].send(frame(broadcast, y, "y"))
		for _, w := range w {
			w.got()
		}
		for range 10 { // it talks on, and somebody else uses its address, or it comes back
			pause(900 * time.Millisecond)
			w[0].send(frame(y, x, "x"))
			w[1].send(frame(y, x, "forged"), frame(broadcast, x, "forged"))
		}
		want(t, "who talks", w[2], strings.TrimSpace(strings.Repeat("x ", 10)))
		w[2].send(frame(x, y, "for x"))
		want(t, "who talks", w[0], "for x")
		if c := w[1].Counters(); c.Elsewhere != 20 || c.Moved != 0 {
			t.Errorf("counted %+v", c)
		}
		pause(1100 * time.Millisecond)
		w[1].send(frame(y, x, "moved"))
		want(t, "moved", w[2], "moved")
		w[2].send(frame(x, y, "for x"))
		want(t, "moved", w[1], "for x")
		want(t, "moved", w[0], "")
		if c := w[1].Counters(); c.Moved != 1 || w[0].learned.Load() != 0 || w[1].learned.Load() != 1 || len(w[0].entries) != 0 {
			t.Errorf("counted %+v", c)
		}
	})
}

// A router has one address in all its VLANs, which may be behind different ports.
func TestAddressesInVLANs(t *testing.T) {
	b, w := bridgeOf(t, nil, nil, nil, nil)
	tagged := func(dst, src mac, tpid uint16, tag uint16, payload string) []byte {
		f := frame(dst, src, "")
		binary.BigEndian.PutUint16(f[12:], tpid)
		return append(binary.BigEndian.AppendUint16(f, tag), payload...)
	}
	x, router := station(1), station(2)
	w[1].send(tagged(broadcast, router, typeTag, 0xe007, "seven")) // with a priority
	w[2].send(tagged(broadcast, router, typeServiceTag, 8, "eight"), frame(broadcast, router, "none"))
	for _, w := range w {
		w.got()
	}
	w[0].send(tagged(router, x, typeTag, 7, "7"), tagged(router, x, typeTag, 8, "8"), frame(router, x, "0"), tagged(router, x, typeTag, 9, "9"))
	strip := func(w *wire) string { return strings.ReplaceAll(strings.ReplaceAll(w.got(), "\x00", ""), "\t", "") }
	if a, b := strip(w[1]), strip(w[2]); a != "\a7 9" || b != "\b8 0 9" {
		t.Errorf("the ports got %q and %q", a, b)
	}
	if n := len(b.Stations()); n != 7 || b.Stations()[0].VLAN != 0 || b.Stations()[3].VLAN != 9 {
		t.Errorf("stations %v", b.Stations())
	}
	w[0].send(tagged(broadcast, x, typeTag, 0, "")[:headerLen], tagged(broadcast, x, typeTag, 0, "")[:headerLen+1])
	if c := w[0].Counters(); c.Malformed+c.Elsewhere != 0 {
		t.Errorf("counted %+v", c)
	}
}

func TestFixedAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gateway := station(1).hardware()
		b, w := bridgeOf(t, nil, nil)
		defer b.Close()
		w[0].send(frame(broadcast, station(1), "first"))
		w = append(w, attach(t, b, "gateway", &PortConfig{Addresses: []net.HardwareAddr{gateway}}), attach(t, b, "other", nil))
		pause(time.Hour)
		w[0].send(frame(broadcast, station(1), "forged"))
		want(t, "forged", w[2], "")
		w[2].send(frame(station(1), station(2), "hello"))
		want(t, "for the gateway", w[1], "hello")
		want(t, "for the gateway", w[0], "")
		if c := w[0].Counters(); c.Elsewhere != 1 {
			t.Errorf("counted %+v", c)
		}
		for _, c := range []struct {
			a    net.HardwareAddr
			want string
		}{{gateway, `is fixed for port "gateway"`}, {net.HardwareAddr{1, 2, 3, 4, 5, 6}, "of a station"}, {gateway[:4], "of a station"}} {
			if _, err := b.Attach("x", link.SinkFunc(func(*link.Batch) {}), &PortConfig{Addresses: []net.HardwareAddr{c.a}}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v", c.a, err)
			}
		}
	})
}

func TestPortsThatAreClosed(t *testing.T) {
	b, w := bridgeOf(t, nil, nil, nil, nil)
	x, y := station(1), station(2)
	w[0].send(frame(broadcast, x, "x"))
	w[1].send(frame(broadcast, y, "y"))
	for _, w := range w {
		w.got()
	}
	w[0].Close()
	w[0].Close()
	w[1].send(frame(x, y, "for x"))
	want(t, "closed", w[0], "")
	want(t, "forgotten", w[2], "for x")
	w[0].send(frame(broadcast, x, "late"), frame(y, x, "late"))
	want(t, "late", w[1], "")
	if c := w[0].Counters(); c.Late != 2 {
		t.Errorf("counted %+v", c)
	}
	b.Close()
	if _, err := b.Attach("x", nil, nil); err == nil {
		t.Error("a closed bridge takes ports")
	}
	if len(b.Ports()) != 0 {
		t.Error("ports are left")
	}
}

// Who was behind a link that is down is looked for everywhere, and may be found elsewhere at
// once.
func TestALinkThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := bridgeOf(t, nil, nil, &PortConfig{Addresses: []net.HardwareAddr{station(9).hardware()}}, nil)
		x, y := station(1), station(2)
		down, err := b.Attach("down", nil, nil)
		if err != nil || !down.Status().Down || w[0].Status().Down {
			t.Errorf("without a link: %v, %+v", err, down.Status())
		}
		w[0].send(frame(broadcast, x, "x"))
		w[1].send(frame(broadcast, y, "y"))
		for _, w := range w {
			w.got()
		}
		w[1].SetLink(nil)
		if st := w[1].Status(); !st.Down || st.Addresses != 1 || len(b.Stations()) != 2 {
			t.Errorf("a link that is down: %+v, stations %+v", st, b.Stations())
		}
		before := w[1].Counters().FramesOut
		w[0].send(frame(y, x, "for y"))
		want(t, "looked for", w[2], "for y")
		w[1].send(frame(x, y, "late"))
		want(t, "from a link that is down", w[0], "")
		w[2].send(frame(x, y, "here"))
		want(t, "found elsewhere", w[0], "here")
		w[1].mu.Lock()
		w[1].probes = nil
		w[1].mu.Unlock()
		pause(5 * time.Second)
		if c := w[1].Counters(); c.Down != 2 || c.FramesOut != before || len(w[1].probes) != 0 {
			t.Errorf("counted %+v, %d probes", c, len(w[1].probes))
		}
		again := &wire{}
		w[1].SetLink(link.SinkFunc(again.take))
		w[0].send(frame(broadcast, x, "again"))
		if got := again.got(); got != "again" {
			t.Errorf("with a link again it got %q", got)
		}
		want(t, "the link before", w[1], "")
		w[1].send(frame(x, y, "moved back"))
		want(t, "and back", w[0], "moved back")
		pause(2 * time.Second)
		if len(again.probes) == 0 {
			t.Error("no probe goes out of a link that is up again")
		}
	})
}

func TestMACAddresses(t *testing.T) {
	a := net.HardwareAddr{0x02, 0x34, 0x56, 0x78, 0x9a, 0xbc}
	if m := toMAC(a); m != 0x023456789abc || !bytes.Equal(m.hardware(), a) || m.isGroup() || !m.isStation() {
		t.Errorf("%v is %x", a, m)
	}
	f := frame(0x010203040506, 0x0708090a0b0c, "")
	if destinationOf(f) != 0x010203040506 || sourceOf(f) != 0x0708090a0b0c || etherTypeOf(f) != 0x0800 {
		t.Errorf("header % x", f)
	}
}

// pause lets time pass in a bubble, and what happens meanwhile come to its end.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
