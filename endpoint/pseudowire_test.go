package endpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

func TestAVLANPseudowire(t *testing.T) {
	// Issue: "VLAN (4: frames carry their tag; ours is set on sending and rewritten on
	// receiving)".
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		e := host(t, n, westAddr, nil)
		defer e.Close()
		peer := tapped(t, n, eastAddr, westAddr)
		s := static(t, e, eastAddr, &StaticConfig{Type: PseudowireVLAN, VLAN: 0x123, SessionID: 5, PeerSessionID: 7, Cookie: []byte{1, 2, 3, 4}})
		if s.MTU() != 1442 {
			t.Errorf("the MTU is %d, want 1450 less a cookie of 4 and a tag of 4", s.MTU())
		}
		sink, got := collect()
		s.Attach(sink)
		inside := frame("inside")
		tagged := func(tag ...byte) []byte { return slices.Concat(inside[:12], tag, inside[12:]) }

		// In whichever pieces a frame comes, and it stays as it was.
		for _, cut := range [][2]int{{0, 0}, {14, 14}, {12, 14}, {0, 12}, {0, 5}, {5, 9}, {20, 20}, {14, 16}} {
			b := link.NewBatch()
			f := b.Add(cut[0], slices.Clone(inside[cut[0]:cut[1]]), slices.Clone(inside[cut[1]:]))
			copy(f.Head(), inside)
			s.Put(b)
			if left := b.Frames[0].AppendTo(nil); !bytes.Equal(left, inside) {
				t.Errorf("cut at %v: Put has left %q", cut, left)
			}
			b.Free()
			peer.want("00030000 00000007 01020304", tagged(0x81, 0, 0x01, 0x23))
		}

		for _, tag := range [][]byte{{0x81, 0, 0x01, 0x23}, {0x81, 0, 0xef, 0xff}, {0x88, 0xa8, 0, 1}} {
			peer.send("00030000 00000005", tagged(tag...))
			wantPacket(t, got, inside)
		}
		peer.send("00030000 00000005", inside)
		peer.send("00030000 00000005", tagged(0x81, 0, 0, 1)[:17])
		put(s, inside[:13])
		synctest.Wait()
		if st := s.Status().Traffic; len(got) != 0 || st.Invalid != 2 || st.DroppedOut != 1 || st.BytesIn != 3*uint64(len(inside)) {
			t.Errorf("without a tag: received %d frames, counted %+v", len(got), st)
		}
	})
}

func TestPPPInAStaticPseudowire(t *testing.T) {
	// Issue: "PPP (7, the same PPP as v2)".
	for _, cfg := range []StaticConfig{
		{},
		{Cookie: []byte{1, 2, 3, 4}, PeerCookie: []byte{8, 7, 6, 5, 4, 3, 2, 1}, Sequencing: SequencingBoth, ReorderTimeout: 20 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
			defer lns.Close()
			defer lac.Close()
			cfg.Type, cfg.SessionID, cfg.PeerSessionID = PseudowirePPP, 5, 7
			server := *opposite(cfg)
			server.PPPServer = true
			cfg.PPP = &PPPConfig{User: "alice", Password: "s3cret"}
			type result struct {
				s   *Session
				err error
			}
			for range 2 { // who has hung up may call again
				answered := make(chan result, 1)
				go func() {
					s, err := lns.Static(t.Context(), lacAddr, &server)
					answered <- result{s, err}
				}()
				time.Sleep(10 * time.Minute) // a server waits for as long as it takes
				client, err := lac.Static(t.Context(), lnsAddr, &cfg)
				if err != nil {
					t.Fatal(err)
				}
				r := <-answered
				if r.err != nil {
					t.Fatal(r.err)
				}
				if r.s.User() != "alice" || r.s.PeerAddress() != client.Addresses()[0].Addr() || client.Type() != PseudowirePPP || client.MTU() != 1400 {
					t.Errorf("user %q at %v; the client has %v, %v, MTU %d", r.s.User(), r.s.PeerAddress(), client.Addresses(), client.Type(), client.MTU())
				}
				sink, got := collect()
				r.s.Attach(sink)
				put(client, packet("up"))
				wantPacket(t, got, packet("up"))
				client.Close()
				<-r.s.Done()
				if _, ok := errors.AsType[*PPPError](r.s.Err()); !ok {
					t.Errorf("the server's session ended with %v", r.s.Err())
				}
			}
			cfg.PPP = &PPPConfig{User: "alice", Password: "wrong"}
			refused := make(chan error, 1)
			go func() { _, err := lns.Static(t.Context(), lacAddr, &server); refused <- err }()
			time.Sleep(time.Second)
			_, err := lac.Static(t.Context(), lnsAddr, &cfg)
			wantAuth(false, MSCHAPv2)(t, err)
			if err := <-refused; !strings.Contains(err.Error(), "alice") {
				t.Errorf("the server says %v", err)
			}
			for range 2 { // the second time with the same identifier at once
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				if _, err := lns.Static(ctx, lacAddr, &server); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("nobody called for an hour: %v", err)
				}
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
				if _, err := lac.Static(ctx, "192.0.2.99", &cfg); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("nobody answered for a second: %v", err)
				}
				cancel()
			}
			if _, err := lac.Static(t.Context(), "192.0.2.99", &cfg); err == nil {
				t.Error("a session with nobody is up")
			}
			time.Sleep(time.Minute)
			if st := lns.Status(); len(st.Tunnels) != 0 {
				t.Errorf("what is left: %+v", st.Tunnels)
			}
		})
	}
}

// A line that loses, doubles and overtakes: PPP comes up in the end, and what it carries
// comes through once the line is good.
func TestPPPInAStaticPseudowireOverABadLine(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			lns, lac := answering(t, n, seed, nil), dialling(t, n, seed)
			defer lns.Close()
			defer lac.Close()
			n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: .15, Duplicate: .15})
			cfg := StaticConfig{
				Type: PseudowirePPP, SessionID: 5, PeerSessionID: 7, Sequencing: SequencingBoth, ReorderTimeout: 50 * time.Millisecond,
				PPP: &PPPConfig{User: "alice", Password: "s3cret", MPPE: MPPEAllowed},
			}
			end := *opposite(cfg)
			end.PPP, end.PPPServer = nil, true
			answered := make(chan *Session, 1)
			go func() {
				s, err := lns.Static(t.Context(), lacAddr, &end)
				if err != nil {
					t.Errorf("seed %d: the server: %v", seed, err)
				}
				answered <- s
			}()
			client, err := lac.Static(t.Context(), lnsAddr, &cfg)
			if err != nil {
				t.Fatalf("seed %d: the client: %v", seed, err)
			}
			server := <-answered
			if server == nil {
				return
			}
			n.SetDefault(simnet.Link{})
			time.Sleep(time.Second)
			sink, got := collect()
			server.Attach(sink)
			put(client, packet("up"))
			wantPacket(t, got, packet("up"))
		})
	}
}

func TestAStaticSessionBesideATunnel(t *testing.T) {
	// Issue: "v2 and v3 side by side", with the same peer and the same identifiers.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		client, server := calling(t, lac, lns, lnsAddr)
		id := client.Status().ID
		a := static(t, lac, lnsAddr, &StaticConfig{SessionID: id, PeerSessionID: 1})
		b := static(t, lns, lacAddr, &StaticConfig{SessionID: 1, PeerSessionID: id})
		sinks := map[*Session]<-chan string{}
		for _, s := range []*Session{client, server, a, b} {
			sink, got := collect()
			s.Attach(sink)
			sinks[s] = got
		}
		put(client, packet("2"))
		put(server, packet("2"))
		put(a, frame("3"))
		put(b, frame("3"))
		for _, s := range []*Session{client, server} {
			wantPacket(t, sinks[s], packet("2"))
		}
		for _, s := range []*Session{a, b} {
			wantPacket(t, sinks[s], frame("3"))
		}
		if st := lac.Status(); len(st.Tunnels) != 2 || !st.Tunnels[0].Static || st.Tunnels[1].Static || st.Tunnels[1].Version != 2 {
			t.Errorf("the tunnels are %+v", st.Tunnels)
		}
		if _, err := a.Tunnel().OpenPPP(t.Context(), nil); !errors.Is(err, ErrStatic) {
			t.Errorf("a call without a control connection: %v", err)
		}
		a.Tunnel().Probe()
		a.Close()
		b.Close()
		if client.Err() != nil || server.Err() != nil {
			t.Error("static sessions have taken a tunnel's with them")
		}
	})
}

// An unwilling socket tells, once for each send, that nobody is there.
type unwilling struct{ *simnet.Conn }

func (c unwilling) WriteTo(p []byte, to net.Addr) (int, error) {
	return 0, &net.OpError{Op: "write", Net: "udp", Err: syscall.ECONNREFUSED}
}

func TestNobodyThereIsNoVerdict(t *testing.T) {
	// "ECONNREFUSED on the socket is not a verdict: count it".
	synctest.Test(t, func(t *testing.T) {
		conn, err := simnet.New(1).Listen(westAddr)
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(unwilling{conn}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		s := static(t, e, eastAddr, &StaticConfig{SessionID: 1, PeerSessionID: 1})
		for range 100 {
			put(s, frame("hello"))
		}
		time.Sleep(time.Hour)
		if st := s.Status().Traffic; s.Err() != nil || st.DroppedOut != 100 || st.BytesOut != 0 || e.Status().Counters.SocketErrors != 100 {
			t.Errorf("it has %v and counts %+v", s.Err(), st)
		}
	})
}

func TestTheMTUOfAStaticSessionFollowsThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := simnet.New(1).Listen("[2001:db8::1]:1701")
		if err != nil {
			t.Fatal(err)
		}
		socket := &narrowSocket{Conn: conn}
		socket.most.Store(65507)
		e, err := New(socket, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		s := static(t, e, "[2001:db8::2]:1701", &StaticConfig{SessionID: 1, PeerSessionID: 1, Cookie: make([]byte, 8)})
		sink := &told{}
		s.Attach(sink)
		synctest.Wait()
		const outside = 40 + 8 + 8 + 8 + 14
		sink.expect(t, "attached", 1500-outside)
		socket.most.Store(1280 - 48)
		put(s, make([]byte, 1400))
		synctest.Wait()
		for range 10 {
			put(s, make([]byte, s.MTU()+14))
			synctest.Wait()
		}
		now := s.MTU()
		if now > 1280-outside || now < 1100 {
			t.Errorf("the MTU is %d, want %d or a little less", now, 1280-outside)
		}
		if l := s.Status().MTU; l != now {
			t.Errorf("the status has %d", l)
		}
		wide := static(t, e, "[2001:db8::4]:1701", &StaticConfig{SessionID: 3, PeerSessionID: 1, MTU: 8000})
		if wide.MTU() != 8000 {
			t.Errorf("the MTU is %d, want the 8000 of the configuration", wide.MTU())
		}
		for range 30 {
			put(wide, make([]byte, wide.MTU()+14))
			synctest.Wait()
		}
		if wide.MTU() > 1280-outside+8 {
			t.Errorf("the MTU is %d, want what the path lets through", wide.MTU())
		}
		fixed := static(t, e, "[2001:db8::3]:1701", &StaticConfig{SessionID: 2, PeerSessionID: 1, MTU: 1300})
		if fixed.MTU() != 1300 {
			t.Errorf("the MTU is %d, want the 1300 of the configuration", fixed.MTU())
		}
	})
}

func TestStaticConfigsThatAreRefused(t *testing.T) {
	ids := func(c StaticConfig) StaticConfig {
		c.SessionID, c.PeerSessionID = 1, 2
		return c
	}
	for words, c := range map[string]StaticConfig{
		"session ids of 1 to 4294967295":   {SessionID: 1},
		"0, 4 or 8 octets, found one of 3": ids(StaticConfig{Cookie: []byte{1, 2, 3}}),
		"found one of 9":                   ids(StaticConfig{PeerCookie: make([]byte, 9)}),
		`expected none or default`:         ids(StaticConfig{Sublayer: "atm"}),
		`none, send, recv or both`:         ids(StaticConfig{Sequencing: "always"}),
		"expected the default sublayer":    ids(StaticConfig{Sublayer: SublayerNone, Sequencing: SequencingRecv}),
		"reorder timeout":                  ids(StaticConfig{ReorderTimeout: time.Second}),
		"0 to 1 minute":                    ids(StaticConfig{Sequencing: SequencingRecv, ReorderTimeout: time.Hour}),
		"0 to 4096 frames":                 ids(StaticConfig{ReorderMax: 5000}),
		"VLAN of 1 to 4094":                ids(StaticConfig{Type: PseudowireVLAN, VLAN: 4095}),
		"VLAN pseudowire only":             ids(StaticConfig{VLAN: 5}),
		"expected an MTU":                  ids(StaticConfig{MTU: 100}),
		"PPP pseudowire only":              ids(StaticConfig{PPPServer: true}),
		"negotiates it":                    ids(StaticConfig{Type: PseudowirePPP, MTU: 1400}),
		"an MRU of":                        ids(StaticConfig{Type: PseudowirePPP, PPP: &PPPConfig{MRU: 1}}),
		"found more than one":              ids(StaticConfig{Type: PseudowirePPP, PPP: &PPPConfig{}, PPPServer: true}),
		"found both":                       ids(StaticConfig{Type: PseudowirePPP, RawPPP: true, PPPServer: true}),
		"expected an AnswerConfig":         ids(StaticConfig{Type: PseudowirePPP, PPPServer: true}),
	} {
		synctest.Test(t, func(t *testing.T) {
			e := host(t, simnet.New(1), westAddr, nil)
			defer e.Close()
			if _, err := e.Static(t.Context(), eastAddr, &c); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("got %v, want %q", err, words)
			}
			if st := e.Status(); len(st.Tunnels) != 0 {
				t.Errorf("it has left %+v", st.Tunnels)
			}
		})
	}
}

func TestACaptureOfStaticSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		e := host(t, n, westAddr, nil)
		defer e.Close()
		var file bytes.Buffer
		stop, err := e.Capture(&file)
		if err != nil {
			t.Fatal(err)
		}
		peer := tapped(t, n, eastAddr, westAddr)
		for i, cfg := range []StaticConfig{{Type: PseudowireIP}, {}, {Type: PseudowireVLAN, VLAN: 9}, {Type: PseudowirePPP, RawPPP: true}, {Type: PseudowireHDLC}} {
			cfg.SessionID, cfg.PeerSessionID = uint32(i+1), uint32(i+1)
			s := static(t, e, eastAddr, &cfg)
			s.Attach(nothing)
			inside := frame("inside")
			if cfg.Type == PseudowireIP {
				inside = packet("inside")
			}
			put(s, inside)
			b := make([]byte, 100)
			k, _, err := peer.conn.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			peer.send("", b[:k]) // and back
			synctest.Wait()
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		r, err := pcapng.NewReader(&file)
		if err != nil {
			t.Fatal(err)
		}
		for {
			p, err := r.Next()
			if err != nil {
				break
			}
			got[p.Interface.Name]++
			if want := map[string]pcapng.LinkType{"outer": pcapng.LinkRaw, "inner": pcapng.LinkRaw, "inner ethernet": pcapng.LinkEthernet, "inner ppp": pcapng.LinkPPP}[p.Interface.Name]; p.Interface.Link != want {
				t.Errorf("the link type of %q is %d, want %d", p.Interface.Name, p.Interface.Link, want)
			}
			if p.Interface.Name == "inner ethernet" && binary.BigEndian.Uint16(p.Data[12:]) != 0x88b5 {
				t.Errorf("a frame of %x", p.Data)
			}
		}
		if got["outer"] != 10 || got["inner"] != 2 || got["inner ethernet"] != 4 || got["inner ppp"] != 2 || len(got) != 4 {
			t.Errorf("the capture has %v", got)
		}
	})
}
