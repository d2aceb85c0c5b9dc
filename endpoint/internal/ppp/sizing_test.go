package ppp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// An echoing peer answers Echo-Requests as RFC 1661 §5.8 wants it, behind a path.
type echoing struct {
	*tester
	through func(size int) bool // whether a packet of this length comes through, on one way
	data    func([]byte) []byte // what of a request's data is in the reply; nil: none is sent
	asked   []int               // lengths of all requests
	told    []int               // by PathMTU
	sent    uint64              // what the owner has sent, in bytes
}

func whole(b []byte) []byte { return b }

// measured is a link in the Network phase that measures from 1400 bytes down.
func measured(t *testing.T, p *echoing) *echoing {
	p.tester = clientInNetwork(t)
	p.link.cfg.Sent = func() uint64 { return p.sent }
	p.upIPCP()
	p.forget()
	if p.data == nil {
		p.data = whole
	}
	p.do(func(now time.Time) { p.link.Measure(now, 1400) })
	return p
}

// pass lets time pass, the peer answering.
func (p *echoing) pass(d time.Duration) {
	for d > 0 {
		tick := 50 * time.Millisecond
		if s := p.link.sizing; s == nil || s.token == 0 {
			tick = 500 * time.Millisecond // only the keepalive asks something
		}
		p.wait(tick)
		p.answer()
		d -= tick
	}
}

func (p *echoing) answer() {
	p.Helper()
	for len(p.out) > 0 {
		out := p.out
		p.out = nil
		for _, o := range out {
			if e, ok := o.event.(PathMTU); ok {
				p.told = append(p.told, e.MTU)
				continue
			}
			_, information, _ := ParseFrame(o.frame)
			request, ok := parsePacket(information)
			if o.event != nil || !ok || request.code != echoRequest {
				p.Errorf("expected Echo-Requests, found %s", o.words)
				continue
			}
			p.asked = append(p.asked, len(information))
			if len(information) > 100 && !o.whole {
				p.Errorf("%s may go in pieces", o.words)
			}
			data := p.data(request.data[4:])
			if data == nil || !p.through(len(information)) || !p.through(8+len(data)) {
				continue
			}
			p.lcp(echoReply, request.id, "\x00\x00\x00\x05", data)
		}
	}
}

func upTo(n int) func(int) bool { return func(size int) bool { return size <= n } }

// RFC 1661 §5.8: "The Data field is zero or more octets, and contains uninterpreted
// data for use by the sender." One long Echo-Request that is answered is enough, and
// another one ten minutes later.
func TestAWidePathIsAskedOnce(t *testing.T) {
	p := measured(t, &echoing{through: upTo(1400)})
	long := func() (n int) {
		for _, size := range p.asked {
			if size > 100 {
				n++
			}
		}
		return n
	}
	p.pass(9*time.Minute + 59*time.Second)
	if n := long(); n != 1 || p.asked[0] != 1400 {
		t.Errorf("%d long Echo-Requests, the first of %d bytes; want one of 1400", n, p.asked[0])
	}
	p.pass(2 * time.Second)
	if n := long(); n != 2 || len(p.told) > 0 {
		t.Errorf("%d long Echo-Requests after ten minutes, told %v; want two, and nothing", n, p.told)
	}
}

// Issue: "no black hole when ICMP is lost (a padded LCP echo or Hello probes the tunnel
// itself)".
func TestAPathThatLosesLongPackets(t *testing.T) {
	for _, c := range []struct{ through, want int }{
		{1399, 1360}, {1372, 1360}, {1360, 1360}, {1350, 1320}, {1280, 1280}, {1279, 1152}, {600, 576}, {512, 512},
	} {
		t.Run(fmt.Sprint(c.through), func(t *testing.T) {
			path := c.through
			p := measured(t, &echoing{through: func(size int) bool { return size <= path }})
			p.pass(7 * time.Second)
			if !slices.Equal(p.told, []int{c.want}) {
				t.Fatalf("told %v after seven seconds, want %d", p.told, c.want)
			}
			p.pass(20 * time.Minute)
			if !slices.Equal(p.told, []int{c.want}) {
				t.Errorf("told %v later, want nothing new", p.told)
			}
			path = 1400
			p.pass(11 * time.Minute)
			if !slices.Equal(p.told, []int{c.want, 1400}) {
				t.Errorf("told %v when the path is wide again, want 1400", p.told)
			}
		})
	}
}

// Peers that do not answer Echo-Requests with data, or not with all of it, or that
// answer with other data, say nothing about the path; and they are not asked for ever.
func TestPeersThatDoNotAnswerLongEchoes(t *testing.T) {
	for name, data := range map[string]func([]byte) []byte{
		"never":              func([]byte) []byte { return nil },
		"only short ones":    func(b []byte) []byte { return map[bool][]byte{true: b}[len(b) < 100] },
		"without their data": func([]byte) []byte { return []byte{} },
		"other data":         func(b []byte) []byte { return make([]byte, len(b)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := &echoing{through: upTo(1400), data: data}
			measured(t, p)
			p.pass(10 * time.Second)
			asked := len(p.asked)
			p.data = whole // lest the keepalive ends it
			p.pass(30 * time.Minute)
			if later := slices.ContainsFunc(p.asked[asked:], func(n int) bool { return n > 100 }); later || len(p.told) > 0 {
				t.Errorf("told %v, asked again %v; want nothing, and not", p.told, later)
			}
		})
	}
	// What of the data comes back is enough: it was the way there that was asked for.
	p := measured(t, &echoing{through: upTo(1400), data: func(b []byte) []byte { return b[:min(len(b), 60)] }})
	if p.pass(10 * time.Second); len(p.told) > 0 || p.link.sizing.token != 0 {
		t.Errorf("told %v of a peer that answers with 60 octets of data, want nothing", p.told)
	}
}

// A line that loses a fifth of all, each way, or half, is not narrow. One that is,
// and loses a fifth, is found out all the same.
func TestALossyPathIsNotNarrow(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		loss, through := 0.2, 1400
		switch seed % 3 {
		case 1:
			loss = 0.5
		case 2:
			through = 1320
		}
		lossy := func(size int) bool { return size <= through && r.Float64() >= loss }
		p := measured(t, &echoing{through: lossy})
		for p.pass(8 * time.Second); seed%3 == 2 && len(p.told) == 0; p.pass(8 * time.Second) {
			if p.now.Sub(epoch) > time.Hour {
				t.Fatalf("seed %d: a narrow path was not found", seed)
			}
		}
		if through == 1400 && len(p.told) > 0 || through == 1320 && p.told[0] > 1320 {
			t.Errorf("seed %d: told %v, %d bytes come through with a loss of %v", seed, p.told, through, loss)
		}
	}
}

// longAsked is how many of the requests were long ones since the last call.
func (p *echoing) longAsked() (n int) {
	for _, size := range p.asked {
		if size > 100 {
			n++
		}
	}
	p.asked = nil
	return n
}

// A path that becomes narrow while it is used is found out soon, and so is one that
// becomes narrower, or that a probe finds wide again.
func TestAPathThatBecomesNarrow(t *testing.T) {
	path := 1400
	p := measured(t, &echoing{through: func(size int) bool { return size <= path }})
	use := func(d time.Duration) {
		for ; d > 0; d -= time.Second {
			p.sent += 1400
			p.pass(time.Second)
		}
	}
	use(time.Minute)
	if n := p.longAsked(); n < 2 || n > 4 || len(p.told) > 0 {
		t.Errorf("%d long Echo-Requests in a minute, told %v; want one every twenty seconds, and nothing", n, p.told)
	}
	path = 1372
	use(40 * time.Second)
	if !slices.Equal(p.told, []int{1360}) {
		t.Fatalf("told %v when the path has become narrow, want 1360", p.told)
	}
	use(time.Minute)
	path = 1200
	use(40 * time.Second)
	if !slices.Equal(p.told, []int{1360, 1152}) {
		t.Fatalf("told %v when the path has become narrower, want 1360 and 1152", p.told)
	}
	use(5 * time.Minute)
	if len(p.told) != 2 {
		t.Errorf("told %v, want nothing new", p.told)
	}
	// What is measured every ten minutes is not put off by checks.
	path = 1400
	use(6 * time.Minute)
	if !slices.Equal(p.told, []int{1360, 1152, 1400}) {
		t.Errorf("told %v when the path is wide again, want 1400", p.told)
	}
	// Who has answered long ones is asked again, though for a while nothing comes through.
	path = 200
	use(3 * time.Minute)
	path = 1320
	use(2 * time.Minute)
	if n := len(p.told); p.told[n-1] != 1320 {
		t.Errorf("told %v, want 1320 at last", p.told)
	}
}

// One that carries nothing is asked every ten minutes only, whatever happens to it, and
// checked as soon as something is sent. A check that gets lost once says nothing.
func TestAnIdlePathIsNotChecked(t *testing.T) {
	path, lose := 1400, 0
	p := measured(t, &echoing{through: func(size int) bool {
		if size > 1000 && lose > 0 {
			lose--
			return false
		}
		return size <= path
	}})
	p.pass(5 * time.Minute)
	p.sent += sizingLeast - 1
	p.pass(4 * time.Minute)
	if n := p.longAsked(); n != 1 {
		t.Errorf("%d long Echo-Requests on an idle path, want 1", n)
	}
	p.sent, lose = p.sent+1400, sizingChecks-1
	p.pass(30 * time.Second)
	if n := p.longAsked(); n != sizingChecks {
		t.Errorf("%d long Echo-Requests, want %d, of which the last comes through", n, sizingChecks)
	}
	path, p.sent = 1300, p.sent+1400
	p.pass(30 * time.Second)
	if !slices.Equal(p.told, []int{1280}) {
		t.Errorf("told %v, want 1280", p.told)
	}
}

// A probe measures at once, and does so where the peer has never answered; one in the
// midst of a measurement does not begin it anew.
func TestAProbeMeasures(t *testing.T) {
	path := 1400
	p := measured(t, &echoing{through: func(size int) bool { return size <= path }})
	p.pass(time.Minute)
	for _, want := range []int{1320, 576, 1400} {
		path = want
		for range 13 { // two measurements at most, since the path may change in one
			p.do(p.link.Probe)
			p.pass(time.Second)
		}
		if n := len(p.told); n == 0 || p.told[n-1] != want {
			t.Errorf("told %v after a probe, want %d", p.told, want)
		}
	}

	p = &echoing{through: upTo(1320), data: func(b []byte) []byte { return map[bool][]byte{true: b}[len(b) < 100] }}
	measured(t, p)
	p.pass(time.Minute)
	p.data = whole
	p.sent += 1 << 20
	p.pass(time.Minute)
	if len(p.told) > 0 {
		t.Errorf("told %v of a peer that has never answered, want nothing", p.told)
	}
	p.do(p.link.Probe)
	p.pass(7 * time.Second)
	if !slices.Equal(p.told, []int{1320}) {
		t.Errorf("told %v, want 1320", p.told)
	}
}

// Nothing is asked before the network phase, of who does not know Echo-Requests, and
// once the link is renegotiated; answers to what has not been asked are ignored.
func TestNothingIsMeasured(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.do(func(now time.Time) { x.link.Measure(now, 1400) })
	x.want("before the network phase")

	x = clientInNetwork(t)
	x.upIPCP()
	x.forget()
	x.do(func(now time.Time) { x.link.Measure(now, sizingLeast) })
	x.want("nothing to find")
	x.do(func(now time.Time) { x.link.Measure(now, 1400) })
	x.wait(sizingDelay)
	x.want("one", "LCP Echo-Request ...")
	token := binary.BigEndian.AppendUint32(nil, x.link.sizing.token)
	for _, size := range []uint16{511, 1401, 0xffff} {
		x.lcp(echoReply, 1, "\x00\x00\x00\x05", token, binary.BigEndian.AppendUint16(nil, size), []byte{200})
	}
	x.lcp(echoReply, 1, "\x00\x00\x00\x05", token, []byte{0, 0, 200})
	if s := x.link.sizing; s.longest != 0 || s.heard != 0 {
		t.Errorf("nonsense was taken for answers: %+v", s)
	}
	x.lcp(configureRequest, 99)
	if x.link.sizing != nil {
		t.Error("it goes on while the link is renegotiated")
	}
}
