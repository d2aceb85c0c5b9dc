package endpoint

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestWhatComesAgainInTimeIsKnown(t *testing.T) {
	// "an SCCRQ that was not seen before is only remembered […] and gets state when it
	// comes again 0.5–16 s later, as every honest retransmission does"
	const begin = time.Hour + 60*time.Millisecond
	for _, c := range []struct {
		after time.Duration
		times int
	}{{0, 0}, {300 * time.Millisecond, 0}, {700 * time.Millisecond, 2}, {time.Second, 2}, {8 * time.Second, 2}, {15 * time.Second, 2}, {17 * time.Second, 1}, {30 * time.Second, 1}} {
		var m memory
		if s := m.see(4711, begin); s.times != 1 {
			t.Errorf("new, and seen %d times", s.times)
		}
		if s := m.see(4711, begin+c.after); s.times != c.times {
			t.Errorf("again after %v: %d times, want %d", c.after, s.times, c.times)
		}
	}
	// What comes again too soon does not put off when it may.
	var m memory
	for at := begin; at < begin+400*time.Millisecond; at += 10 * time.Millisecond {
		m.see(4711, at)
	}
	if s := m.see(4711, begin+700*time.Millisecond); s.times != 2 {
		t.Errorf("after a burst: %d times, want 2", s.times)
	}
}

// A caller sends its SCCRQ again after 1, 3, 7 and 15 s (RFC 2661 §5.8).
var retransmissions = []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}

// siege has honest callers, one in every 50 ms, ask while a flood goes on, whose tuples
// are a function of time. It returns when after its first SCCRQ each was admitted, at
// the longest, how many never were and how many were, and how many of the flood's were
// in each second, on average.
func siege(t *testing.T, duration, patience time.Duration, tuple func(k int) uint64) (longest time.Duration, outside, inside int, flood float64) {
	t.Helper()
	const perSecond, honestEvery = 50000, 50 * time.Millisecond
	var m memory
	a := admission{rate: 4096}
	type caller struct {
		key   uint64
		begin time.Duration
		tries int
		in    bool
	}
	var callers []*caller
	honest := rand.New(random(2, 'h'))
	admitted := 0
	// An earlier flood has filled the memory.
	for range 1 << 20 {
		m.see(honest.Uint64(), 0)
	}
	const start = 20 * time.Second
	for k := range int(duration.Seconds() * perSecond) {
		now := start + time.Duration(k)*(time.Second/perSecond)
		if now%honestEvery == 0 && now < start+duration-patience {
			callers = append(callers, &caller{key: honest.Uint64(), begin: now})
		}
		if k%50 == 0 { // each millisecond
			for _, c := range callers {
				if !c.in && c.tries < len(retransmissions) && now >= c.begin+retransmissions[c.tries] {
					c.tries++
					if c.in, _ = a.admit(m.see(c.key, now), now); c.in {
						longest = max(longest, now-c.begin)
					}
				}
			}
		}
		if in, _ := a.admit(m.see(tuple(k), now), now); in {
			admitted++
		}
	}
	for _, c := range callers {
		if c.in {
			inside++
		} else {
			outside++
		}
	}
	return longest, outside, inside, float64(admitted) / duration.Seconds()
}

func TestAnHonestPeerIsAdmittedDuringAFlood(t *testing.T) {
	// "a flood of 50,000 SCCRQ a second from 2^20 sources for 60 s, and another that
	// repeats each tuple: […] an honest client in within 10 s"
	spread := func(k int) uint64 { return uint64(k+1) * 0x9e3779b97f4a7c15 }
	for _, c := range []struct {
		name  string
		tuple func(k int) uint64
		most  time.Duration // that an honest peer waits
		flood float64       // of its SCCRQs, in a second, that are answered
	}{
		{"each tuple once in 21 s", func(k int) uint64 { return spread(k % (1 << 20)) }, time.Second + 10*time.Millisecond, 10},
		{"each tuple twice, a second apart", func(k int) uint64 { return spread(k/100000*50000 + k%50000) }, 3*time.Second + 10*time.Millisecond, 600},
		{"each tuple three times", func(k int) uint64 { return spread(k/150000*50000 + k%50000) }, 7*time.Second + 10*time.Millisecond, 900},
		// Until each has been answered once, in vain, they are a match for honest peers.
		{"the same tuples each second", func(k int) uint64 { return spread(k % 50000) }, 15*time.Second + 10*time.Millisecond, 4700},
	} {
		t.Run(c.name, func(t *testing.T) {
			longest, outside, inside, flood := siege(t, c.most+8*time.Second, c.most, c.tuple)
			t.Logf("%d in, after %v at most, %d not; of the flood %.0f a second", inside, longest, outside, flood)
			if outside > 0 || longest > c.most || flood > c.flood {
				t.Errorf("of %d honest peers %d were not admitted, the others after %v at most; %.0f a second of the flood were", inside+outside, outside, longest, flood)
			}
		})
	}
}

func TestASourceKeepsToItsRate(t *testing.T) {
	// "20 per second per source with a burst of 5"
	limits := Limits{}.withDefaults()
	r := newRates(&limits)
	const source = 4711
	taken := func(from, to time.Duration) (n int) {
		for now := from; now < to; now += time.Millisecond {
			if r.allow(source, now) {
				n++
			}
		}
		return n
	}
	if n := taken(0, 10*time.Millisecond); n != 5 {
		t.Errorf("%d at once, want 5", n)
	}
	if n := taken(10*time.Millisecond, 10*time.Second+10*time.Millisecond); n < 198 || n > 202 {
		t.Errorf("%d in ten seconds, want 200", n)
	}
	if n := taken(2*time.Hour, 2*time.Hour+10*time.Millisecond); n != 5 {
		t.Errorf("%d at once after two hours, want 5", n)
	}
	// Whoever forges others' addresses does not lock it out.
	sources := rand.New(random(1, 'f'))
	now := 3 * time.Hour
	for k := range 1_000_000 {
		if now += 20 * time.Microsecond; k%50000 == 49999 && !r.allow(source, now) {
			t.Fatal("an honest source is locked out")
		}
		r.allow(sources.Uint64(), now)
	}
}

func TestSourcesAreAddressesOrIPv6Networks(t *testing.T) {
	h := hasher{maphash.MakeSeed()}
	source := func(s string) uint64 { return h.source(netip.MustParseAddr(s)) }
	if source("192.0.2.1") == source("192.0.2.2") || source("2001:db8::1") == source("2001:db8:0:1::1") {
		t.Error("two sources are one")
	}
	if source("2001:db8::1") != source("2001:db8::ffff:1") || source("fe80::1%eth0") != source("fe80::2") {
		t.Error("an IPv6 /64 is more than one source")
	}
}
