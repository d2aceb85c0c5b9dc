package endpoint

import (
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// asCisco writes AVPs as Cisco does by its draft: those that RFC 3931 added are of vendor 9,
// with other numbers, and there is a version of the draft, but no Router ID.
func asCisco(avps []byte) (b []byte) {
	numbers := map[wire.AVPType]uint16{59: 12, 61: 1, 62: 2, 63: 3, 64: 4, 65: 5, 66: 6, 68: 7, 71: 8, 73: 13, 91: 14}
	add := func(mandatory bool, vendor, kind uint16, value []byte) {
		bits := uint16(6 + len(value))
		if mandatory {
			bits |= 0x8000
		}
		b = binary.BigEndian.AppendUint16(b, bits)
		b = binary.BigEndian.AppendUint16(b, vendor)
		b = binary.BigEndian.AppendUint16(b, kind)
		b = append(b, value...)
	}
	opens := false
	for d := wire.NewAVPs(avps); d.Next(); {
		a := d.AVP()
		n, ciscos := numbers[a.Type]
		switch {
		case a.Type == wire.AVPRouterID:
			opens = true
		case ciscos:
			add(a.Mandatory, 9, n, a.Value)
		default:
			add(a.Mandatory, 0, uint16(a.Type), a.Value)
		}
	}
	if opens {
		add(true, 9, 10, []byte{0, 1})
	}
	return b
}

// asYAMAHA writes AVPs as YAMAHA's routers do: a vendor's name, a Router ID of 0, no window.
func asYAMAHA(avps []byte) (b []byte) {
	for d := wire.NewAVPs(avps); d.Next(); {
		a := d.AVP()
		if a.Type == wire.AVPRouterID {
			name := "YAMAHA Corporation"
			b = append(append(b, 0, byte(6+len(name)), 0, 0, 0, 8), name...)
			a.Value = make([]byte, 4)
		}
		b = append(b, 0x80, byte(6+len(a.Value)), 0, 0, 0, byte(a.Type))
		b = append(b, a.Value...)
	}
	return b
}

// Issue: "Cisco's draft vendor-9 AVPs and YAMAHA's habits accepted", whoever dials, with a
// secret and without.
func TestV3VendorsForms(t *testing.T) {
	for name, form := range map[string]func([]byte) []byte{"Cisco": asCisco, "YAMAHA": asYAMAHA} {
		for _, secret := range []Secret{"", "tunsecret"} {
			t.Run(name+" "+string(secret), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(1)
					server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Secret = secret })
					defer server.Close()
					s := scriptedV3(t, n)
					s.form, s.secret = form, string(secret)
					s.tunnel(0x7654321)
					icrp := s.call(9, 5) // with Circuit Status 3, active and new
					s.write(&wire.Message{Type: wire.ICCN, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: icrp.AssignedSessionID}})
					session, err := server.Accept(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if st := session.Status(); st.RemoteEndID != "any" || st.PeerID != 9 || st.PeerCircuit != "active" || st.Type != PseudowireEthernet {
						t.Errorf("the session is %+v", st)
					}
					put(session, frame("out"))
					if got, want := s.wantData(), "000300000000000901020304"; got[:len(want)] != want {
						t.Errorf("sent %s, want %s and the frame", got, want)
					}
					m := &wire.Message{Type: wire.SLI, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: icrp.AssignedSessionID}}
					m.Set(wire.AVPCircuitStatus)
					s.write(m)
					synctest.Wait()
					if st := session.Status(); st.PeerCircuit != "inactive" {
						t.Errorf("after an SLI the session is %+v", st)
					}
					s.write(&wire.Message{Type: wire.CDN, AssignedSessionID: 9, Result: wire.Result{Code: wire.CallAdministrative}, V3: wire.V3{RemoteSessionID: icrp.AssignedSessionID}})
					<-session.Done()
					wantPeer("CDN", wire.CallAdministrative)(t, session.Err())
					if c := server.Status().Counters; c.BadDigest != 0 || c.Malformed != 0 {
						t.Errorf("the server counts %+v", c)
					}
				})
			})
		}
	}
}

// The other role: we dial them.
func TestV3VendorsAnswer(t *testing.T) {
	for name, form := range map[string]func([]byte) []byte{"Cisco": asCisco, "YAMAHA": asYAMAHA} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				client := dialling(t, n, 1)
				s := &script3{wiretap: tapped(t, n, lnsAddr, lacAddr), form: form, secret: "tunsecret"}
				done := make(chan struct{})
				go func() {
					defer close(done)
					sccrq := s.wantMessage(wire.SCCRQ)
					s.peer, s.nonce = sccrq.AssignedTunnelID, sccrq.Nonce
					m := sccrqV3(0x7654321)
					m.Type = wire.SCCRP
					s.write(m)
					s.wantMessage(wire.SCCCN)
					icrq := s.wantMessage(wire.ICRQ)
					s.write(&wire.Message{Type: wire.ICRP, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: icrq.AssignedSessionID, CircuitStatus: 3, AssignedCookie: []byte("12345678")}})
					s.wantMessage(wire.ICCN)
					s.wantData()
					s.write(&wire.Message{Type: wire.StopCCN, AssignedTunnelID: 0x7654321, Result: wire.Result{Code: 6}})
				}()
				tun := dialV3(t, client, nil)
				session, err := tun.Open(t.Context(), &PseudowireConfig{RemoteEndID: "any"})
				if err != nil {
					t.Fatal(err)
				}
				if tun.PeerID() != 0x7654321 || session.Status().PeerID != 9 || session.Status().PeerCircuit != "active" {
					t.Errorf("the tunnel is %+v", tun.Status())
				}
				put(session, frame("out"))
				<-done
				<-tun.Done()
				wantPeer("StopCCN", 6)(t, tun.Err())
				client.Close()
				if c := client.Status().Counters; c.BadDigest != 0 || c.Malformed != 0 {
					t.Errorf("it counts %+v", c)
				}
			})
		})
	}
}
