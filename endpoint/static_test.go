package endpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
)

const (
	westAddr = "192.0.2.10:1701"
	eastAddr = "192.0.2.20:1701"
)

// frame is an Ethernet frame as far as a session looks at it.
func frame(text string) []byte {
	return append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, text...)
}

// static opens a static session.
func static(t *testing.T, e *Endpoint, peer string, cfg *StaticConfig) *Session {
	t.Helper()
	s, err := e.Static(t.Context(), peer, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opposite is what the other end has when one has cfg.
func opposite(cfg StaticConfig) *StaticConfig {
	o := cfg
	o.SessionID, o.PeerSessionID = cfg.PeerSessionID, cfg.SessionID
	o.Cookie, o.PeerCookie = cfg.PeerCookie, cfg.Cookie
	return &o
}

// staticPair is a session between two endpoints, in a network.
func staticPair(t *testing.T, n *simnet.Net, cfg StaticConfig) (west, east *Session, done func()) {
	t.Helper()
	w, e := host(t, n, westAddr, &Config{Rand: random(1, 'w'), Logger: testLogger(t, "west")}), host(t, n, eastAddr, &Config{Rand: random(1, 'e'), Logger: testLogger(t, "east")})
	west, east = static(t, w, eastAddr, &cfg), static(t, e, westAddr, opposite(cfg))
	return west, east, func() { w.Close(); e.Close() }
}

// A wire is a peer that is written to and read from octet by octet.
type wiretap struct {
	t    *testing.T
	conn *simnet.Conn
	to   net.Addr
}

func tapped(t *testing.T, n *simnet.Net, address, to string) *wiretap {
	t.Helper()
	conn, err := n.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &wiretap{t, conn, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))}
}

func (w *wiretap) send(octets string, frame []byte) {
	w.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(octets, " ", ""))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.conn.WriteTo(append(b, frame...), w.to); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wiretap) want(octets string, frame []byte) {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 2000)
	n, _, err := w.conn.ReadFrom(b)
	if err != nil {
		w.t.Fatalf("expected %s %x, found %v", octets, frame, err)
	}
	want, err := hex.DecodeString(strings.ReplaceAll(octets, " ", ""))
	if err != nil {
		w.t.Fatal(err)
	}
	if want = append(want, frame...); !bytes.Equal(b[:n], want) {
		w.t.Errorf("sent %x, want %x", b[:n], want)
	}
}

func (w *wiretap) wantNothing() {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 2000)
	if n, _, err := w.conn.ReadFrom(b); !os.IsTimeout(err) {
		w.t.Errorf("expected nothing, found %x, %v", b[:n], err)
	}
}

func TestTheHeadersOfStaticSessions(t *testing.T) {
	// RFC 3931 §4.1.2.1: flags and version 0x0003, 16 reserved bits, Session ID, cookie;
	// §4.6: "|x|S|x|x|x|x|x|x|              Sequence Number".
	cookie4, cookie8 := []byte{1, 2, 3, 4}, []byte{0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0, 1}
	for _, c := range []struct {
		name     string
		cfg      StaticConfig
		out, in  string
		inside   []byte // as the sink has it; nil: the frame
		mtu      int
		numbered bool
	}{
		{name: "nothing", out: "00030000 00000007", in: "00030000 00000005", mtu: 1450},
		{name: "cookies of 4 and 8", cfg: StaticConfig{Cookie: cookie4, PeerCookie: cookie8}, out: "00030000 00000007 01020304", in: "00030000 00000005 0a0b0c0d0e0f0001", mtu: 1446},
		{name: "a cookie of 8", cfg: StaticConfig{Cookie: cookie8}, out: "00030000 00000007 0a0b0c0d0e0f0001", in: "00030000 00000005", mtu: 1442},
		{name: "the sublayer", cfg: StaticConfig{Sublayer: SublayerDefault}, out: "00030000 00000007 00000000", in: "00030000 00000005 00000000", mtu: 1446},
		{name: "counter of QEMU", cfg: StaticConfig{Sublayer: SublayerDefault}, out: "00030000 00000007 00000000", in: "00030000 00000005 00000001", mtu: 1446},
		{name: "all", cfg: StaticConfig{Cookie: cookie8, PeerCookie: cookie4, Sequencing: SequencingBoth}, out: "00030000 00000007 0a0b0c0d0e0f0001 40000000", in: "00030000 00000005 01020304 40000009", mtu: 1438},
		{name: "reserved bits", cfg: StaticConfig{Sublayer: SublayerDefault}, out: "00030000 00000007 00000000", in: "7ff3ffff 00000005 bfffffff", mtu: 1446},
		{name: "IP", cfg: StaticConfig{Type: PseudowireIP}, out: "00030000 00000007", in: "00030000 00000005", inside: packet("inside"), mtu: 1464},
		{name: "HDLC", cfg: StaticConfig{Type: PseudowireHDLC}, out: "00030000 00000007", in: "00030000 00000005", inside: []byte("anything"), mtu: 1464},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				e := host(t, n, westAddr, nil)
				defer e.Close()
				peer := tapped(t, n, eastAddr, westAddr)
				c.cfg.SessionID, c.cfg.PeerSessionID = 5, 7
				s := static(t, e, eastAddr, &c.cfg)
				if s.MTU() != c.mtu {
					t.Errorf("the MTU is %d, want %d", s.MTU(), c.mtu)
				}
				inside := c.inside
				if inside == nil {
					inside = frame("inside")
				}
				put(s, inside)
				peer.want(c.out, inside)
				sink, got := collect()
				s.Attach(sink)
				peer.send(c.in, inside)
				wantPacket(t, got, inside)
				if st := s.Status(); st.ID != 5 || st.PeerID != 7 || st.State != SessionUp || st.Traffic.PacketsIn != 1 || st.Traffic.PacketsOut != 1 || st.Traffic.BytesIn != uint64(len(inside)) {
					t.Errorf("the status is %+v", st)
				}
			})
		})
	}
}

func TestNothingIsTakenWithAWrongCookieOrFromAWrongPeer(t *testing.T) {
	// Issue: "cookies and sequence checked before anything is learnt or delivered".
	// RFC 3931 §4.1: packets "MUST be dropped" whose cookie does not match.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		e := host(t, n, westAddr, nil)
		defer e.Close()
		peer, stranger := tapped(t, n, eastAddr, westAddr), tapped(t, n, "192.0.2.66:1701", westAddr)
		otherPort := tapped(t, n, "192.0.2.20:1702", westAddr)
		s := static(t, e, eastAddr, &StaticConfig{SessionID: 5, PeerSessionID: 7, PeerCookie: []byte{1, 2, 3, 4}, Sublayer: SublayerDefault})
		sink, got := collect()
		s.Attach(sink)
		const right = "00030000 00000005 01020304 00000000"
		for _, w := range []*wiretap{stranger, otherPort} {
			w.send(right, frame("from elsewhere"))
		}
		peer.send("00030000 00000005 01020305 40000005", frame("another cookie"))
		peer.send("00030000 00000005 0102", nil)
		peer.send("00030000 00000005", nil)
		peer.send("00030000 00000005 01020304 0000", nil)      // no sublayer
		peer.send("00030000 00000005 01020304 00000000", nil)  // no frame
		peer.send("00030000 00000006 01020304", frame("none")) // another session's
		peer.send("00030000 00000000 01020304", frame("none")) // nobody's
		peer.send("0003", nil)
		peer.send("c8030014 00000000 00000000", nil) // control
		peer.send("0004000000000005", frame("version 4"))
		peer.send(right, frame("right"))
		wantPacket(t, got, frame("right"))
		if len(got) != 0 {
			t.Errorf("received %q as well", <-got)
		}
		st := s.Status().Traffic
		if st.CookieDiscards != 3 || st.Invalid != 2 || st.PacketsIn != 1 || st.DroppedIn != 5 {
			t.Errorf("the session counts %+v", st)
		}
		c := e.Status().Counters
		if c.WrongPeer != 2 || c.UnknownSession != 2 || c.Malformed != 1 || c.UnknownVersion != 2 {
			t.Errorf("the endpoint counts %+v", c)
		}
		put(s, frame("out"))
		peer.want("00030000 00000007 00000000", frame("out")) // still without a number: the numbered one was not learnt from
		if tun := s.Tunnel().Status(); !tun.Static || tun.Version != 3 || !tun.Up || tun.Dialed || tun.Traffic != s.Status().Traffic {
			t.Errorf("the tunnel's status is %+v", tun)
		}
	})
}

func TestManyStaticSessionsAndPeersOnASocket(t *testing.T) {
	// Issue: "several sessions and peers on a socket".
	synctest.Test(t, func(t *testing.T) {
		const peers, each = 20, 50
		n := simnet.New(1)
		hub := host(t, n, westAddr, nil)
		got := make([][]<-chan string, peers)
		sessions := make([][]*Session, peers)
		far := make([]*Endpoint, peers)
		for p := range peers {
			address := fmt.Sprintf("198.51.100.%d:1701", p+1)
			far[p] = host(t, n, address, nil)
			for i := range each {
				// Peers have the same identifiers, as people choose them.
				id := uint32(i + 1)
				if i%2 == 1 {
					id = uint32(i) << 24
				}
				cfg := StaticConfig{SessionID: id, PeerSessionID: id, Cookie: binary.BigEndian.AppendUint32(nil, uint32(p)), PeerCookie: []byte{1, 2, 3, 4}}
				s := static(t, hub, address, &cfg)
				sink, c := collect()
				s.Attach(sink)
				got[p], sessions[p] = append(got[p], c), append(sessions[p], s)
				put(static(t, far[p], westAddr, opposite(cfg)), frame(fmt.Sprint(p, " ", i)))
				synctest.Wait()
			}
		}
		for p := range peers {
			for i := range each {
				wantPacket(t, got[p][i], frame(fmt.Sprint(p, " ", i)))
			}
		}
		if _, err := hub.Static(t.Context(), "198.51.100.7", &StaticConfig{SessionID: 1, PeerSessionID: 9}); !errors.Is(err, ErrSessionID) {
			t.Errorf("the same session id again: %v, want ErrSessionID", err)
		}
		if st := hub.Status(); len(st.Tunnels) != peers || len(st.Tunnels[0].Sessions) != each || st.Tunnels[0].Traffic.PacketsIn != each {
			t.Errorf("%d tunnels, the first: %+v", len(st.Tunnels), st.Tunnels[0])
		}
		// One session's end is no other's, and its identifier may be had again.
		gone := sessions[6][0]
		gone.Close()
		if !errors.Is(gone.Err(), net.ErrClosed) || gone.Status().State != SessionDown {
			t.Errorf("after Close: %v, %s", gone.Err(), gone.Status().State)
		}
		put(gone, frame("after its end"))
		if st := gone.Status().Traffic; st.PacketsOut != 0 || st.BytesOut != 0 || st.DroppedOut != 1 {
			t.Errorf("after Close a session counts %+v", st)
		}
		if st := gone.Tunnel().Status(); len(st.Sessions) != each-1 || st.Traffic.PacketsIn != each {
			t.Errorf("after a session's end the tunnel has %d sessions, and counts %+v", len(st.Sessions), st.Traffic)
		}
		static(t, hub, "198.51.100.7", &StaticConfig{SessionID: 1, PeerSessionID: 9}).Close()
		if sessions[6][1].Err() != nil || sessions[5][0].Err() != nil {
			t.Error("other sessions have ended")
		}
		tunnel := sessions[3][0].Tunnel()
		tunnel.Close()
		if !errors.Is(tunnel.Err(), net.ErrClosed) || len(hub.Status().Tunnels) != peers-1 {
			t.Errorf("after its Close the tunnel has %v", tunnel.Err())
		}
		hub.Close()
		for p := range peers {
			for _, s := range sessions[p] {
				if !errors.Is(s.Err(), net.ErrClosed) {
					t.Fatalf("after the endpoint's Close a session has %v", s.Err())
				}
			}
			far[p].Close()
		}
		if _, err := hub.Static(t.Context(), eastAddr, &StaticConfig{SessionID: 1, PeerSessionID: 1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v, want net.ErrClosed", err)
		}
	})
}

func TestAnswersLeaveFromTheAddressThatThePeerKnows(t *testing.T) {
	// "Answer from the address that the datagram was sent to".
	synctest.Test(t, func(t *testing.T) {
		e := host(t, simnet.New(1), westAddr, nil)
		defer e.Close()
		s := static(t, e, eastAddr, &StaticConfig{SessionID: 5, PeerSessionID: 7, PeerCookie: []byte{1, 2, 3, 4}})
		in := newInflow()
		receive := func(octets string, to string) netip.Addr {
			b, err := hex.DecodeString(octets)
			if err != nil {
				t.Fatal(err)
			}
			e.receive(netip.MustParseAddrPort(eastAddr), netip.MustParseAddr(to), append(b, frame("x")...), &in)
			in.flush()
			return s.tunnel.path.Load().Local
		}
		if a := receive("000300000000000501020305", "192.0.2.11"); a.IsValid() {
			t.Errorf("a frame with a wrong cookie has it answer from %v", a)
		}
		for _, to := range []string{"192.0.2.11", "192.0.2.12"} {
			if a := receive("000300000000000501020304", to); a.String() != to {
				t.Errorf("it answers from %v, want %s", a, to)
			}
		}
		if s.tunnel.Peer().String() != eastAddr {
			t.Errorf("the peer is %v", s.tunnel.Peer())
		}
	})
}
