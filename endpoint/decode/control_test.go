package decode

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

func TestIncomingCall(t *testing.T) {
	newTape().
		control(lac, lns, 0, 0, 0, sccrq).
		control(lns, lac, 1, 0, 0, sccrp).
		control(lac, lns, 11, 0, 1, scccn).
		control(lns, lac, 1, 0, 2, nil).
		control(lac, lns, 11, 0, 2, icrq).
		control(lns, lac, 1, 2, 1, icrp).
		control(lac, lns, 11, 12, 3, iccn).
		control(lns, lac, 1, 0, 4, nil).
		control(lac, lns, 11, 0, 4, &wire.Message{Type: wire.HELLO}).
		control(lns, lac, 1, 0, 9, nil). // of what was not seen
		control(lns, lac, 1, 2, 2, &wire.Message{Type: wire.CDN, AssignedSessionID: 12,
			Result: wire.Result{Code: wire.CallError, Error: wire.ErrorUnknownAVP, HasError: true, Text: "Calling Number; and more"}}).
		control(lac, lns, 11, 0, 5, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 1, Result: wire.Result{Code: wire.StopShutdown}}).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  1.000 B > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  2.000 A > B 11/0        SCCCN                               tunnel established
  3.000 B > A 1/0         ZLB acknowledges SCCCN
  4.000 A > B 11/0        ICRQ session 2, serial 7                    wait-reply
  5.000 B > A 1/2         ICRP session 12                           wait-connect
  6.000 A > B 11/12       ICCN 64000 bit/s, framing sync     session established
  7.000 B > A 1/0         ZLB acknowledges ICCN
  8.000 A > B 11/0        HELLO
  9.000 B > A 1/0         ZLB Nr 9
 10.000 B > A 1/2         CDN session 12, result 2: general error,
                          error 8: unknown AVP with the M bit set,
                          "Calling Number; and more"                session idle
 11.000 A > B 11/0        StopCCN tunnel 1, result 6: shutting down  tunnel idle
9 control messages, 3 ZLBs
`)
}

func TestOutgoingCall(t *testing.T) {
	newTape().
		control(lns, lac, 1, 0, 1, &wire.Message{Type: wire.OCRQ, AssignedSessionID: 12, CallSerialNumber: 1,
			MinimumBPS: 9600, MaximumBPS: 64000, BearerType: 1, FramingType: wire.FramingAsync, CalledNumber: "5551234", SubAddress: "1"}).
		control(lac, lns, 11, 12, 1, &wire.Message{Type: wire.OCRP, AssignedSessionID: 2}).
		control(lac, lns, 11, 12, 2, &wire.Message{Type: wire.OCCN, TxConnectSpeed: 64000, RxConnectSpeed: 32000, FramingType: 3}).
		control(lns, lac, 1, 2, 2, &wire.Message{Type: wire.SLI, ACCM: wire.ACCM{Send: 0xffffffff, Receive: 0}}).
		control(lac, lns, 11, 12, 3, &wire.Message{Type: wire.WEN, CallErrors: wire.CallErrors{CRC: 1, Framing: 2, HardwareOverruns: 3, BufferOverruns: 4, Timeouts: 5, Alignment: 6}}).
		control(lac, lns, 11, 0, 4, &wire.Message{Type: wire.CDN, AssignedSessionID: 2,
			Result: wire.Result{Code: wire.CallLostCarrier}, Q931Cause: wire.Q931Cause{Code: 16, Message: 0x45, Advisory: "gone"}}).
		want(t, `
A is 192.0.2.2:1701, B is 192.0.2.1:1701
  0.000 A > B 1/0         OCRQ session 12, serial 1, to "5551234",
                          sub-address "1", 9600 to 64000 bit/s,
                          framing async                               wait-reply
  1.000 B > A 11/12       OCRP session 2                          wait-cs-answer
  2.000 B > A 11/12       OCCN 64000 bit/s, Rx 32000 bit/s,
                          framing sync or async              session established
  3.000 A > B 1/2         SLI ACCM 0xffffffff to send, 0x0 to receive
  4.000 B > A 11/12       WEN CRC errors 1, framing errors 2, overruns 3 and 4,
                          timeouts 5, alignment errors 6
  5.000 B > A 11/0        CDN session 2, result 1: loss of carrier,
                          Q.931 cause 16, "gone"                    session idle
6 control messages
`)
}

func TestWhatIsToldAtTheBeginning(t *testing.T) {
	q := *sccrq
	q.ProtocolVersion, q.ReceiveWindowSize, q.Challenge, q.TieBreaker = 0x0200, 4, []byte{1, 2}, [8]byte{0, 1, 2, 3, 4, 5, 6, 7}
	p := *sccrp
	p.ChallengeResponse = [16]byte{0xab, 0xcd}
	c := *iccn
	c.SequencingRequired, c.LastSentLCPConfReq, c.ProxyAuthenType, c.ProxyAuthenName = true, []byte{1, 4, 5, 0xdc}, 2, "alice\n"
	newTape().
		control(lac, lns, 0, 0, 0, &q).
		control(lns, lac, 1, 0, 0, &p).
		control(lac, lns, 11, 0, 1, icrqFrom("5551234", "5556789")).
		control(lac, lns, 11, 12, 2, &c).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1, version 2.0, window 4,
                          tie breaker 0001020304050607,
                          challenge                               wait-ctl-reply
  1.000 B > A 1/0         SCCRP "lns", tunnel 11,
                          challenge response                       wait-ctl-conn
  2.000 A > B 11/0        ICRQ session 2, serial 7, from "5551234",
                          to "5556789"                                wait-reply
  3.000 A > B 11/12       ICCN 64000 bit/s, framing sync, sequencing required,
                          proxy LCP, proxy auth CHAP,
                          "alice\n"                          session established
4 control messages
`)
}

func icrqFrom(calling, called string) *wire.Message {
	m := *icrq
	m.CallingNumber, m.CalledNumber = calling, called
	return &m
}

func TestWhatLaterRFCsTell(t *testing.T) {
	q := *icrq
	q.AccessLine = &wire.AccessLine{AgentCircuitID: "dslam 1/2/3", AgentRemoteID: "42"}
	newTape().
		control(lac, lns, 11, 0, 1, &q).
		control(lns, lac, 1, 2, 1, &wire.Message{Type: wire.CDN, AssignedSessionID: 12, Result: wire.Result{Code: wire.CallAdministrative},
			DisconnectCause: wire.DisconnectCause{Code: 16, Protocol: 0xc223, Direction: 1, Message: "no; never"}}).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 11/0        ICRQ session 2, serial 7,
                          Agent-Circuit-Id "dslam 1/2/3",
                          Agent-Remote-Id "42"                        wait-reply
  1.000 B > A 1/2         CDN session 12,
                          result 3: disconnected for administrative reasons,
                          PPP cause 16: authentication failed, bad name,
                          password or secret, of the peer, PPP protocol 0xc223,
                          "no; never"                               session idle
2 control messages
`)
}

// "Each subsequent message is sent with a Ns that is one greater", and the same
// Ns is the same message (RFC 2661 §5.8).
func TestRetransmissions(t *testing.T) {
	again := controlMessage(11, 0, 1, scccn)
	wire.SetSequence(again, 1, 7) // "the Nr value … MUST be refreshed"
	newTape().
		control(lac, lns, 0, 0, 0, sccrq).
		control(lac, lns, 0, 0, 0, sccrq).
		control(lns, lac, 1, 0, 0, sccrp).
		control(lac, lns, 11, 0, 1, scccn).
		control(lns, lac, 1, 0, 0, sccrp).
		udp(lac, lns, again).
		control(lac, lns, 11, 0, 2, scccn). // another one, out of place
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  1.000 A > B 0/0         SCCRQ "lac", tunnel 1, retransmitted
  2.000 B > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  3.000 A > B 11/0        SCCCN                               tunnel established
  4.000 B > A 1/0         SCCRP "lns", tunnel 11, retransmitted
  5.000 A > B 11/0        SCCCN retransmitted
  6.000 A > B 11/0        SCCCN                               tunnel established
7 control messages; 3 retransmissions
`)
}

// The same ids in another tunnel, after the end of the first, are another story.
func TestATunnelAfterATunnel(t *testing.T) {
	stop := &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 1, Result: wire.Result{Code: wire.StopClear}}
	newTape().
		control(lac, lns, 0, 0, 0, sccrq).
		control(lns, lac, 1, 0, 0, sccrp).
		control(lac, lns, 11, 0, 1, stop).
		control(lac, lns, 11, 0, 1, stop).
		control(lac, lns, 0, 0, 0, sccrq).
		control(lns, lac, 1, 0, 0, sccrp).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  1.000 B > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  2.000 A > B 11/0        StopCCN tunnel 1,
                          result 1: control connection cleared on request
                                                                     tunnel idle
  3.000 A > B 11/0        StopCCN tunnel 1,
                          result 1: control connection cleared on request,
                          retransmitted
  4.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  5.000 B > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
6 control messages; 1 retransmission
`)
}

// Two tunnels at once, between the same addresses and from another, with ids that
// are the same at the two ends.
func TestSeveralTunnels(t *testing.T) {
	third := netip.MustParseAddrPort("198.51.100.7:50000")
	other := *sccrq
	other.AssignedTunnelID, other.HostName = 11, "other"
	answer := *sccrp
	answer.AssignedTunnelID = 1
	newTape().
		control(lac, lns, 0, 0, 0, sccrq).
		control(lac, lns, 0, 0, 0, &other).
		control(third, lns, 0, 0, 0, sccrq).
		control(lns, lac, 1, 0, 0, sccrp).
		control(lns, lac, 11, 0, 0, &answer).
		control(lac, lns, 1, 0, 1, scccn).
		control(lac, lns, 11, 0, 1, scccn).
		control(lns, lac, 11, 0, 2, nil).
		control(lac, lns, 11, 0, 1, scccn).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  1.000 A > B 0/0         SCCRQ "other", tunnel 11                wait-ctl-reply
C is 198.51.100.7:50000
  2.000 C > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  3.000 B > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  4.000 B > A 11/0        SCCRP "lns", tunnel 1                    wait-ctl-conn
  5.000 A > B 1/0         SCCCN                               tunnel established
  6.000 A > B 11/0        SCCCN                               tunnel established
  7.000 B > A 11/0        ZLB acknowledges SCCCN
  8.000 A > B 11/0        SCCCN retransmitted
8 control messages, 1 ZLB; 1 retransmission
`)
}

func TestMalformedMessagesDoNotEndTheRun(t *testing.T) {
	without := *sccrq
	bad := controlMessage(0, 0, 0, &without)
	bad = bad[:len(bad)-8] // Assigned Tunnel ID is the last
	wire.SetLength(bad)
	unknown := append(controlMessage(11, 0, 3, nil), unhex("8008 0000 0000 0063")...) // message 99
	wire.SetLength(unknown)
	newTape().
		udp(lac, lns, bad).
		udp(lac, lns, unhex("c802 000c 0000 0000 0000")).
		udp(lac, lns, unhex("8002 0000 0000 0000 0000 0000")).
		udp(lac, lns, unhex("4002 0003 0000 0000")).
		udp(lac, lns, []byte{0}).
		udp(lac, lns, nil).
		udp(lac, lns, unhex("c802 0014 0001 0000 0000 0000 8005 0000 0000 0001")).
		udp(lac, lns, unknown).
		udp(lac, lns, unhex("0002 0001 0002")).
		udp(lac, lns, unhex("0002 0001 0002 ff03 c0")).
		control(lac, lns, 0, 0, 0, sccrq).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         malformed SCCRQ "lac":
                          Assigned Tunnel ID is missing           wait-ctl-reply
  1.000 A > B 0/0         malformed L2TP: the datagram ends within its header
  2.000 A > B 0/0         malformed L2TP:
                          a control message's header needs the L and S bits, and
                          no O bit
  3.000 A > B 0/0         malformed L2TP:
                          Length is smaller than the header or larger than the
                          datagram
  4.000 A > B 0/0         malformed L2TP: the datagram ends within its header
  5.000 A > B 0/0         malformed L2TP: the datagram ends within its header
  6.000 A > B 1/0         malformed control message:
                          Message Type: AVP Length is 5, less than 6
  7.000 A > B 11/0        message 99 unknown
  8.000 A > B 1/2         malformed PPP: the frame ends before its protocol does
  9.000 A > B 1/2         malformed PPP: the frame ends before its protocol does
 10.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
4 control messages, 2 PPP messages; 9 malformed
`)
}

// hide hides the AVP of an attribute as RFC 2661 §4.3 has it.
func hide(attribute uint16, value []byte, secret, vector string) []byte {
	plain := binary.BigEndian.AppendUint16(nil, uint16(len(value)))
	plain = append(plain, value...)
	sum := md5.Sum([]byte(string(binary.BigEndian.AppendUint16(nil, attribute)) + secret + vector))
	b := binary.BigEndian.AppendUint16(nil, 0xc000|uint16(6+len(plain)))
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, attribute)
	for i, c := range plain { // one block is enough
		b = append(b, c^sum[i])
	}
	return b
}

func TestHiddenAVPs(t *testing.T) {
	// SCCRQ with a hidden Assigned Tunnel ID, 1, which stands last.
	message := controlMessage(0, 0, 0, sccrq)
	message = message[:len(message)-8]
	message = append(message, unhex("800a 0000 0024")...) // Random Vector
	message = append(message, "salt"...)
	message = append(message, hide(9, []byte{0, 1}, "tunsecret", "salt")...)
	wire.SetLength(message)
	tape := newTape().udp(lac, lns, message).udp(lac, lns, message).
		control(lns, lac, 1, 0, 0, sccrp).
		control(lac, lns, 11, 0, 1, scccn)

	t.Run("without the secret", func(t *testing.T) {
		tape.want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", Assigned Tunnel ID hidden  wait-ctl-reply
  1.000 A > B 0/0         SCCRQ "lac", Assigned Tunnel ID hidden, retransmitted
  2.000 B > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  3.000 A > B 11/0        SCCCN                               tunnel established
4 control messages; 1 retransmission
`)
	})
	t.Run("with the secret", func(t *testing.T) {
		tape.wantWith(t, &Config{Secret: []byte("tunsecret")}, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  1.000 A > B 0/0         SCCRQ "lac", tunnel 1, retransmitted
  2.000 B > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  3.000 A > B 11/0        SCCCN                               tunnel established
4 control messages; 1 retransmission
`)
	})
	t.Run("with another secret", func(t *testing.T) {
		got := tape.print(t, &Config{Secret: []byte("another")})
		if !strings.Contains(got, "Assigned Tunnel ID hidden with another secret") {
			t.Errorf("it prints\n%s", got)
		}
	})
}

// A capture that begins in the middle: which ids belong together shows where
// there is one tunnel between two addresses, and one session in it.
func TestACaptureThatBeginsInTheMiddle(t *testing.T) {
	newTape().
		ppp(lns, lac, 1, 2, "c021 01 07 000a 0506 11223344").
		ppp(lac, lns, 11, 12, "c021 02 07 000a 0506 11223344").
		ppp(lac, lns, 11, 12, "c021 01 09 000a 0506 55667788").
		ppp(lns, lac, 1, 2, "c021 02 09 000a 0506 55667788").
		control(lac, lns, 11, 0, 77, &wire.Message{Type: wire.HELLO}).
		control(lns, lac, 1, 0, 78, nil).
		want(t, `
A is 192.0.2.2:1701, B is 192.0.2.1:1701
  0.000 A > B 1/2         LCP Conf-Req 7 magic                          req-sent
  1.000 B > A 11/12       LCP Conf-Ack 7                                ack-sent
  2.000 B > A 11/12       LCP Conf-Req 9 magic                          ack-sent
  3.000 A > B 1/2         LCP Conf-Ack 9                                  opened
  4.000 B > A 11/0        HELLO
  5.000 A > B 1/0         ZLB acknowledges HELLO
1 control message, 1 ZLB, 4 PPP messages
`)
}

// A hostile capture: as many tunnels and sessions as one likes cost a bounded
// memory, and the newest are known.
func TestManyTunnelsAndSessions(t *testing.T) {
	d := &decoder{printer: printer{w: nowhere{}, names: map[netip.AddrPort]string{}}, observer: newObserver()}
	for i := range 3 * tunnelsMax {
		q := *sccrq
		q.AssignedTunnelID = uint32(i%65535 + 1)
		d.datagram(datagram{src: lac, dst: lns, payload: controlMessage(0, 0, 0, &q)}, true)
	}
	if len(d.order) > tunnelsMax || len(d.tunnels) > 2*tunnelsMax || len(d.halves) > tunnelsMax {
		t.Errorf("%d tunnels, %d by id, %d halves", len(d.order), len(d.tunnels), len(d.halves))
	}
	d.datagram(datagram{src: lns, dst: lac, payload: controlMessage(3*tunnelsMax, 0, 0, sccrp)}, true)
	for i := range 2 * sessionsMax {
		b := controlMessage(11, 0, uint16(i), icrq)
		binary.BigEndian.PutUint16(b[len(b)-12:], uint16(i%65535+1)) // Assigned Session ID
		d.datagram(datagram{src: lac, dst: lns, payload: b}, true)
	}
	e, ok := d.tunnels[tunnelKey{lns, 11}]
	if !ok {
		t.Fatal("the newest tunnel is not known")
	}
	known := 0
	for i := range e.byID {
		known += len(e.byID[i]) + len(e.half[i])
	}
	if len(d.sessions) > sessionsMax || known > 2*sessionsMax {
		t.Errorf("%d sessions, %d in the tunnel", len(d.sessions), known)
	}
}

func TestAPeersTextIsQuoted(t *testing.T) {
	q := *sccrq
	q.HostName = "\x1b[31mred\x1b[0m\r\nforged line" + strings.Repeat("x", 200)
	var out bytes.Buffer
	if err := Print(&out, bytes.NewReader(newTape().control(lac, lns, 0, 0, 0, &q).file), nil); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\r") || !strings.Contains(out.String(), `"\x1b[31mred\x1b[0m\r\nforged`) || strings.Contains(out.String(), strings.Repeat("x", 130)) {
		t.Errorf("it prints %q", fmt.Sprint(&out))
	}
}

// A StopCCN may have the Tunnel ID 0 when its sender does not know it yet: the
// Assigned Tunnel ID in it identifies the tunnel (RFC 2661 §4.4.2); D-Link sends
// ZLBs with it.
func TestTunnelID0(t *testing.T) {
	newTape().
		control(lac, lns, 0, 0, 0, sccrq).
		control(lns, lac, 0, 0, 1, nil).
		control(lac, lns, 0, 0, 1, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 1, Result: wire.Result{Code: wire.StopClear}}).
		control(lac, lns, 0, 0, 1, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 1, Result: wire.Result{Code: wire.StopClear}}).
		control(lac, lns, 0, 0, 2, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: wire.StopClear}}).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 0/0         SCCRQ "lac", tunnel 1                   wait-ctl-reply
  1.000 B > A 0/0         ZLB Nr 1
  2.000 A > B 0/0         StopCCN tunnel 1,
                          result 1: control connection cleared on request
                                                                     tunnel idle
  3.000 A > B 0/0         StopCCN tunnel 1,
                          result 1: control connection cleared on request,
                          retransmitted
  4.000 A > B 0/0         StopCCN tunnel 7,
                          result 1: control connection cleared on request
4 control messages, 1 ZLB; 1 retransmission
`)
}

// The LNS may answer from another port (RFC 2661 §8.1), also when ids are hidden.
func TestAnAnswerFromAnotherPortToAHiddenID(t *testing.T) {
	moved := netip.MustParseAddrPort("192.0.2.2:40001")
	newTape().
		control(lac, lns, 7, 0, 3, &wire.Message{Type: wire.HELLO}).
		control(moved, lac, 1, 0, 0, sccrp).
		control(lac, moved, 11, 0, 1, scccn).
		control(moved, lac, 1, 0, 2, nil).
		want(t, `
A is 192.0.2.1:1701, B is 192.0.2.2:1701
  0.000 A > B 7/0         HELLO
C is 192.0.2.2:40001
  1.000 C > A 1/0         SCCRP "lns", tunnel 11                   wait-ctl-conn
  2.000 A > C 11/0        SCCCN                               tunnel established
  3.000 C > A 1/0         ZLB acknowledges SCCCN
3 control messages, 1 ZLB
`)
}
