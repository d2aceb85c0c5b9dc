package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// messagesV3 are the messages that L2TPv2 does not have, by IANA's registry.
var messagesV3 = map[wire.MessageType]string{
	17: "MDMST", 18: "SRRQ", 19: "SRRP", wire.ACK: "ACK", 21: "FSQ", 22: "FSR",
	23: "MSRQ", 24: "MSRP", 25: "MSE", 26: "MSI", 27: "MSEN",
}

// attributesV3 are AVPs of IANA's registry that are only named.
var attributesV3 = map[wire.AVPType]string{
	53: "Modem On-Hold Capable", 54: "Modem On-Hold Status", 55: "PPPoE Relay", 56: "PPPoE Relay Response Capability",
	57: "PPPoE Relay Forward Capability", 58: "Extended Vendor ID", 67: "Application Code", 76: "Failover Capability",
	77: "Tunnel Recovery", 78: "Suggested Control Sequence", 79: "Failover Session State", 80: "Multicast Capability",
	81: "New Outgoing Sessions", 82: "New Outgoing Sessions Acknowledgement", 83: "Withdraw Outgoing Sessions",
	84: "Multicast Packets Priority", 85: "Frame-Relay Header Length", 86: "ATM Maximum Concatenated Cells",
	87: "OAM Emulation Required", 88: "ATM Alarm Status", 89: "Attachment Group Identifier", 90: "Local End Identifier",
	92: "FCS Retention", 93: "Tunnel Switching Aggregator ID", 94: "Maximum Receive Unit",
	95: "Maximum Reassembled Receive Unit", 96: "VCCV Capability", 99: "TDM Pseudowire", 100: "RTP",
	101: "PW Switching Point", 102: "S-BFD Target Discriminator ID",
}

// controlV3 takes a control message. Its states are those of L2TPv2 (RFC 3931 §7 has the
// same tables); a session is named by AVPs.
func (d *decoder) controlV3(msg message) {
	if len(msg.body) == 0 {
		d.acknowledgement("ZLB", &d.count.acks, msg)
		return
	}
	var key []byte
	if len(d.cfg.Secret) > 0 {
		key = wire.HidingKey(d.cfg.Secret)
	}
	m, err := wire.ParseMessageV3(msg.body, key)
	verdict := d.verify(msg, m)
	if verdict == digestWrong {
		d.count.wrongDigests++
	}
	if m.Type == wire.ACK {
		d.acknowledgement("ACK", &d.count.explicit, msg, verdict.words()...)
		return
	}
	l := d.controlLine(msg, m, err, slices.Concat(describeV3(m), namesV3(msg.body, m, err), verdict.words()))
	if name := messagesV3[m.Type]; name != "" {
		l.what = name
	}
	msg.header.SessionID = m.RemoteSessionID
	if verdict == digestWrong { // who gets it drops it "before utilizing any information" in it (RFC 3931 §5.4.1)
		d.count.control++
		d.message(msg, l)
		return
	}
	d.followed(msg, m, l)
}

// A digestVerdict is what there is to say of a message's digests.
type digestVerdict uint8

const (
	digestNone digestVerdict = iota
	digestThere
	digestRight
	digestWrong
	digestMissing // though others have had one
)

func (v digestVerdict) words() []string {
	if v == digestNone {
		return nil
	}
	return []string{[...]string{digestThere: "digest", digestRight: "right digest", digestWrong: "wrong digest", digestMissing: "no digest"}[v]}
}

// verify looks at the digests of a message, with the secret and the nonces that its
// ends have sent, if they are known. It learns a nonce from what is right.
func (d *decoder) verify(msg message, m *wire.Message) digestVerdict {
	e := d.tunnels[tunnelKey{msg.dst, msg.header.TunnelID}]
	there := len(m.Digests) > 0
	switch {
	case !there && e.tunnel != nil && e.nonces[0] != nil && e.nonces[1] != nil:
		return digestMissing
	case !there:
		return digestNone
	case len(d.cfg.Secret) == 0 || msg.missing > 0:
		return digestThere
	}
	var own, other []byte
	known := m.Type == wire.SCCRQ
	if e.tunnel != nil && !known {
		own, other = e.nonces[1-e.end], e.nonces[e.end]
		if m.Type == wire.SCCRP {
			own = m.Nonce
		}
		known = own != nil && other != nil
	}
	whole := msg.payload[:wire.V3ControlHeaderLen+len(msg.body)]
	switch _, valid := wire.Verify(whole, own, other, wire.DigestKey(d.cfg.Secret)); {
	case valid:
		return digestRight
	case known:
		return digestWrong
	}
	return digestThere
}

// hasNonce notes the nonce of an end of a control connection.
func (e tunnelEnd) hasNonce(nonce []byte) {
	if nonce != nil {
		e.nonces[e.end] = nonce
	}
}

// describeV3 is the main AVPs of a message.
func describeV3(m *wire.Message) (items []string) {
	add := func(format string, args ...any) { items = append(items, fmt.Sprintf(format, args...)) }
	has := m.Has
	if m.Type != 0 && !m.Type.KnownV3() && messagesV3[m.Type] == "" {
		add("unknown")
	}
	if has(wire.AVPHostName) {
		add("%s", wire.Quote(m.HostName))
	}
	if has(wire.AVPVendorName) {
		add("%s", wire.Quote(m.VendorName))
	}
	if has(wire.AVPRouterID) {
		add("router %v", netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, m.RouterID))))
	}
	if has(wire.AVPAssignedConnectionID) {
		add("connection %s", hex32(m.AssignedTunnelID))
	}
	if has(wire.AVPPseudowires) {
		add("pseudowires %s", pseudowires(m.Pseudowires))
	}
	if has(wire.AVPReceiveWindowSize) {
		add("window %d", m.ReceiveWindowSize)
	}
	if has(wire.AVPTieBreaker) {
		add("tie breaker %x", m.TieBreaker)
	}
	if has(wire.AVPPreferredLanguage) {
		add("language %s", wire.Quote(m.PreferredLanguage))
	}
	if has(wire.AVPNonce) {
		add("nonce")
	}
	if has(wire.AVPResultCode) {
		r := m.Result
		r.Text = ""
		items = append(items, strings.Split(r.Words(m.Type), "; ")...)
		if m.Result.Text != "" {
			add("%s", wire.Quote(m.Result.Text))
		}
	}
	items = append(items, describeSessionV3(m)...)
	return items
}

// namesV3 are the names of AVPs that are in no other words: all but the first of a
// message that is not known, and those that were passed over, but for what the error is
// about.
func namesV3(avps []byte, m *wire.Message, err error) (names []string) {
	others := m.Skipped
	if m.Type != 0 && !m.Type.KnownV3() {
		others = nil
		for it := wire.NewAVPs(avps); it.Next(); {
			others = append(others, it.AVP())
		}
		others = others[min(1, len(others)):]
	}
	for _, a := range others {
		if wrong, ok := err.(*wire.Error); ok && wrong.Attribute == a.Type && wrong.Vendor == a.Vendor || a.Hidden {
			continue // which is said elsewhere
		}
		if name := attributesV3[a.Type]; a.Vendor == 0 && name != "" {
			names = append(names, name)
		} else {
			names = append(names, a.String())
		}
	}
	return names
}

// describeSessionV3 is the AVPs of session management.
func describeSessionV3(m *wire.Message) (items []string) {
	add := func(format string, args ...any) { items = append(items, fmt.Sprintf(format, args...)) }
	has := m.Has
	if has(wire.AVPLocalSessionID) {
		add("session %s", hex32(m.AssignedSessionID))
	}
	if has(wire.AVPRemoteSessionID) && m.RemoteSessionID != 0 {
		add("remote session %s", hex32(m.RemoteSessionID))
	}
	if has(wire.AVPCallSerialNumber) {
		add("serial %d", m.CallSerialNumber)
	}
	if has(wire.AVPPseudowireType) {
		add("%s", pseudowire(m.PseudowireType))
	}
	if has(wire.AVPRemoteEndID) {
		add("remote end %s", wire.Quote(string(m.RemoteEndID)))
	}
	if has(wire.AVPAssignedCookie) {
		add("cookie of %s", octets(len(m.AssignedCookie)))
	}
	if has(wire.AVPSublayer) {
		add("sublayer %s", oneOf(m.Sublayer, "none", "default", "ATM-specific", "MPT-specific", "PSP-specific"))
	}
	if has(wire.AVPDataSequencing) {
		add("sequencing %s", oneOf(m.DataSequencing, "none", "of what is not IP", "of all"))
	}
	if has(wire.AVPCircuitStatus) {
		items = append(items, circuit(m.CircuitStatus)...)
	}
	if has(wire.AVPTxConnectSpeedV3) {
		add("%d bit/s", m.TxSpeed)
	}
	if has(wire.AVPRxConnectSpeedV3) && m.RxSpeed != m.TxSpeed {
		add("Rx %d bit/s", m.RxSpeed)
	}
	if has(wire.AVPPhysicalChannelID) {
		add("channel %d", m.PhysicalChannelID)
	}
	if has(wire.AVPInterfaceMTU) {
		add("MTU %d", m.InterfaceMTU)
	}
	if has(wire.AVPCallErrors) {
		c := m.CallErrors
		add("overruns %d and %d", c.HardwareOverruns, c.BufferOverruns)
		add("timeouts %d", c.Timeouts)
		add("alignment errors %d", c.Alignment)
	}
	return items
}

// oneOf is a number in words.
func oneOf(n uint16, words ...string) string {
	if int(n) < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}

// pseudowires is RFC 3931 §5.4.3's list.
func pseudowires(types []uint16) string {
	const most = 8
	var names []string
	for _, n := range types[:min(most, len(types))] {
		names = append(names, pseudowire(n))
	}
	if more := len(types) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, "/")
}

// pseudowire is a pseudowire type, by IANA's registry but for 7 and 11, which are
// Linux's.
func pseudowire(n uint16) string {
	names := [...]string{1: "Frame Relay", 2: "ATM AAL5", 3: "ATM port", 4: "VLAN", 5: "Ethernet", 6: "HDLC", 7: "PPP", 9: "ATM VCC", 10: "ATM VPC", 11: "IP"}
	if int(n) < len(names) && names[n] != "" {
		return names[n]
	}
	return fmt.Sprintf("type %d", n)
}

// circuit is RFC 5641 §2: Active, the faults, Standby. New is deprecated.
func circuit(mask uint16) (items []string) {
	items = []string{"circuit down"}
	if mask&wire.CircuitActive != 0 {
		items[0] = "circuit up"
	}
	for _, bit := range []struct {
		mask uint16
		name string
	}{
		{wire.CircuitRxFault, "receive fault"}, {wire.CircuitTxFault, "transmit fault"},
		{wire.CircuitPSNRxFault, "PSN receive fault"}, {wire.CircuitPSNTxFault, "PSN transmit fault"}, {wire.CircuitStandby, "standby"},
	} {
		if mask&bit.mask != 0 {
			items = append(items, bit.name)
		}
	}
	return items
}
