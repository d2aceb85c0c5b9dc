package control

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// recorded is a control message of a capture, not a ZLB.
type recorded struct {
	wire.Header
	*wire.Message
}

func (r recorded) String() string {
	return fmt.Sprintf("%v ns=%d to %d/%d", r.Type, r.Ns, r.TunnelID, r.SessionID)
}

func parseControl(t *testing.T, datagram []byte) (r recorded, ok bool) {
	t.Helper()
	h, avps, err := wire.ParseHeader(datagram)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Control || len(avps) == 0 {
		return recorded{}, false
	}
	m, err := wire.ParseMessage(avps, nil)
	if err != nil {
		t.Fatal(err)
	}
	return recorded{h, m}, true
}

// Our machine takes the place of one of the live peers in each recording, hears
// what the other one said when it said it, and must say what the live one said:
// the same messages in the same order to the same ids with the same Ns, until
// tunnel and session are up, and down again. Our ids are the recorded ones.
func TestCaptures(t *testing.T) {
	for _, name := range capture.Names() {
		for _, role := range []struct {
			name string
			addr netip.Addr
		}{
			{"LAC", netip.MustParseAddr("10.99.0.3")},
			{"LNS", netip.MustParseAddr("10.99.0.2")},
		} {
			t.Run(name+" as "+role.name, func(t *testing.T) { replay(t, capture.Load(t, name), role.addr) })
		}
	}
}

func replay(t *testing.T, packets []capture.Packet, us netip.Addr) {
	var live, peer []recorded // what was said by whom we replace, and to it
	for _, p := range packets {
		if r, ok := parseControl(t, p.Payload); ok && p.Src.Addr() == us {
			live = append(live, r)
		} else if ok {
			peer = append(peer, r)
		}
	}
	session := func(said []recorded) recorded {
		return said[slices.IndexFunc(said, func(r recorded) bool { return r.AssignedSessionID != 0 })]
	}
	ours, theirs := session(live), session(peer)

	// What is drawn: the serial number of the first call, and a session id.
	var drawn bytes.Buffer
	binary.Write(&drawn, binary.BigEndian, []uint32{ours.CallSerialNumber, ours.AssignedSessionID})
	cfg := Config{Rand: &drawn, LocalID: live[0].AssignedTunnelID}

	var m *Tunnel
	var events []string
	var sent []recorded
	now := packets[0].Time
	drain := func() {
		for {
			packet, event, ok := m.Next()
			if !ok {
				return
			}
			if event == nil {
				if r, ok := parseControl(t, packet); ok {
					sent = append(sent, r)
				}
			} else if call, ok := event.(IncomingCall); ok {
				m.AcceptCall(now, call.Session)
			} else {
				events = append(events, describe(event))
			}
		}
	}
	pass := func(end time.Time) {
		for at := m.Deadline(); !at.IsZero() && !at.After(end); at = m.Deadline() {
			now = at
			m.Expire(now)
			drain()
		}
		now = end
	}

	if live[0].Type == wire.SCCRQ {
		m = Dial(now, cfg)
		m.Call(now, CallConfig{})
	} else {
		m = Answer(now, cfg)
	}
	drain()
	for _, p := range packets {
		pass(p.Time)
		r, ok := parseControl(t, p.Payload)
		switch {
		case p.Payload[0]&0x80 == 0: // data
		case p.Src.Addr() != us:
			m.Handle(now, p.Payload)
			clear(p.Payload) // it was valid during the call only
			drain()
		case ok:
			if r.Type == wire.StopCCN {
				m.Close(now, r.Result)
				drain()
			}
			if len(sent) == 0 || sent[0].String() != r.String() {
				t.Fatalf("at %v the live peer sent %v, and we %v", now.Sub(packets[0].Time), r, sent)
			}
			sent = sent[1:]
		}
	}

	want := []string{
		fmt.Sprintf("TunnelUp peer=%d %s", peer[0].AssignedTunnelID, peer[0].HostName),
		fmt.Sprintf("SessionUp %d peer=%d", ours.AssignedSessionID, theirs.AssignedSessionID),
	}
	end := func(err string) {
		want = append(want, fmt.Sprintf("SessionDown %d %s", ours.AssignedSessionID, err), "TunnelDown "+err, "Gone")
	}
	if live[len(live)-1].Type == wire.StopCCN {
		end("<nil>")
	} else if peer[len(peer)-1].Type == wire.StopCCN {
		end(`the peer ended the tunnel: result 1: control connection cleared on request; "Server closing"`)
		pass(now.Add(cycle))
	}
	if !slices.Equal(events, want) || len(sent) > 0 {
		t.Errorf("the machine told %q and sent %v beyond the recording, expected to be told %q", events, sent, want)
	}
}
