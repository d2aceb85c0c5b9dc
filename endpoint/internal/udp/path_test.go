package udp

import (
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

func TestWhatAPathHasLearntIsForgotten(t *testing.T) {
	// RFC 8201 §4: "An attempt to detect an increase (by sending a packet larger than
	// the current estimate) must not be done less than 5 minutes after a Packet Too
	// Big message has been received for the given path. The recommended setting for
	// this timer is twice its minimum value (10 minutes)."
	synctest.Test(t, func(t *testing.T) {
		p := &Path{Peer: netip.MustParseAddrPort("192.0.2.1:1701")}
		expect := func(when string, max, segment int) {
			t.Helper()
			if got := p.MaxDatagram(); got != max {
				t.Errorf("%s: MaxDatagram is %d, want %d", when, got, max)
			}
			if got := p.segmentMax(); got != segment {
				t.Errorf("%s: datagrams of up to %d bytes share a message, want %d", when, got, segment)
			}
		}
		expect("at first", 0, DatagramMax)
		p.tooLong(1473, 1478)
		expect("too long", 1450, 1450)
		p.tooLong(1473, 1500)
		expect("too long, as was known", 1450, 1450)
		p.segmentsRefused()
		expect("refused", 1450, 0)
		time.Sleep(refusalLifetime)
		expect("a minute later", 1450, 1450)
		time.Sleep(mtuLifetime - refusalLifetime)
		expect("ten minutes later", 0, DatagramMax)
		p.tooLong(9000, 0)
		expect("a route with another MTU", 9000-28, 9000-28)
	})
}

func TestWhatIsTooLongForAPath(t *testing.T) {
	for _, c := range []struct {
		name         string
		peer         string
		refused, mtu int
		want         int
	}{
		{"the system knows it", "192.0.2.1:1701", 1448, 1400, 1372},
		{"over IPv6", "[2001:db8::1]:1701", 1448, 1400, 1352},
		{"it does not", "192.0.2.1:1701", 1448, 0, 1432},
		{"not over IPv6", "[2001:db8::1]:1701", 1448, 0, 1444},
		{"it contradicts itself", "192.0.2.1:1701", 1448, 65536, 1432},
		{"nonsense", "192.0.2.1:1701", 1448, 1, 1432},
		{"a plateau itself", "192.0.2.1:1701", 1472, 0, 1464},
		{"less than any", "192.0.2.1:1701", 500, 0, 499},
	} {
		p := &Path{Peer: netip.MustParseAddrPort(c.peer)}
		p.tooLong(c.refused, c.mtu)
		if got := p.MaxDatagram(); got != c.want {
			t.Errorf("%s: MaxDatagram is %d, want %d", c.name, got, c.want)
		}
	}
}

func TestHowLongARunIs(t *testing.T) {
	for _, c := range []struct {
		name    string
		lengths []int
		longest int
		want    int
	}{
		{"64 datagrams", repeat(10, 70), DatagramMax, 64},
		{"65507 bytes", repeat(1456, 64), DatagramMax, 44}, // and 65,520 are too many
		{"65507 bytes, a shorter one at the end", join(repeat(1456, 44), []int{1443, 1}), DatagramMax, 45},
		{"65508 bytes, a shorter one at the end", join(repeat(1456, 44), []int{1444}), DatagramMax, 44},
		{"as long as may be", repeat(1456, 3), 1456, 3},
		{"longer than may be", repeat(1457, 3), 1456, 1},
		{"none may", repeat(1, 3), 0, 1},
		{"too long for any message", repeat(70000, 2), DatagramMax, 1},
	} {
		var b link.Batch
		for _, n := range c.lengths {
			b.Add(0, make([]byte, n), nil)
		}
		if got := runLength(b.Frames, c.longest); got != c.want {
			t.Errorf("%s: a run of %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRunsAreWhatTheSystemCuts(t *testing.T) {
	// UDP_SEGMENT (udp(7)) has a message cut at every multiple of one length.
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.OneOf(rapid.IntRange(0, 3), rapid.SampledFrom([]int{0, 700, 1400, 1450}), rapid.IntRange(0, 70000))
		lengths := rapid.SliceOfN(length, 1, 200).Draw(t, "lengths")
		longest := rapid.SampledFrom([]int{0, 1, 1399, 1400, DatagramMax}).Draw(t, "longest")
		var b link.Batch
		for _, n := range lengths {
			b.Add(0, make([]byte, n), nil)
		}
		for frames := b.Frames; len(frames) > 0; {
			n := runLength(frames, longest)
			if n < 1 || n > len(frames) {
				t.Fatalf("a run of %d of %d frames", n, len(frames))
			}
			if n > 1 {
				checkRun(t, frames[:n], longest)
			}
			if n < len(frames) && n < segmentsMax {
				// It could not have been longer.
				size, last, next, total := frames[0].Len(), frames[n-1].Len(), frames[n].Len(), 0
				for i := range frames[:n+1] {
					total += frames[i].Len()
				}
				if size > 0 && size <= longest && last == size && next > 0 && next <= size && total <= payloadMax {
					t.Fatalf("a run of %d frames of %d bytes, want the next of %d in it", n, size, next)
				}
			}
			frames = frames[n:]
		}
	})
}

// checkRun cuts a run as the kernel does.
func checkRun(t *rapid.T, run []link.Frame, longest int) {
	size, total := run[0].Len(), 0
	for i := range run {
		total += run[i].Len()
	}
	if size == 0 || size > longest || len(run) > segmentsMax || total > payloadMax {
		t.Fatalf("%d frames of %d bytes, in all %d, in one message", len(run), size, total)
	}
	for i := range run {
		if cut := min(size, total); cut != run[i].Len() {
			t.Fatalf("frame %d of %d bytes would be cut at %d", i, run[i].Len(), cut)
		}
		total -= min(size, total)
	}
}

func TestRunsOfDatagrams(t *testing.T) {
	for _, c := range []struct {
		bytes string
		size  int
		want  []string
	}{
		{"", 0, []string{""}},
		{"", 3, []string{""}},
		{"abc", 0, []string{"abc"}},
		{"abc", 3, []string{"abc"}},
		{"abc", 4, []string{"abc"}},
		{"abcd", 3, []string{"abc", "d"}},
		{"abcdef", 3, []string{"abc", "def"}},
	} {
		r := Run{bytes: []byte(c.bytes), size: c.size}
		var got []string
		for d := range r.Datagrams() {
			if cap(d) > len(d) && len(got) < len(c.want)-1 {
				t.Errorf("%q of %q: an append would write into the next", d, c.bytes)
			}
			got = append(got, string(d))
		}
		if len(got) != len(c.want) {
			t.Errorf("%q by %d: %q, want %q", c.bytes, c.size, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%q by %d: %q, want %q", c.bytes, c.size, got, c.want)
			}
		}
	}
	for range (&Run{bytes: []byte("abcdef"), size: 2}).Datagrams() {
		break // is allowed
	}
}

// Issue 5: "no black hole when ICMP is lost". What a measurement has found is heeded
// beside what the system says, and is forgotten in time.
func TestAPathIsNarrowedFromAbove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Path{Peer: netip.MustParseAddrPort("192.0.2.1:1701")}
		expect := func(when string, max, whole int) {
			t.Helper()
			if got := p.MaxDatagram(); got != max {
				t.Errorf("%s: MaxDatagram is %d, want %d", when, got, max)
			}
			if got := p.wholeMax(); got != whole {
				t.Errorf("%s: datagrams of up to %d bytes are sent in one piece, want %d", when, got, whole)
			}
		}
		p.Narrow(1372, 11*time.Minute)
		expect("narrowed", 1372, 1372)
		p.tooLong(1473, 1428)
		expect("the system knows of something wider", 1372, 1372)
		p.Narrow(0, time.Hour)
		expect("wide again", 1400, math.MaxInt)
		p.Narrow(1412, 11*time.Minute)
		expect("the system knows of something narrower", 1400, 1412)
		time.Sleep(10 * time.Minute)
		expect("which it forgets", 1412, 1412)
		time.Sleep(time.Minute)
		expect("all is forgotten", 0, math.MaxInt)
	})
}
