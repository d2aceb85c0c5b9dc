package endpoint

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
)

// joined is a session up between two endpoints, and everything that went over the
// network between them.
func joined(t *testing.T, answer func(*AnswerConfig), cfg PPPConfig) (client, server *Session, sent func(text string) bool, done func()) {
	t.Helper()
	n := simnet.New(1)
	var wire [][]byte
	n.SetTap(func(r simnet.Record) {
		if r.Fate == simnet.Sent {
			wire = append(wire, bytes.Clone(r.Payload))
		}
	})
	lns, lac := answering(t, n, 1, answer), dialling(t, n, 1)
	tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.User, cfg.Password = "alice", "s3cret"
	if client, err = tun.OpenPPP(t.Context(), &cfg); err != nil {
		t.Fatal(err)
	}
	if server, err = lns.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent = func(text string) bool {
		for _, p := range wire {
			if bytes.Contains(p, []byte(text)) {
				return true
			}
		}
		return false
	}
	return client, server, sent, func() { lac.Close(); lns.Close() }
}

func packet6(text string) []byte { return append([]byte{0x60}, text...) }

func TestIPv4AndIPv6InOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, _, done := joined(t, nil, PPPConfig{})
		defer done()
		local, peer := client.InterfaceIDs()
		if theirs, ours := server.InterfaceIDs(); local == [8]byte{} || local != ours || peer != theirs || local == peer {
			t.Errorf("interface identifiers %x %x, and %x %x at the other end", local, peer, theirs, ours)
		}
		toClient, atClient := collect()
		toServer, atServer := collect()
		client.Attach(toClient)
		server.Attach(toServer)
		for _, p := range [][]byte{packet("four"), packet6("six")} {
			put(client, p)
			put(server, p)
			wantPacket(t, atServer, p)
			wantPacket(t, atClient, p)
		}
	})
}

// "The Sequencing Required AVP ... indicates to the LNS that Sequence Numbers MUST
// always be present on the data channel." (RFC 2661 §4.4.6)
func TestSequencedBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sequenced := range []bool{false, true} {
			client, server, sent, done := joined(t, nil, PPPConfig{Sequenced: sequenced})
			toClient, atClient := collect()
			toServer, atServer := collect()
			client.Attach(toClient)
			server.Attach(toServer)
			put(client, packet("up"))
			put(server, packet("down"))
			wantPacket(t, atServer, packet("up"))
			wantPacket(t, atClient, packet("down"))
			// Nr, which is zero in data messages, the address, the control, the
			// protocol and the packet.
			for _, p := range []string{"up", "down"} {
				if found := sent("\x00\x00\xff\x03\x00\x21" + string(packet(p))); found != sequenced {
					t.Errorf("sequenced %v: %q is numbered: %v", sequenced, p, found)
				}
			}
			done()
		}
	})
}

func TestWithoutIPv6(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*AnswerConfig)
		cfg    PPPConfig
	}{
		{"the client does not want it", nil, PPPConfig{NoIPv6: true}},
		{"the server does not want it", func(a *AnswerConfig) { a.NoIPv6 = true }, PPPConfig{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, _, done := joined(t, c.answer, c.cfg)
				defer done()
				if local, _ := client.InterfaceIDs(); local != [8]byte{} {
					t.Errorf("an interface identifier: %x", local)
				}
				toServer, atServer := collect()
				server.Attach(toServer)
				put(client, packet6("six"))
				put(client, packet("four"))
				wantPacket(t, atServer, packet("four"))
				if tr := client.Status().Traffic; tr.DroppedOut != 1 || tr.PacketsOut != 1 {
					t.Errorf("the client counts %+v", tr)
				}
			})
		})
	}
}

func TestMPPEEncryptsWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = "nobody should read this on the way"
		client, server, sent, done := joined(t, func(a *AnswerConfig) { a.MPPE = MPPEAllowed }, PPPConfig{MPPE: MPPERequired})
		defer done()
		if e := server.Status().Encryption; e != "MPPE 128 bit" {
			t.Errorf("encryption %q, want 128 bit", e)
		}
		toClient, atClient := collect()
		toServer, atServer := collect()
		client.Attach(toClient)
		server.Attach(toServer)
		for range 100 {
			put(client, packet(text))
			put(server, packet6(text))
			wantPacket(t, atServer, packet(text))
			wantPacket(t, atClient, packet6(text))
		}
		if sent(text) {
			t.Error("the text went over the network in clear")
		}
		if !sent("alice") {
			t.Error("the network is not watched: the user's name, which goes in clear, was not seen")
		}
		// What comes in clear is not taken.
		clear := *server.carries.Load()
		clear.encryption = nil
		server.carries.Store(&clear)
		put(server, packet("in clear"))
		time.Sleep(time.Second)
		if len(atClient) != 0 {
			t.Errorf("a packet in clear was taken: %q", <-atClient)
		}
	})
}

func TestMPPEWhereTheOtherDoesNotHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret", MPPE: MPPERequired})
		if _, ok := errors.AsType[*PPPError](err); !ok {
			t.Errorf("got %v (%T), want a *PPPError", err, err)
		}
		t.Log(err)
		client, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret", MPPE: MPPEAllowed})
		if err != nil {
			t.Fatal(err)
		}
		if e := client.Status().Encryption; e != "none" {
			t.Errorf("encryption %q, want none", e)
		}
	})
}
