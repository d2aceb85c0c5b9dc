package decode

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// control takes a control message.
func (d *decoder) control(msg message) {
	if len(msg.body) == 0 {
		d.acknowledgement("ZLB", &d.count.acks, msg)
		return
	}
	m, err := wire.ParseMessage(msg.body, d.cfg.Secret)
	d.followed(msg, m, d.controlLine(msg, m, err, describe(m)))
}

// controlLine is the line of a control message, with the error that parsing it has
// given.
func (d *decoder) controlLine(msg message, m *wire.Message, err error, items []string) line {
	hidden := d.stillHidden(msg.body, m)
	if msg.missing > 0 || err != nil && slices.Contains(hidden, err.(*wire.Error).Attribute) {
		err = nil // it is not the message's fault
	}
	l := line{what: "control message", items: items}
	if m.Has(wire.AVPMessageType) {
		l.what = m.Type.String()
	}
	for _, t := range hidden {
		if len(d.cfg.Secret) == 0 {
			l.add("%v hidden", t)
		} else {
			l.add("%v hidden with another secret", t)
		}
	}
	if err != nil {
		l.wrong = err.(*wire.Error).Reason
	}
	return l
}

// followed takes a control message that is in words, and adds what became of it.
func (d *decoder) followed(msg message, m *wire.Message, l line) {
	e := d.tunnelFor(msg, m)
	if e.tunnel != nil {
		if e.sent[1-e.end].repeated(msg.header.Ns, m.Type, maphash.Bytes(d.seed, msg.body)) {
			l.repeated = true
		} else {
			tunnelEnd{e.tunnel, 1 - e.end}.hasNonce(m.Nonce)
			l.state = d.follow(e, msg.header.SessionID, m)
		}
	}
	d.count.control++
	d.message(msg, l)
}

// acknowledgement takes a ZLB, which says what it acknowledges by its Nr alone, or an
// ACK of L2TPv3, whose AVPs only prove who sends it.
func (d *decoder) acknowledgement(what string, count *int, msg message, items ...string) {
	*count++
	l := line{what: what}
	if e := d.tunnelOf(msg.src, msg.dst, msg.header.TunnelID, 0); e.tunnel != nil {
		if kind, ok := e.sent[e.end].at(msg.header.Nr - 1); ok {
			l.add("acknowledges %v", kind)
		}
	}
	if len(l.items) == 0 {
		l.add("Nr %d", msg.header.Nr)
	}
	l.items = append(l.items, items...)
	d.message(msg, l)
}

// tunnelFor is the tunnel of a message; the end is the receiver's. An SCCRQ that
// is not a repeated one begins another.
func (d *decoder) tunnelFor(msg message, m *wire.Message) tunnelEnd {
	if m.Type != wire.SCCRQ {
		return d.tunnelOf(msg.src, msg.dst, msg.header.TunnelID, m.AssignedTunnelID)
	}
	sum := maphash.Bytes(d.seed, msg.body)
	old := d.tunnels[tunnelKey{msg.src, m.AssignedTunnelID}]
	if m.AssignedTunnelID == 0 { // hidden
		old = d.half(msg.src, msg.dst)
	}
	if old.tunnel != nil && !old.over && old.sent[old.end].has(msg.header.Ns, sum) {
		return tunnelEnd{old.tunnel, 1 - old.end}
	}
	t := d.newTunnel(msg.src, msg.dst)
	if m.AssignedTunnelID != 0 {
		d.assign(tunnelEnd{t, 0}, msg.src, m.AssignedTunnelID)
	}
	return tunnelEnd{t, 1}
}

// follow is the state that a message leads its sender to (RFC 2661 §7.2.1, §7.4.1,
// §7.4.2, §7.5.1, §7.5.2). A message that breaks the table's rules leads where
// its sender must believe to be.
func (o *observer) follow(e tunnelEnd, header uint32, m *wire.Message) string {
	switch m.Type {
	case wire.SCCRQ:
		return "wait-ctl-reply"
	case wire.SCCRP:
		return "wait-ctl-conn"
	case wire.SCCCN:
		return "tunnel established"
	case wire.StopCCN:
		o.end(e.tunnel)
		return "tunnel idle"
	case wire.ICRQ, wire.OCRQ, wire.ICRP, wire.OCRP, wire.ICCN, wire.OCCN, wire.CDN:
	default:
		return "" // HELLO, WEN, SLI and what is unknown change no state
	}
	s := o.sessionOf(e, header, m.AssignedSessionID)
	switch m.Type {
	case wire.ICRQ, wire.OCRQ:
		return "wait-reply"
	case wire.ICRP:
		return "wait-connect"
	case wire.OCRP:
		return "wait-cs-answer"
	case wire.CDN:
		if s != nil {
			s.forget()
		}
		return "session idle"
	default:
		return "session established"
	}
}

// stillHidden are the AVPs of a message that are hidden and were not unhidden.
func (d *decoder) stillHidden(payload []byte, m *wire.Message) (hidden []wire.AVPType) {
	for it := wire.NewAVPs(payload); it.Next(); {
		a := it.AVP()
		if a.Hidden && a.Vendor == 0 && (len(d.cfg.Secret) == 0 || !m.Has(a.Type)) {
			hidden = append(hidden, a.Type)
		}
	}
	return hidden
}

// describe is the main AVPs of a message.
func describe(m *wire.Message) (items []string) {
	add := func(format string, args ...any) { items = append(items, fmt.Sprintf(format, args...)) }
	has := m.Has
	if has(wire.AVPMessageType) && !m.Type.Known() {
		add("unknown")
	}
	if has(wire.AVPHostName) {
		add("%s", wire.Quote(m.HostName))
	}
	if has(wire.AVPAssignedTunnelID) {
		add("tunnel %d", m.AssignedTunnelID)
	}
	if has(wire.AVPAssignedSessionID) {
		add("session %d", m.AssignedSessionID)
	}
	if has(wire.AVPProtocolVersion) && m.ProtocolVersion != wire.ProtocolVersion {
		add("version %d.%d", m.ProtocolVersion>>8, m.ProtocolVersion&0xff)
	}
	if has(wire.AVPReceiveWindowSize) {
		add("window %d", m.ReceiveWindowSize)
	}
	if has(wire.AVPTieBreaker) {
		add("tie breaker %x", m.TieBreaker)
	}
	if has(wire.AVPChallenge) {
		add("challenge")
	}
	if has(wire.AVPChallengeResponse) {
		add("challenge response")
	}
	// The texts are apart from the words, which are broken at semicolons.
	text := func(s string) {
		if s != "" {
			add("%s", wire.Quote(s))
		}
	}
	if has(wire.AVPResultCode) {
		r := m.Result
		r.Text = ""
		items = append(items, strings.Split(r.Words(m.Type), "; ")...)
		text(m.Result.Text)
	}
	if has(wire.AVPQ931Cause) {
		add("Q.931 cause %d", m.Q931Cause.Code)
		text(m.Q931Cause.Advisory)
	}
	if has(wire.AVPDisconnectCause) {
		c := m.DisconnectCause
		c.Message = ""
		items = append(items, strings.Split(c.Words(), "; ")...)
		text(m.DisconnectCause.Message)
	}
	return append(items, describeCall(m)...)
}

// describeCall is the AVPs of call management.
func describeCall(m *wire.Message) (items []string) {
	add := func(format string, args ...any) { items = append(items, fmt.Sprintf(format, args...)) }
	has := m.Has
	if has(wire.AVPCallSerialNumber) {
		add("serial %d", m.CallSerialNumber)
	}
	if has(wire.AVPCallingNumber) {
		add("from %s", wire.Quote(m.CallingNumber))
	}
	if has(wire.AVPCalledNumber) {
		add("to %s", wire.Quote(m.CalledNumber))
	}
	if has(wire.AVPSubAddress) {
		add("sub-address %s", wire.Quote(m.SubAddress))
	}
	if a := m.AccessLine; a != nil {
		add("Agent-Circuit-Id %s", wire.Quote(a.AgentCircuitID))
		add("Agent-Remote-Id %s", wire.Quote(a.AgentRemoteID))
	}
	if has(wire.AVPMinimumBPS) && has(wire.AVPMaximumBPS) {
		add("%d to %d bit/s", m.MinimumBPS, m.MaximumBPS)
	}
	if has(wire.AVPTxConnectSpeed) {
		add("%d bit/s", m.TxConnectSpeed)
	}
	if has(wire.AVPRxConnectSpeed) && m.RxConnectSpeed != m.TxConnectSpeed {
		add("Rx %d bit/s", m.RxConnectSpeed)
	}
	if has(wire.AVPFramingType) {
		add("framing %s", framing(m.FramingType))
	}
	if has(wire.AVPSequencingRequired) {
		add("sequencing required")
	}
	if has(wire.AVPLastSentLCPConfReq) || has(wire.AVPLastReceivedLCPConfReq) {
		add("proxy LCP")
	}
	if has(wire.AVPProxyAuthenType) {
		add("proxy auth %s", proxyAuth(m.ProxyAuthenType))
	}
	if has(wire.AVPProxyAuthenName) {
		add("%s", wire.Quote(m.ProxyAuthenName))
	}
	if has(wire.AVPCallErrors) {
		c := m.CallErrors
		add("CRC errors %d", c.CRC)
		add("framing errors %d", c.Framing)
		add("overruns %d and %d", c.HardwareOverruns, c.BufferOverruns)
		add("timeouts %d", c.Timeouts)
		add("alignment errors %d", c.Alignment)
	}
	if has(wire.AVPACCM) {
		add("ACCM %#x to send", m.ACCM.Send)
		add("%#x to receive", m.ACCM.Receive)
	}
	return items
}

// proxyAuth is a Proxy Authen Type (RFC 2661 §4.4.5).
func proxyAuth(n uint16) string {
	names := [...]string{1: "text", 2: "CHAP", 3: "PAP", 4: "none", 5: "MS-CHAP"}
	if n == 0 || int(n) >= len(names) {
		return fmt.Sprintf("type %d", n)
	}
	return names[n]
}

// framing is a Framing Type (RFC 2661 §4.4.4).
func framing(mask uint32) string {
	switch mask {
	case wire.FramingSync:
		return "sync"
	case wire.FramingAsync:
		return "async"
	case wire.FramingSync | wire.FramingAsync:
		return "sync or async"
	}
	return fmt.Sprintf("%#x", mask)
}
