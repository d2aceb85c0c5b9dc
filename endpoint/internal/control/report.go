package control

import (
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// ReportErrors tells the peer, of an established session whose LAC we are, what has gone
// wrong on the line since the call began: WEN (RFC 2661 §6.13). It "should only be sent
// when an error occurs, and not more than once every 60 seconds", which is for the owner
// to see to.
func (t *Tunnel) ReportErrors(now time.Time, session uint32, errors wire.CallErrors) {
	m := &wire.Message{Type: wire.WEN, CallErrors: errors}
	m.Set(wire.AVPCallErrors)
	t.report(now, session, true, m)
}

// SetLink tells the peer, of an established session whose LNS we are, how PPP has
// negotiated asynchronous framing: SLI (RFC 2661 §6.14).
func (t *Tunnel) SetLink(now time.Time, session uint32, accm wire.ACCM) {
	if t.version == 3 {
		return // which knows of no such framing
	}
	m := &wire.Message{Type: wire.SLI, ACCM: accm}
	m.Set(wire.AVPACCM)
	t.report(now, session, false, m)
}

// report sends what changes no state. Between two LACs of L2TPv3 who has called says nothing
// of whose line it is.
func (t *Tunnel) report(now time.Time, session uint32, lac bool, m *wire.Message) {
	if s := t.calls.byID[session]; s != nil && s.state == callEstablished && (s.role.lac() == lac || t.version == 3) {
		if t.version == 3 {
			m.AssignedSessionID = s.id // RFC 3931 §6.13: Local Session ID
		}
		t.sendMessage(now, s.peer, session, m)
	}
}
