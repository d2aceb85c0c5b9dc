package netstack

import (
	"encoding/binary"
	"math/rand"
	"net/netip"
	"testing"
	"time"
)

func newNeighbors() *neighbors {
	return &neighbors{way: func(netip.Addr, mac) *hop { return &hop{} }}
}

// drain takes what is to be done.
func (t *neighbors) drain() (list []neighborEvent) {
	for e, ok := t.next(); ok; e, ok = t.next() {
		list = append(list, e)
	}
	return list
}

// RFC 4861 §7.3.3: a neighbor that has been heard is reachable for a while, then stale; one
// that is stale is sent to all the same, and asked 5 s later whether it is still there,
// three times, a second apart. Then it is looked for anew.
func TestANeighborThatFallsSilent(t *testing.T) {
	n, now := newNeighbors(), leaseEpoch
	if !n.wait(now, addrB, []byte("first")) {
		t.Fatal("no room for one packet")
	}
	if got := n.drain(); len(got) != 1 || got[0].what != askNeighbor || got[0].at != (mac{}) {
		t.Fatalf("%+v, want that all are asked", got)
	}
	n.heard(now, addrB, peerMAC, hearsay{solicited: true, override: true})
	if got := n.drain(); len(got) != 1 || got[0].what != sendWaiting || string(got[0].packets[0]) != "first" {
		t.Fatalf("%+v, want the packet that waited", got)
	}
	n.advance(n.deadline()) // of the question
	now = now.Add(reachableTime)
	if n.deadline() != now {
		t.Errorf("the deadline is %v, want that of REACHABLE, %v", n.deadline(), now)
	}
	n.advance(now)
	way, touch := n.find(addrB)
	if way == nil || !touch || !n.deadline().IsZero() {
		t.Fatalf("%v, %v: want a stale one, with no deadline", way, touch)
	}
	now = now.Add(time.Hour)
	n.touch(now, addrB)
	for i := range maxSolicitations {
		now = n.deadline()
		n.advance(now)
		if got := n.drain(); len(got) != 1 || got[0].what != askNeighbor || got[0].at != peerMAC {
			t.Fatalf("the %d. time: %+v, want that it is asked itself", i+1, got)
		}
		if way, _ := n.find(addrB); way == nil {
			t.Fatal("it is not sent to while it is asked")
		}
	}
	if got, want := now, leaseEpoch.Add(reachableTime+time.Hour+delayFirstProbe+2*retransTimer); got != want {
		t.Errorf("asked for the third time at %v, want %v", got, want)
	}
	now = n.deadline()
	n.advance(now)
	if got := n.drain(); len(got) != 1 || got[0].what != giveUp {
		t.Errorf("%+v, want that it is given up", got)
	}
	if way, _ := n.find(addrB); way != nil || len(n.entries) != 0 {
		t.Error("it is still known")
	}
}

func TestANeighborThatNobodyIs(t *testing.T) {
	n, now := newNeighbors(), leaseEpoch
	n.wait(now, addrB, []byte("a"))
	n.wait(now, addrB, []byte("b"))
	asked := 0
	for !n.deadline().IsZero() {
		now = n.deadline()
		n.advance(now)
		for _, e := range n.drain() {
			if e.what == askNeighbor {
				asked++
			} else if e.what != giveUp || len(e.packets) != 2 {
				t.Errorf("%+v, want that both packets are given up", e)
			}
		}
	}
	if asked != maxSolicitations || now.Sub(leaseEpoch) != 3*time.Second || n.waiting != 0 {
		t.Errorf("asked %d times in %v, %d packets wait", asked, now.Sub(leaseEpoch), n.waiting)
	}
}

// RFC 4861 §7.2.5: without the Override flag another address makes the one that is known
// doubtful, and does not take its place.
func TestAnAdvertisementDoesNotOverride(t *testing.T) {
	n, now := newNeighbors(), leaseEpoch
	n.wait(now, addrB, nil)
	n.heard(now, addrB, peerMAC, hearsay{solicited: true})
	n.heard(now, addrB, ownMAC, hearsay{solicited: true})
	if e := n.entries[addrB]; e.mac != peerMAC || e.state != stale {
		t.Errorf("%x in state %d", e.mac, e.state)
	}
	n.heard(now, addrB, ownMAC, hearsay{override: true})
	if e := n.entries[addrB]; e.mac != ownMAC || e.state != stale {
		t.Errorf("%x in state %d", e.mac, e.state)
	}
}

// A host that says that it has all addresses, or a flood of packets to hosts that there are
// not, does not take the place of those that we talk to.
func TestNeighborsAreBounded(t *testing.T) {
	n, now := newNeighbors(), leaseEpoch
	n.wait(now, addrB, nil)
	n.heard(now, addrB, peerMAC, hearsay{solicited: true, override: true})
	for i := range 5000 {
		b := binary.BigEndian.AppendUint32(nil, uint32(0x0a010000+i))
		n.heard(now, netip.AddrFrom4([4]byte(b)), ownMAC, hearsay{override: true, create: true})
	}
	if len(n.entries) > maxNeighbors || n.entries[addrB] == nil {
		t.Errorf("%d neighbors, that one among them: %v", len(n.entries), n.entries[addrB] != nil)
	}
	took := 0
	for i := range 5000 {
		b := binary.BigEndian.AppendUint32(nil, uint32(0x0a020000+i%100))
		if n.wait(now, netip.AddrFrom4([4]byte(b)), nil) {
			took++
		}
	}
	if took > maxWaiting || n.waiting != took || took < maxWaiting {
		t.Errorf("%d packets wait of %d that were taken, want %d at most", n.waiting, took, maxWaiting)
	}
	n.drain()
	for !n.deadline().IsZero() {
		n.advance(n.deadline())
	}
	if n.waiting != 0 {
		t.Errorf("%d packets wait for nobody", n.waiting)
	}
}

// RFC 6583 §4: who has us look for hosts that there are not does not keep those from being
// found that there are, nor does one that says that it is all of them.
func TestNeighborsThatAreInvented(t *testing.T) {
	for _, answers := range []bool{false, true} {
		n, now := newNeighbors(), leaseEpoch
		for i := range 5000 {
			addr := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(0x0a010000+i))))
			n.wait(now, addr, nil)
			if answers {
				n.heard(now, addr, ownMAC, hearsay{solicited: true, override: true})
			}
		}
		n.wait(now, addrB, nil)
		n.heard(now, addrB, peerMAC, hearsay{solicited: true, override: true})
		if way, _ := n.find(addrB); way == nil || len(n.entries) > maxNeighbors || n.waiting > maxWaiting {
			t.Errorf("it answers: %v: not found; %d neighbors, %d packets wait", answers, len(n.entries), n.waiting)
		}
		n.drain()
		for !n.deadline().IsZero() {
			n.advance(n.deadline())
		}
		if n.waiting != 0 {
			t.Errorf("%d packets wait for nobody", n.waiting)
		}
	}
}

// Whatever comes in whichever order, the account is right.
func FuzzNeighbors(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, int64(1))
	f.Fuzz(func(t *testing.T, steps []byte, seed int64) {
		n, now, r := newNeighbors(), leaseEpoch, rand.New(rand.NewSource(seed))
		for _, s := range steps {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, s >> 4})
			at := mac{2, 0, 0, 0, 0, byte(r.Intn(3))}
			switch s & 7 {
			case 0, 1:
				n.wait(now, addr, nil)
			case 2:
				n.heard(now, addr, at, hearsay{r.Intn(2) == 0, r.Intn(2) == 0, r.Intn(2) == 0})
			case 3:
				n.touch(now, addr)
			default:
				now = now.Add(time.Duration(s) * time.Second / 8)
				n.advance(now)
				if due := n.deadline(); !due.IsZero() && !due.After(now) {
					t.Fatal("a deadline that has passed stays one")
				}
			}
			n.drain()
			waiting := 0
			for _, e := range n.entries {
				waiting += len(e.waiting)
				if e.state == incomplete && e.way != nil || e.state != incomplete && (e.way == nil || len(e.waiting) > 0) {
					t.Fatalf("%+v", e)
				}
			}
			if waiting != n.waiting {
				t.Fatalf("%d packets wait, counted %d", waiting, n.waiting)
			}
		}
	})
}
