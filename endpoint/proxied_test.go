package endpoint

import (
	"bytes"
	"crypto/md5"
	"testing"
	"testing/synctest"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// authenticated opens a tunnel with the secret that answering has.
func (s *script) authenticated() {
	s.t.Helper()
	s.send(0, sccrq(7))
	sccrp := s.want(wire.SCCRP)
	s.peer = sccrp.AssignedTunnelID
	scccn := &wire.Message{Type: wire.SCCCN}
	scccn.ChallengeResponse = md5.Sum(append([]byte{byte(wire.SCCCN)}, "tunsecret"+string(sccrp.Challenge)...))
	scccn.Set(wire.AVPChallengeResponse)
	s.send(0, scccn)
}

func TestWhatALACHasNegotiatedIsTakenFromThoseWhoKnowTheSecret(t *testing.T) {
	// RFC 2661 §4.4.5: "the LAC may have answered the call and negotiated LCP
	// with the remote system, perhaps in order to establish the system's apparent
	// identity. In this case, these AVPs may be included to indicate the link
	// properties the remote system initially requested, properties the remote
	// system and LAC ultimately negotiated, as well as PPP authentication
	// information sent and received by the LAC."
	iccn := func() *wire.Message {
		m := &wire.Message{Type: wire.ICCN, TxConnectSpeed: 1, FramingType: wire.FramingSync,
			LastSentLCPConfReq:     []byte{3, 4, 0xc0, 0x23, 5, 6, 1, 2, 3, 4},
			LastReceivedLCPConfReq: []byte{5, 6, 5, 6, 7, 8},
			ProxyAuthenType:        3, ProxyAuthenName: "alice", ProxyAuthenID: 1, ProxyAuthenResponse: []byte("s3cret")}
		return m
	}
	// The protocol of the first frame that comes: PAP's Authenticate-Ack, since
	// LCP is opened and alice has proved herself to the LAC; or LCP again.
	ack, lcp := []byte{0xff, 3, 0xc0, 0x23, 2, 1}, []byte{0xff, 3, 0xc0, 0x21, 1}
	for _, c := range []struct {
		name   string
		secret bool
		want   []byte
	}{{"a secret", true, ack}, {"no secret", false, lcp}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				lns := answering(t, n, 1, func(a *AnswerConfig) {
					if !c.secret {
						a.Secret = ""
					}
				})
				defer lns.Close()
				s := scripted(t, n)
				if c.secret {
					s.authenticated()
				} else {
					s.tunnel()
				}
				s.send(s.call(), iccn())
				if _, frame, ok := s.nextData(); !ok || !bytes.HasPrefix(frame, c.want) {
					t.Errorf("the first frame is %x, want %x…", frame, c.want)
				}
			})
		})
	}
}
