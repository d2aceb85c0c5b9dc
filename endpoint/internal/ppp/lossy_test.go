package ppp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

// A line joins two links in virtual time, with owners that answer their
// questions. Frames are lost, doubled and overtaken as its source says.
type line struct {
	rand        *rand.Rand
	lose, twice float64
	delay       time.Duration // at least
	jitter      time.Duration // more than that, so that frames overtake each other
	thinks      time.Duration // owners, at most

	now    time.Time
	queue  []delivery
	ends   [2]*end
	frames int
}

type end struct {
	link  *Link
	ups   []Up
	auth  []Authenticated
	down  *Down
	isUp  bool
	isUp6 bool

	settled    int
	encryption *Encryption
	users      map[string]string
}

type delivery struct {
	at   time.Time
	do   func(now time.Time)
	peer *end
}

func newWire(seed uint64, client, server Config) *line {
	w := &line{rand: rand.New(rand.NewPCG(seed, 1)), now: epoch,
		delay: 10 * time.Millisecond, jitter: 200 * time.Millisecond, thinks: 500 * time.Millisecond}
	client.Rand, server.Rand = random(2*seed), random(2*seed+1)
	server.Server = true
	for i, cfg := range []Config{client, server} {
		cfg.FirstRestart = 0 // as they have it
		w.ends[i] = &end{link: New(cfg), users: map[string]string{"alice": "s3cret"}}
	}
	return w
}

func (w *line) client() *end { return w.ends[0] }
func (w *line) server() *end { return w.ends[1] }

func (w *line) after(d time.Duration, e *end, do func(now time.Time)) {
	w.queue = append(w.queue, delivery{w.now.Add(d), do, e})
}

func (w *line) drain(t testing.TB, e *end) {
	other := w.ends[0]
	if e == other {
		other = w.ends[1]
	}
	for {
		frame, event, ok := e.link.Next()
		if !ok {
			return
		}
		think := time.Duration(w.rand.Int64N(int64(w.thinks)))
		switch event := event.(type) {
		case nil:
			w.frames++
			copies := 1
			if w.rand.Float64() < w.lose {
				copies = 0
			} else if w.rand.Float64() < w.twice {
				copies = 2
			}
			for range copies {
				frame := bytes.Clone(frame)
				d := w.delay + time.Duration(w.rand.Int64N(int64(w.jitter)))
				w.after(d, other, func(now time.Time) { other.link.Handle(now, frame) })
			}
		case AuthQuestion:
			w.after(think, e, func(now time.Time) {
				password, ok := e.users[event.User]
				if !ok {
					e.link.Credential(now, Credential{}, errors.New("no such user"))
					return
				}
				e.link.Credential(now, Credential{Password: []byte(password)}, nil)
			})
		case AddressQuestion:
			w.after(think, e, func(now time.Time) {
				e.link.Assign(now, Assignment{Local: gateway, Peer: inside, DNS: []netip.Addr{dns1, dns2}}, nil)
			})
		case Authenticated:
			e.auth = append(e.auth, event)
		case Up:
			if e.isUp {
				t.Fatal("Up twice")
			}
			e.isUp = true
			e.ups = append(e.ups, event)
			e.encryption = event.Encryption
		case Up6:
			if e.isUp6 {
				t.Fatal("Up6 twice")
			}
			e.isUp6 = true
			e.encryption = event.Encryption
		case NetworkDown:
			was := map[uint16]*bool{ProtocolIPv4: &e.isUp, ProtocolIPv6: &e.isUp6}[event.Protocol]
			if !*was {
				t.Fatalf("%+v without Up", event)
			}
			*was = false
		case Settled:
			if e.settled++; e.settled > 1 || !e.isUp && !e.isUp6 {
				t.Fatalf("Settled: IPv4 %v, IPv6 %v", e.isUp, e.isUp6)
			}
		case Down:
			if e.down != nil {
				t.Fatal("Down twice")
			}
			e.isUp, e.isUp6 = false, false
			e.down = &event
		}
	}
}

// step does what is due next; false: nothing is.
func (w *line) step(t testing.TB, until time.Time) bool {
	var next time.Time
	var who *end
	which := -1
	for i, d := range w.queue {
		if next.IsZero() || d.at.Before(next) {
			next, who, which = d.at, d.peer, i
		}
	}
	for _, e := range w.ends {
		if d := e.link.Deadline(); !d.IsZero() && (next.IsZero() || d.Before(next)) {
			next, who, which = d, e, -1
		}
	}
	if next.IsZero() || next.After(until) {
		w.now = until
		return false
	}
	if next.Before(w.now) {
		t.Fatal("a deadline in the past")
	}
	w.now = next
	if which >= 0 {
		d := w.queue[which]
		w.queue = slices.Delete(w.queue, which, which+1)
		d.do(w.now)
	} else {
		who.link.Expire(w.now)
	}
	w.drain(t, who)
	return true
}

// run goes on until done says so, or the time is over.
func (w *line) run(t testing.TB, d time.Duration, done func() bool) {
	for until := w.now.Add(d); !done() && w.step(t, until); {
	}
}

func (w *line) open(t testing.TB) {
	for _, e := range w.ends {
		e.link.Open(w.now)
		w.drain(t, e)
	}
}

// settled: both are up, or both are down.
func (w *line) settled() bool {
	c, s := w.client(), w.server()
	return c.isUp && s.isUp || c.down != nil && s.down != nil
}

func seeds() uint64 {
	if os.Getenv("L2TPNET_FULL") == "1" {
		return 5000
	}
	return 200
}

// longest is the documented time: SetupTimeout for the way up, and what it
// takes to take the link down, for both ends after one another.
const longest = defaultSetupTimeout + 2*defaultMaxTerminate*defaultRestart

var everyMethod = []Method{PAP, CHAPMD5, MSCHAPv2, EAPMD5, EAPMSCHAPv2}

func everyClient() Config {
	cfg := clientConfig()
	cfg.Methods = everyMethod
	return cfg
}

// Every method, over a line without fault.
func TestBothEnds(t *testing.T) {
	for _, m := range everyMethod {
		w := newWire(1, everyClient(), Config{Methods: []Method{m}})
		w.open(t)
		w.run(t, longest, w.settled)
		c, s := w.client(), w.server()
		if !c.isUp || !s.isUp {
			t.Fatalf("%v: client %+v, server %+v", m, c, s)
		}
		want := Up{Local: inside, Peer: gateway, DNS: []netip.Addr{dns1, dns2}, MTU: 1400}
		if got := c.ups[0]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: client is %v, want %v", m, got, want)
		}
		want.Local, want.Peer = gateway, inside
		if got := s.ups[0]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: server is %v, want %v", m, got, want)
		}
		for _, e := range w.ends {
			if len(e.auth) != 1 || e.auth[0].Method != m || e.auth[0].User != "alice" {
				t.Errorf("%v: %+v", m, e.auth)
			}
		}

		// An hour of silence: the keepalive keeps it.
		w.run(t, time.Hour, func() bool { return !w.settled() })
		if !c.isUp || !s.isUp || len(c.ups) != 1 {
			t.Fatalf("%v, an hour later: client %+v, server %+v", m, c.down, s.down)
		}
		// The peer disappears: fifteen Echo-Requests in vain.
		w.lose = 1
		w.queue = nil
		w.run(t, defaultEchoInterval+15*defaultEchoRetry, func() bool { return c.down != nil })
		var timeout *TimeoutError
		if c.down == nil || !errors.As(c.down.Err, &timeout) || timeout.Error() != "no answer to LCP Echo-Request after 15 tries" {
			t.Errorf("%v: the peer is gone: %+v", m, c.down)
		}
	}
}

// A link that is up lives for an hour on a line that loses a fifth of the frames,
// with nothing else to hear of the peer than its echoes.
func TestALossyLineEndsNoLink(t *testing.T) {
	for seed := range seeds() / 16 {
		w := newWire(seed, clientConfig(), serverConfig())
		w.open(t)
		w.run(t, longest, w.settled)
		w.lose, w.twice = 0.2, 0.1
		w.run(t, time.Hour, func() bool { return false })
		if c, s := w.client(), w.server(); !c.isUp || !s.isUp || len(c.ups) != 1 {
			t.Fatalf("seed %d, an hour later: client %+v, server %+v", seed, c.down, s.down)
		}
	}
}

// A line that loses a fifth of the frames each way, doubles a tenth and lets
// them overtake each other: the network comes up at both ends within the
// documented time, or the link ends there with an error that says why.
func TestLossyLine(t *testing.T) {
	up, ups, slowest := 0, 0, time.Duration(0)
	for seed := range seeds() {
		m := everyMethod[seed%uint64(len(everyMethod))]
		w := newWire(seed, everyClient(), Config{Methods: []Method{m}})
		w.lose, w.twice = 0.2, 0.1
		w.open(t)
		w.run(t, longest, w.settled)
		c, s := w.client(), w.server()
		if !w.settled() {
			t.Fatalf("seed %d, %v: neither up nor down: client %v, server %v", seed, m, c.link.phase, s.link.phase)
		}
		if c.down != nil {
			if !documented(c.down.Err) || !documented(s.down.Err) {
				t.Errorf("seed %d, %v: client %v, server %v", seed, m, c.down.Err, s.down.Err)
			}
			continue
		}
		up++
		slowest = max(slowest, w.now.Sub(epoch))
		if got := c.ups[len(c.ups)-1]; got.Local != inside || got.Peer != gateway || len(got.DNS) != 2 {
			t.Errorf("seed %d, %v: client is %+v", seed, m, got)
		}

		// What is still under way may renegotiate the link, but it settles. Then
		// the client closes, and the server hears of it.
		w.run(t, 30*time.Second, func() bool { return false })
		ups += len(c.ups)
		c.link.Close(w.now, "bye")
		w.drain(t, c)
		w.run(t, 6*time.Second, func() bool { return c.down != nil })
		if c.down == nil {
			t.Fatalf("seed %d, %v: the client is not down: %v", seed, m, c.link.phase)
		}
	}
	t.Logf("%d of %d came up, the slowest after %v; %.2f Ups each", up, seeds(), slowest, float64(ups)/float64(up))
	if up*100 < int(seeds())*99 {
		t.Errorf("only %d of %d links came up", up, seeds())
	}
}

// The same line with IPv6, and with MPPE required at one end and allowed at the
// other: both networks come up, and what one end encrypts the other decrypts.
func TestLossyNetworks(t *testing.T) {
	up, both, settled := 0, 0, 0
	for seed := range seeds() {
		client, server := clientConfig(), Config{Methods: []Method{[]Method{MSCHAPv2, EAPMSCHAPv2}[seed%2]}}
		client.Methods = server.Methods
		client.NoIPv6 = false
		client.MPPE, server.MPPE = MPPERequired, MPPEAllowed
		if seed%4 >= 2 {
			client.MPPE, server.MPPE = server.MPPE, client.MPPE
		}
		w := newWire(seed, client, server)
		w.lose, w.twice = 0.2, 0.1
		w.open(t)
		w.run(t, longest, w.settled)
		w.run(t, 30*time.Second, func() bool { return w.client().isUp6 && w.server().isUp6 })
		w.run(t, 30*time.Second, func() bool { return false })
		c, s := w.client(), w.server()
		if c.down != nil || s.down != nil {
			w.run(t, longest, w.settled)
			for _, e := range w.ends {
				if e.down == nil || !documented(e.down.Err) {
					t.Errorf("seed %d: %v, %+v", seed, e.link.phase, e.down)
				}
			}
			continue
		}
		up++
		settled += c.settled + s.settled
		if c.isUp != s.isUp || c.isUp6 != s.isUp6 {
			t.Errorf("seed %d: the client has IPv4 %v, IPv6 %v, the server IPv4 %v, IPv6 %v", seed, c.isUp, c.isUp6, s.isUp, s.isUp6)
		}
		if c.isUp && c.isUp6 {
			both++
		}
		if c.encryption == nil || s.encryption == nil ||
			!opens(t, s.encryption.Opener, c.encryption.Sealer.Seal(nil, ProtocolIPv4, datagram4)) ||
			!opens(t, c.encryption.Opener, s.encryption.Sealer.Seal(nil, ProtocolIPv6, datagram6)) {
			t.Errorf("seed %d: encryption %v and %v", seed, c.encryption, s.encryption)
		}
	}
	if up*100 < int(seeds())*97 || both*100 < up*98 || settled != 2*up {
		t.Errorf("of %d links %d came up, %d with both networks; %d ends settled", seeds(), up, both, settled)
	}
}

func documented(err error) bool {
	var timeout *TimeoutError
	var terminated *TerminatedError
	var negotiation *NegotiationError
	var auth *AuthError
	var encryption *EncryptionError
	var network *NetworkError
	if errors.As(err, &encryption) || errors.As(err, &network) {
		return true
	}
	return errors.As(err, &timeout) || errors.As(err, &terminated) || errors.As(err, &negotiation) || errors.As(err, &auth)
}

// A wrong password, an unknown user, each method: both ends say that it was
// the authentication, over a good line and over a bad one, where the client may
// only hear of the end.
func TestWrongPassword(t *testing.T) {
	for _, m := range everyMethod {
		for _, user := range []string{"alice", "mallory"} {
			for seed := range seeds() / 4 {
				cfg := everyClient()
				cfg.User, cfg.Password = user, []byte("wrong")
				w := newWire(seed, cfg, Config{Methods: []Method{m}})
				if seed > 0 {
					w.lose, w.twice = 0.2, 0.1
				}
				w.open(t)
				w.run(t, longest, w.settled)
				c, s := w.client(), w.server()
				if c.down == nil || s.down == nil {
					t.Fatalf("%v, %s, seed %d: client %v, server %v", m, user, seed, c.link.phase, s.link.phase)
				}
				var theirs, ours *AuthError
				if errors.As(c.down.Err, &theirs); seed == 0 && (theirs == nil || theirs.Ours || theirs.Method != m || theirs.Message != saysNo && m != EAPMD5) {
					t.Errorf("%v, %s: client: %v", m, user, c.down.Err)
				}
				if errors.As(s.down.Err, &ours); seed == 0 && (ours == nil || !ours.Ours || ours.Method != m || ours.User != user) {
					t.Errorf("%v, %s: server: %v", m, user, s.down.Err)
				}
				if !documented(c.down.Err) || !documented(s.down.Err) || len(c.ups)+len(s.ups)+len(s.auth) > 0 {
					t.Errorf("%v, %s, seed %d: client %v, server %v", m, user, seed, c.down.Err, s.down.Err)
				}
			}
		}
	}
}

// Two ends with the same random source choose the same Magic-Number, and part
// again: each Naks the other's.
func TestMagicCollision(t *testing.T) {
	client := clientConfig()
	w := newWire(1, client, Config{Methods: []Method{CHAPMD5}})
	w.client().link.lcp.magic = 0x01020304
	w.server().link.lcp.magic = 0x01020304
	w.open(t)
	w.run(t, longest, w.settled)
	c, s := w.client(), w.server()
	if !c.isUp || !s.isUp || c.link.lcp.magic == s.link.lcp.magic {
		t.Errorf("client %v %08x, server %v %08x", c.isUp, c.link.lcp.magic, s.isUp, s.link.lcp.magic)
	}
}

// The random source is the only one: the same seeds give the same exchange.
func TestDeterminism(t *testing.T) {
	record := func() []byte {
		var log bytes.Buffer
		w := newWire(7, clientConfig(), Config{Methods: []Method{MSCHAPv2}})
		for _, e := range w.ends {
			e.link.cfg.Rand = io.TeeReader(e.link.cfg.Rand, &log)
		}
		w.lose = 0.2
		w.open(t)
		w.run(t, longest, w.settled)
		fmt.Fprint(&log, w.frames, w.now)
		return log.Bytes()
	}
	if !bytes.Equal(record(), record()) {
		t.Error("two runs differ")
	}
}
