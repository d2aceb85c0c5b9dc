package endpoint

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// answeringV3 is a server of both versions.
func answeringV3(t testing.TB, n *simnet.Net, seed uint64, change func(*AnswerConfig)) *Endpoint {
	t.Helper()
	return answering(t, n, seed, func(a *AnswerConfig) {
		a.V3 = &V3Config{RouterID: 2}
		if change != nil {
			change(a)
		}
	})
}

// dialV3 is a tunnel of L2TPv3 to the server.
func dialV3(t *testing.T, e *Endpoint, change func(*TunnelConfig)) *Tunnel {
	t.Helper()
	cfg := &TunnelConfig{Secret: "tunsecret", V3: &V3Config{RouterID: 1}}
	if change != nil {
		change(cfg)
	}
	tun, err := e.Dial(t.Context(), lnsAddr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tun
}

// openV3 is a session in it, and the server's end of it.
func openV3(t *testing.T, tun *Tunnel, server *Endpoint, cfg *PseudowireConfig) (ours, theirs *Session) {
	t.Helper()
	ours, err := tun.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = server.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// wantBothWays has a frame go each way.
func wantBothWays(t *testing.T, a, b *Session, f func(string) []byte) {
	t.Helper()
	toA, atA := collect()
	toB, atB := collect()
	a.Attach(toA)
	b.Attach(toB)
	put(a, f("there"))
	wantPacket(t, atB, f("there"))
	put(b, f("and back"))
	wantPacket(t, atA, f("and back"))
}

func TestV3AnEthernetSession(t *testing.T) {
	for _, secret := range []Secret{"", "tunsecret"} {
		t.Run(fmt.Sprint("secret ", secret != ""), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Secret = secret })
				defer server.Close()
				client := dialling(t, n, 1)
				defer client.Close()
				tun := dialV3(t, client, func(c *TunnelConfig) { c.Secret = secret })
				ours, theirs := openV3(t, tun, server, &PseudowireConfig{RemoteEndID: "red"})
				wantBothWays(t, ours, theirs, frame)
				if c, ok := theirs.Call(); !ok || c.RemoteEndID != "red" || c.Type != PseudowireEthernet || c.PeerName != "lac" {
					t.Errorf("the call is %+v, %v", c, ok)
				}
				if st := tun.Status(); st.Version != 3 || st.PeerName != "lns" || !st.Up || !st.Dialed || len(st.Sessions) != 1 {
					t.Errorf("the tunnel is %+v", st)
				}
				if st := theirs.Status(); st.Type != PseudowireEthernet || st.State != SessionUp || st.Circuit != "active" || st.PeerCircuit != "active" || st.RemoteEndID != "red" {
					t.Errorf("the session is %+v", st)
				}
				if len(theirs.arrival.cookie) != 8 || len(ours.arrival.cookie) != 8 || string(theirs.arrival.cookie) == string(ours.arrival.cookie) {
					t.Errorf("the cookies are %x and %x", ours.arrival.cookie, theirs.arrival.cookie)
				}
				ours.Close()
				<-theirs.Done()
				if c := server.Status().Counters; c.BadDigest != 0 || c.UnknownSession != 0 || c.Malformed != 0 {
					t.Errorf("the server counts %+v", c)
				}
			})
		})
	}
}

// Issue: "PPP over v3, Ethernet, VLAN and IP by negotiation"; "cookies (8 random octets by
// default), sublayer and sequencing negotiated per direction".
func TestV3SessionsOfAllTypes(t *testing.T) {
	inside := map[PseudowireType]func(string) []byte{
		PseudowireEthernet: frame, PseudowireVLAN: frame, PseudowireIP: packet,
		PseudowireHDLC: func(s string) []byte { return []byte(s) }, PseudowirePPP: func(s string) []byte { return append([]byte{0xff, 3, 0, 0x21}, s...) },
	}
	// What each end wants to receive is its own affair.
	ways := []PseudowireConfig{
		{}, {CookieLen: 4, Sublayer: SublayerDefault}, {CookieLen: -1, Sequencing: SequencingRecv}, {Sequencing: SequencingSend}, {Sequencing: SequencingBoth, ReorderTimeout: time.Second},
	}
	for kind, f := range inside {
		for i, here := range ways {
			for j, there := range ways {
				t.Run(fmt.Sprintf("%v %d %d", kind, i, j), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := simnet.New(1)
						server := answeringV3(t, n, 1, func(a *AnswerConfig) {
							a.Pseudowire = func(c Call) (*PseudowireConfig, error) {
								end := there
								end.RawPPP = c.Type == PseudowirePPP
								if c.Type == PseudowireVLAN {
									end.VLAN = 99
								}
								return &end, nil
							}
						})
						defer server.Close()
						client := dialling(t, n, 1)
						defer client.Close()
						cfg := here
						cfg.Type, cfg.RawPPP, cfg.Outgoing = kind, kind == PseudowirePPP, false
						if kind == PseudowireVLAN {
							cfg.VLAN = 7
						}
						ours, theirs := openV3(t, dialV3(t, client, nil), server, &cfg)
						for range 3 {
							wantBothWays(t, ours, theirs, f)
						}
						for s, want := range map[*Session]bool{ours: numbered(there, here), theirs: numbered(here, there)} {
							if got := s.encap.numbered.Load(); got != want {
								t.Errorf("the frames of the end with session %d have numbers: %v, want %v", s.id, got, want)
							}
							if tr := s.Status().Traffic; tr.PacketsIn != 3 || tr.PacketsOut != 3 || tr.DroppedIn+tr.DroppedOut != 0 {
								t.Errorf("a session counts %+v", tr)
							}
						}
						if a, b := ours.Status().Traffic, theirs.Status().Traffic; a.BytesOut != b.BytesIn || b.BytesOut != a.BytesIn {
							t.Errorf("the ends count %+v and %+v", a, b)
						}
					})
				})
			}
		}
	}
}

// numbered tells whether the sender's frames have numbers.
func numbered(receiver, sender PseudowireConfig) bool {
	receiver, sender = receiver.withDefaults(), sender.withDefaults()
	return receiver.Sublayer == SublayerDefault && (receiver.orders() || sender.numbers())
}

// Issue: "PPP over v3"; "in the library the same Dial and Accept as v2".
func TestV3CarriesPPP(t *testing.T) {
	for name, cfg := range map[string]PPPConfig{
		"by a call": {}, "with numbers": {Sequenced: true}, "by a call that is asked for": {Outgoing: &OutgoingCall{Number: "5551234"}}, "encrypted": {MPPE: MPPERequired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.MPPE, a.PlacesCalls = MPPEAllowed, true })
				defer server.Close()
				client := dialling(t, n, 1)
				defer client.Close()
				tun := dialV3(t, client, nil)
				cfg.User, cfg.Password = "alice", "wrong"
				if _, err := tun.OpenPPP(t.Context(), &cfg); err == nil {
					t.Fatal("a wrong password was accepted")
				}
				cfg.Password = "s3cret"
				ours, err := tun.OpenPPP(t.Context(), &cfg)
				if err != nil {
					t.Fatal(err)
				}
				theirs, err := server.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if theirs.User() != "alice" || ours.Addresses()[0].Addr() != theirs.PeerAddress() || ours.Type() != PseudowirePPP {
					t.Errorf("%q is at %v, and thinks that it is at %v", theirs.User(), theirs.PeerAddress(), ours.Addresses())
				}
				wantBothWays(t, ours, theirs, packet)
				if numbers := theirs.encap.numbered.Load(); numbers != cfg.Sequenced {
					t.Errorf("the frames that we get have numbers: %v", numbers)
				}
				time.Sleep(10 * time.Minute) // with echoes, Hellos and ACKs
				wantBothWays(t, ours, theirs, packet)
				if out, in := ours.Status().Traffic.BytesOut, theirs.Status().Traffic.BytesIn; out != in || out == 0 {
					t.Errorf("%d bytes have gone out and %d come in", out, in)
				}
				server.Close()
				<-ours.Done()
				wantPeer("CDN", wire.CallAdministrative)(t, ours.Err())
			})
		})
	}
}

// Issue: "Remote End ID matched against configuration".
func TestV3RemoteEndIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, func(a *AnswerConfig) {
			a.Authenticate, a.Pool = nil, nil
			a.Pseudowire = func(c Call) (*PseudowireConfig, error) {
				switch c.RemoteEndID {
				case "red\x00":
					return nil, nil
				case "blue":
					return &PseudowireConfig{VLAN: 5, MTU: 1400}, nil
				}
				return nil, errors.New("no such circuit")
			}
		})
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		tun := dialV3(t, client, nil)
		for _, c := range []struct {
			cfg    PseudowireConfig
			result uint16 // 0: it is taken
		}{
			{PseudowireConfig{RemoteEndID: "red\x00"}, 0},
			{PseudowireConfig{RemoteEndID: "red"}, wire.CallNoFacilitiesEver},
			{PseudowireConfig{}, wire.CallNoFacilitiesEver},
			{PseudowireConfig{RemoteEndID: "blue"}, wire.CallNoFacilitiesEver}, // an Ethernet has no VLAN
			{PseudowireConfig{RemoteEndID: "blue", Type: PseudowireVLAN, VLAN: 9}, 0},
			{PseudowireConfig{RemoteEndID: "red\x00", Type: PseudowireVLAN, VLAN: 9}, wire.CallNoFacilitiesEver},
			{PseudowireConfig{RemoteEndID: "blue", Type: PseudowireVLAN, VLAN: 9, MTU: 1400}, 0},
			{PseudowireConfig{RemoteEndID: "blue", Type: PseudowireVLAN, VLAN: 9, MTU: 1300}, wire.CallMTU},
			{PseudowireConfig{RemoteEndID: "red\x00", Type: PseudowirePPP}, wire.CallNoFacilitiesEver}, // nobody to end it
		} {
			s, err := tun.Open(t.Context(), &c.cfg)
			if c.result != 0 {
				wantPeer("CDN", c.result)(t, err)
				continue
			}
			if err != nil {
				t.Errorf("%+v: %v", c.cfg, err)
				continue
			}
			theirs, err := server.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wantBothWays(t, s, theirs, frame)
		}
		// RFC 3931 §5.4.4: not asked for, since the peer has not told it.
		if _, err := tun.Open(t.Context(), &PseudowireConfig{Type: 1}); err == nil {
			t.Error("frame relay was opened")
		} else if _, ok := errors.AsType[*RefusedError](err); !ok {
			t.Errorf("frame relay: %v (%T)", err, err)
		}
	})
}

// "all data traffic for that session MUST cease (or not begin) in the direction of the
// sender of the Circuit Status AVP until the circuit is advertised as active" (RFC 3931
// §5.4.5).
func TestV3CircuitStatusIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, nil)
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		ours, theirs := openV3(t, dialV3(t, client, nil), server, nil)
		sink, got := collect()
		ours.Attach(sink)
		for range 3 {
			ours.SetCircuit(false)
			time.Sleep(time.Second)
			if a, b := ours.Status(), theirs.Status(); a.Circuit != "inactive" || b.PeerCircuit != "inactive" || b.Circuit != "active" || a.PeerCircuit != "active" {
				t.Errorf("one end is %+v, the other %+v", a, b)
			}
			before := theirs.Status().Traffic
			put(theirs, frame("nobody wants this"))
			time.Sleep(time.Second)
			if after := theirs.Status().Traffic; after.CircuitDiscards != before.CircuitDiscards+1 || after.DroppedOut != before.DroppedOut+1 || after.PacketsOut != before.PacketsOut || len(got) != 0 {
				t.Errorf("%+v before, %+v after it; %d came", before, after, len(got))
			}
			toServer, atServer := collect()
			theirs.Attach(toServer)
			put(ours, frame("the other way"))
			wantPacket(t, atServer, frame("the other way"))
			ours.SetCircuit(true)
			time.Sleep(time.Second)
			put(theirs, frame("again"))
			wantPacket(t, got, frame("again"))
		}
	})
}

// Issue of static pseudowires: "counters and circuit status across" a switch.
func TestV3SwitchesPassCircuitStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		middle := answeringV3(t, n, 1, nil)
		defer middle.Close()
		west, east := dialling(t, n, 1), host(t, n, farAddr, &Config{HostName: "east", Rand: random(1, 'e'), Logger: testLogger(t, "east")})
		defer west.Close()
		defer east.Close()
		a, inA := openV3(t, dialV3(t, west, nil), middle, &PseudowireConfig{RemoteEndID: "a"})
		b, inB := openV3(t, dialV3(t, east, nil), middle, &PseudowireConfig{RemoteEndID: "b", Sequencing: SequencingBoth})
		a.SetCircuit(false) // before the switch
		time.Sleep(time.Second)
		if err := Switch(inA, inB); err != nil {
			t.Fatal(err)
		}
		status := func(s *Session) string { time.Sleep(time.Second); return s.Status().PeerCircuit }
		if got := status(b); got != "inactive" {
			t.Errorf("b is told %q of a's circuit", got)
		}
		a.SetCircuit(true)
		if got := status(b); got != "active" {
			t.Errorf("b is told %q of a's circuit", got)
		}
		wantBothWays(t, a, b, frame)
		b.SetCircuit(false)
		if got := status(a); got != "inactive" {
			t.Errorf("a is told %q of b's circuit", got)
		}
		inA.Attach(nothing) // which parts them
		if got := status(a); got != "active" {
			t.Errorf("a is told %q of a circuit that is no more b's", got)
		}
		if err := Switch(inA, inB); err != nil {
			t.Fatal(err)
		}
		b.Close()
		<-a.Done()
		wantPeer("CDN", wire.CallAdministrative)(t, a.Err()) // as b has said
	})
}

// One switch between any pair of kinds: what is negotiated, and what is not.
func TestV3SwitchedToAStaticSessionAndToL2TPv2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		middle := answeringV3(t, n, 1, func(a *AnswerConfig) { a.RawPPP = func(Call) bool { return true } })
		defer middle.Close()
		lns := far(t, n)
		defer lns.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		tun := dialV3(t, client, nil)
		ours, in := openV3(t, tun, middle, nil)
		cfg := StaticConfig{SessionID: 5, PeerSessionID: 6}
		if err := Switch(in, static(t, middle, farAddr, &cfg)); err != nil {
			t.Fatal(err)
		}
		wantBothWays(t, ours, static(t, lns, lnsAddr, opposite(cfg)), frame)

		calling := make(chan *Session, 1)
		go func() {
			s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
			if err != nil {
				t.Error(err)
			}
			calling <- s
		}()
		in, err := middle.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		onward, err := middle.Dial(t.Context(), farAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		out, err := onward.OpenRawPPP(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if err := Switch(in, out); err != nil {
			t.Fatal(err)
		}
		server, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantBothWays(t, <-calling, server, packet)
	})
}
