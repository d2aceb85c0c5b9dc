package endpoint

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// Somebody who does not know the secret, and is dialled, dials back with the challenge
// that he got: the response would be the one that he owes.
func TestOurOwnChallengeIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		e := answering(t, n, 1, nil)
		defer e.Close()
		dialled := scripted(t, n)
		conn, err := n.Listen("192.0.2.66:1701")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		dials := &script{t: t, conn: conn, to: dialled.to}

		failed := make(chan error, 1)
		go func() {
			_, err := e.Dial(t.Context(), lacAddr, &TunnelConfig{Secret: "tunsecret"})
			failed <- err
		}()
		ours := dialled.want(wire.SCCRQ).Challenge
		sends := func(challenge []byte) *wire.Message {
			dials.ns, dials.nr, dials.peer = 0, 0, 0
			m := sccrq(uint32(challenge[0]) + 1)
			m.Challenge = challenge
			dials.send(0, m)
			_, avps, ok := dials.next()
			if !ok {
				t.Fatal("the SCCRQ was not answered")
			}
			reply, err := wire.ParseMessage(avps, nil)
			if err != nil {
				t.Fatal(err)
			}
			return reply
		}
		if m := sends(ours); m.Type != wire.StopCCN || m.Result.Code != wire.StopNotAuthorized || m.Has(wire.AVPChallengeResponse) {
			t.Errorf("our own challenge was answered by %v, result %d, response %x", m.Type, m.Result.Code, m.ChallengeResponse)
		}
		if m := sends(bytes.Repeat([]byte{ours[0] + 1}, len(ours))); m.Type != wire.SCCRP || !m.Has(wire.AVPChallengeResponse) {
			t.Errorf("another challenge was answered by %v", m.Type)
		}
		<-failed
		// It is a challenge like any other when nothing waits for its response.
		time.Sleep(time.Minute)
		if m := sends(ours); m.Type != wire.SCCRP {
			t.Errorf("afterwards it was answered by %v", m.Type)
		}
	})
}
