package endpoint

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

const farAddr = "192.0.2.30:1701"

// An aggregator accepts calls whose PPP passes as it is, at lnsAddr.
func aggregating(t *testing.T, n *simnet.Net) *Endpoint {
	t.Helper()
	return host(t, n, lnsAddr, &Config{HostName: "lts", Rand: random(1, 't'), Logger: testLogger(t, "lts"), Answer: &AnswerConfig{RawPPP: func(Call) bool { return true }}})
}

// far is a network server behind it.
func far(t *testing.T, n *simnet.Net) *Endpoint {
	t.Helper()
	return host(t, n, farAddr, &Config{HostName: "far", Rand: random(1, 'f'), Logger: testLogger(t, "far"), Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t)}})
}

// calls opens a session from a LAC, in the background: it is up when the switch is made.
func callOf(t *testing.T, lac *Endpoint) <-chan *Session {
	t.Helper()
	tun, err := lac.Dial(t.Context(), lnsAddr, nil)
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan *Session, 1)
	go func() {
		s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
		if err != nil {
			t.Error(err)
		}
		up <- s
	}()
	return up
}

func wantSwitchError(t *testing.T, who string, s *Session) {
	t.Helper()
	<-s.Done()
	if _, ok := errors.AsType[*SwitchError](s.Err()); !ok {
		t.Errorf("%s ended with %v, want a *SwitchError", who, s.Err())
	}
}

func TestTunnelSwitching(t *testing.T) {
	// Issue: "Tunnel switching in the library and the config to come: frames of one
	// session to another, any pair of versions with the same type; counters and circuit
	// status across."
	for name, onward := range map[string]func(t *testing.T, lts, lns *Endpoint, in *Session) (out *Session, server <-chan *Session){
		"version 2 to 2": func(t *testing.T, lts, lns *Endpoint, in *Session) (*Session, <-chan *Session) {
			tun, err := lts.Dial(t.Context(), farAddr, &TunnelConfig{Secret: "tunsecret"})
			if err != nil {
				t.Fatal(err)
			}
			out, err := tun.OpenRawPPP(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			server := make(chan *Session, 1)
			go func() { s, _ := lns.Accept(t.Context()); server <- s }()
			return out, server
		},
		"version 2 to 3": func(t *testing.T, lts, lns *Endpoint, in *Session) (*Session, <-chan *Session) {
			cfg := StaticConfig{Type: PseudowirePPP, SessionID: 1, PeerSessionID: 2, Cookie: []byte("12345678"), Sequencing: SequencingBoth, RawPPP: true}
			server := make(chan *Session, 1)
			go func() {
				end := *opposite(cfg)
				end.RawPPP, end.PPPServer = false, true
				s, _ := lns.Static(t.Context(), lnsAddr, &end)
				server <- s
			}()
			return static(t, lts, farAddr, &cfg), server
		},
	} {
		for _, ending := range []string{"the client", "the server", "the aggregator"} {
			t.Run(name+", "+ending+" ends it", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(1)
					lac, lts, lns := dialling(t, n, 1), aggregating(t, n), far(t, n)
					defer lac.Close()
					defer lts.Close()
					defer lns.Close()
					calling := callOf(t, lac)
					in, err := lts.Accept(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if c, ok := in.Call(); !ok || c.PeerName != "lac" || c.Peer.String() != lacAddr || in.Type() != PseudowirePPP || in.MTU() == 0 {
						t.Errorf("the call is %+v, its type %v, MTU %d", c, in.Type(), in.MTU())
					}
					out, waiting := onward(t, lts, lns, in)
					if err := Switch(in, out); err != nil {
						t.Fatal(err)
					}
					client, server := <-calling, <-waiting
					if server.User() != "alice" || client.Addresses()[0].Addr() != server.PeerAddress() {
						t.Errorf("the server knows %q at %v, the client is at %v", server.User(), server.PeerAddress(), client.Addresses())
					}
					toClient, atClient := collect()
					toServer, atServer := collect()
					client.Attach(toClient)
					server.Attach(toServer)
					put(client, packet("up"))
					wantPacket(t, atServer, packet("up"))
					put(server, packet("down"))
					wantPacket(t, atClient, packet("down"))
					synctest.Wait()
					a, b := in.Status().Traffic, out.Status().Traffic
					if a.PacketsIn != b.PacketsOut || b.PacketsIn != a.PacketsOut || a.BytesIn != b.BytesOut || a.PacketsIn < 5 || a.DroppedIn+a.DroppedOut+b.DroppedIn+b.DroppedOut != 0 {
						t.Errorf("one side counts %+v, the other %+v", a, b)
					}
					switch ending {
					case "the client":
						client.Close()
						wantSwitchError(t, "the session to the server", out)
					case "the server":
						server.Close()
						<-client.Done()
						<-in.Done()
						<-out.Done() // told by the server, or with the other
					case "the aggregator":
						out.Close()
						wantSwitchError(t, "the session to the client", in)
						<-client.Done()
						wantPeer("CDN", wire.CallLostCarrier)(t, client.Err())
						if name == "version 2 to 3" {
							server.Close() // it cannot be told
						}
					}
					<-client.Done()
					<-server.Done()
				})
			})
		}
	}
}

func TestASwitchedCallTellsWhatItWasTold(t *testing.T) {
	// RFC 2661 §4.4.5: an LNS may be told what the LAC has negotiated; §4.4.4: the numbers.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lts := aggregating(t, n)
		defer lts.Close()
		asked := make(chan Call, 1)
		lns := host(t, n, farAddr, &Config{Rand: random(1, 'f'), Answer: &AnswerConfig{RawPPP: func(c Call) bool { asked <- c; return true }}})
		defer lns.Close()
		s := scripted(t, n)
		s.tunnel()
		s.send(0, &wire.Message{Type: wire.ICRQ, AssignedSessionID: 9, CallSerialNumber: 1, CalledNumber: "100", CallingNumber: "200", SubAddress: "3"})
		session := s.want(wire.ICRP).AssignedSessionID
		iccn := &wire.Message{Type: wire.ICCN, TxConnectSpeed: 64000, FramingType: wire.FramingSync, SequencingRequired: true,
			ProxyAuthenType: wire.ProxyAuthenPAP, ProxyAuthenName: "alice", ProxyAuthenResponse: []byte("s3cret")}
		iccn.Set(wire.AVPProxyAuthenID)
		s.send(session, iccn)
		in, err := lts.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tun, err := lts.Dial(t.Context(), farAddr, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := tun.OpenRawPPP(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if c := <-asked; c.CalledNumber != "100" || c.ProxyUser != "" {
			t.Errorf("asked about %+v", c)
		}
		end, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, ok := end.Call()
		if !ok || c.CalledNumber != "100" || c.CallingNumber != "200" || c.SubAddress != "3" || c.ProxyUser != "alice" || c.PeerName != "lts" {
			t.Errorf("the call is %+v", c)
		}
		if end.raw.line.TxConnectSpeed != 64000 || !end.raw.line.SequencingRequired || string(end.raw.line.Proxy.ProxyAuthenResponse) != "s3cret" {
			t.Errorf("the line is %+v", end.raw.line)
		}
		if _, ok := out.Call(); ok {
			t.Error("what we have opened is no call of a peer's")
		}
		out.Close()
		<-end.Done()
		wantPeer("CDN", 3)(t, end.Err())
		if in.Err() != nil {
			t.Errorf("a session that was not switched has ended: %v", in.Err())
		}
	})
}

func TestASwitchTellsWhatIsToldOfTheLine(t *testing.T) {
	// Issue: "counters and circuit status across." RFC 2661 §6.13: "This message should
	// only be sent when an error occurs, and not more than once every 60 seconds."
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lts := aggregating(t, n)
		defer lts.Close()
		lac := scripted(t, n)
		lac.tunnel()
		session := lac.call()
		lac.send(session, &wire.Message{Type: wire.ICCN, TxConnectSpeed: 64000, FramingType: wire.FramingSync})
		in, err := lts.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		conn, err := n.Listen(farAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		lns := &script{t: t, conn: conn, to: lac.to} // whom the aggregator calls
		opened := make(chan *Session, 1)
		go func() {
			tun, err := lts.Dial(t.Context(), farAddr, nil)
			if err != nil {
				t.Error(err)
				return
			}
			out, err := tun.OpenRawPPP(t.Context(), in)
			if err != nil {
				t.Error(err)
			}
			opened <- out
		}()
		lns.peer = lns.want(wire.SCCRQ).AssignedTunnelID
		lns.send(0, &wire.Message{Type: wire.SCCRP, ProtocolVersion: wire.ProtocolVersion, FramingCapabilities: wire.FramingSync, HostName: "lns", AssignedTunnelID: 3})
		lns.want(wire.SCCCN)
		icrq := lns.want(wire.ICRQ)
		lns.send(icrq.AssignedSessionID, &wire.Message{Type: wire.ICRP, AssignedSessionID: 4})
		lns.want(wire.ICCN)
		out := <-opened
		if err := Switch(in, out); err != nil {
			t.Fatal(err)
		}

		wen := func(crc uint32) {
			m := &wire.Message{Type: wire.WEN, CallErrors: wire.CallErrors{CRC: crc, Timeouts: 2}}
			lac.send(session, m)
			synctest.Wait()
		}
		wen(1)
		if m := lns.want(wire.WEN); m.CallErrors != (wire.CallErrors{CRC: 1, Timeouts: 2}) {
			t.Errorf("the LNS was told of %+v", m.CallErrors)
		}
		acknowledge := func(s *script) { s.write(wire.AppendControlHeader(nil, s.peer, 0, s.ns, s.nr)) }
		acknowledge(lns)
		for crc := range uint32(30) {
			wen(crc)
		}
		lns.wantSilence()
		sli := &wire.Message{Type: wire.SLI, ACCM: wire.ACCM{Send: 0x0a0000, Receive: 0xffffffff}}
		lns.send(icrq.AssignedSessionID, sli)
		if m := lac.want(wire.SLI); m.ACCM != sli.ACCM {
			t.Errorf("the LAC was told of %+v", m.ACCM)
		}
		acknowledge(lac)
		time.Sleep(time.Minute)
		wen(77)
		for h, avps, ok := lns.next(); ; h, avps, ok = lns.next() {
			if !ok {
				t.Fatal("a minute later the LNS was told of no errors")
			}
			acknowledge(lns)
			if m, err := wire.ParseMessage(avps, nil); err == nil && h.Control && m.Type == wire.WEN {
				if m.CallErrors.CRC != 77 {
					t.Errorf("a minute later the LNS was told of %+v", m.CallErrors)
				}
				break
			}
		}
		if in.Err() != nil || out.Err() != nil {
			t.Errorf("the sessions have ended: %v, %v", in.Err(), out.Err())
		}
	})
}

func TestSwitchingFramesOfStaticSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		hub := host(t, n, lnsAddr, nil)
		defer hub.Close()
		west, east := tapped(t, n, westAddr, lnsAddr), tapped(t, n, eastAddr, lnsAddr)
		a := static(t, hub, westAddr, &StaticConfig{SessionID: 1, PeerSessionID: 2})
		b := static(t, hub, eastAddr, &StaticConfig{SessionID: 3, PeerSessionID: 4, Cookie: []byte("abcd"), Sequencing: SequencingSend})
		west.send("00030000 00000001", frame("waits"))
		synctest.Wait()
		if err := Switch(a, b); err != nil {
			t.Fatal(err)
		}
		east.want("00030000 00000004 61626364 40000000", frame("waits"))
		long := frame(string(make([]byte, 1700))) // longer than the path's MTU
		west.send("00030000 00000001", long)
		east.want("00030000 00000004 61626364 40000001", long)
		east.send("00030000 00000003 00000000", frame("back"))
		west.want("00030000 00000002", frame("back"))

		sink, got := collect()
		a.Attach(sink) // which parts them
		west.send("00030000 00000001", frame("here"))
		wantPacket(t, got, frame("here"))
		east.send("00030000 00000003 00000000", frame("nowhere"))
		west.wantNothing()
		a.Close()
		if b.Err() != nil {
			t.Errorf("parted, it has ended with the other: %v", b.Err())
		}
		if err := Switch(a, b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("with a session that is over: %v", err)
		}
		wantSwitchError(t, "the other", b)
	})
}

func TestSwitchesThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		client, _ := calling(t, lac, lns, lnsAddr)
		ethernet := static(t, lac, lnsAddr, &StaticConfig{SessionID: 1, PeerSessionID: 2})
		ip := static(t, lac, lnsAddr, &StaticConfig{Type: PseudowireIP, SessionID: 2, PeerSessionID: 2})
		raw := static(t, lac, lnsAddr, &StaticConfig{Type: PseudowirePPP, RawPPP: true, SessionID: 3, PeerSessionID: 2})
		for _, pair := range [][2]*Session{{client, raw}, {raw, client}, {ethernet, ip}, {raw, raw}} {
			if err := Switch(pair[0], pair[1]); err == nil {
				t.Errorf("switched a session of %v to one of %v", pair[0].Type(), pair[1].Type())
			}
		}
		if _, err := ethernet.Tunnel().OpenRawPPP(t.Context(), nil); !errors.Is(err, ErrStatic) {
			t.Errorf("a call without a control connection: %v", err)
		}
		time.Sleep(time.Minute)
		if client.Err() != nil || raw.Err() != nil {
			t.Error("a session has ended")
		}
	})
}

// Sessions whose PPP passes are not held for strangers' once they stand.
func TestManySwitchedSessionsInATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lts, lac := aggregating(t, n), dialling(t, n, 1)
		defer lts.Close()
		defer lac.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := tun.OpenRawPPP(t.Context(), nil); err != nil {
				t.Fatalf("session %d: %v", i+1, err)
			}
			if _, err := lts.Accept(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Who cannot end PPP refuses calls that are not to pass.
func TestCallsThatNeitherEndNorPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lts := host(t, n, lnsAddr, &Config{Rand: random(1, 't'), Answer: &AnswerConfig{RawPPP: func(Call) bool { return false }}})
		defer lts.Close()
		lac := dialling(t, n, 1)
		defer lac.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tun.OpenPPP(t.Context(), nil)
		wantPeer("CDN", wire.CallNoFacilitiesEver)(t, err)
	})
}
