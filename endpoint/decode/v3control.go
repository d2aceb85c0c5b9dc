package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// messageACK is the explicit acknowledgement (RFC 3931 §6.6).
const messageACK wire.MessageType = 20

// messagesV3 are the messages that L2TPv2 does not have, by IANA's registry.
var messagesV3 = map[wire.MessageType]string{
	17: "MDMST", 18: "SRRQ", 19: "SRRP", messageACK: "ACK", 21: "FSQ", 22: "FSR",
	23: "MSRQ", 24: "MSRP", 25: "MSE", 26: "MSI", 27: "MSEN",
}

// A v3Message is a control message of L2TPv3: in Message are its type and the
// identifiers that its sender has assigned.
type v3Message struct {
	wire.Message
	remoteSession uint32
	line
}

// An attributeV3 is what an AVP is in words. Nil: its name alone; octets is how many its
// value must have, 0 any number.
type attributeV3 struct {
	name   string
	octets int
	words  func(m *v3Message, v []byte) string // "" for nothing to be said
}

func unsaid(*v3Message, []byte) string     { return "" }
func quoted(_ *v3Message, v []byte) string { return wire.Quote(string(v)) }

func words32(format string) func(*v3Message, []byte) string {
	return func(_ *v3Message, v []byte) string { return fmt.Sprintf(format, binary.BigEndian.Uint32(v)) }
}

func words16(format string) func(*v3Message, []byte) string {
	return func(_ *v3Message, v []byte) string { return fmt.Sprintf(format, number16(v)) }
}

func words64(format string) func(*v3Message, []byte) string {
	return func(_ *v3Message, v []byte) string { return fmt.Sprintf(format, binary.BigEndian.Uint64(v)) }
}

// attributesV3 are the AVPs of RFC 3931 §5.4, and those of IANA's registry that came
// after it or mean something else there than in L2TPv2.
var attributesV3 = map[wire.AVPType]attributeV3{
	0: {"Message Type", 2, func(m *v3Message, v []byte) string {
		m.Type = wire.MessageType(number16(v))
		return ""
	}},
	1:  {"Result Code", 0, resultV3},
	5:  {"Tie Breaker", 8, func(_ *v3Message, v []byte) string { return fmt.Sprintf("tie breaker %x", v) }},
	7:  {"Host Name", 0, quoted},
	8:  {"Vendor Name", 0, quoted},
	10: {"Receive Window Size", 2, words16("window %d")},
	15: {"Serial Number", 4, words32("serial %d")},
	25: {"Physical Channel ID", 4, words32("channel %d")},
	34: {"Circuit Errors", 0, nil},
	36: {"Random Vector", 0, unsaid},
	53: {"Modem On-Hold Capable", 0, nil},
	54: {"Modem On-Hold Status", 0, nil},
	55: {"PPPoE Relay", 0, nil},
	56: {"PPPoE Relay Response Capability", 0, nil},
	57: {"PPPoE Relay Forward Capability", 0, nil},
	58: {"Extended Vendor ID", 0, nil},
	59: {"Message Digest", 0, digestV3},
	60: {"Router ID", 4, func(_ *v3Message, v []byte) string { return "router " + netip.AddrFrom4([4]byte(v)).String() }},
	61: {"Assigned Control Connection ID", 4, func(m *v3Message, v []byte) string {
		m.AssignedTunnelID = binary.BigEndian.Uint32(v)
		return "connection " + hex32(m.AssignedTunnelID)
	}},
	62: {"Pseudowire Capabilities List", 0, capabilitiesV3},
	63: {"Local Session ID", 4, func(m *v3Message, v []byte) string {
		m.AssignedSessionID = binary.BigEndian.Uint32(v)
		return "session " + hex32(m.AssignedSessionID)
	}},
	64: {"Remote Session ID", 4, func(m *v3Message, v []byte) string {
		if m.remoteSession = binary.BigEndian.Uint32(v); m.remoteSession == 0 {
			return "" // not known yet
		}
		return "remote session " + hex32(m.remoteSession)
	}},
	65: {"Assigned Cookie", 0, func(_ *v3Message, v []byte) string { return "cookie of " + octets(len(v)) }},
	66: {"Remote End ID", 0, func(_ *v3Message, v []byte) string { return "remote end " + wire.Quote(string(v)) }},
	67: {"Application Code", 0, nil},
	68: {"Pseudowire Type", 2, func(_ *v3Message, v []byte) string { return pseudowireV3(number16(v)) }},
	69: {"L2-Specific Sublayer", 2, oneOf("sublayer", "none", "default", "ATM-specific", "MPT-specific", "PSP-specific")},
	70: {"Data Sequencing", 2, oneOf("sequencing", "none", "of what is not IP", "of all")},
	71: {"Circuit Status", 2, circuitV3},
	72: {"Preferred Language", 0, func(_ *v3Message, v []byte) string { return "language " + wire.Quote(string(v)) }},
	73: {"Control Message Authentication Nonce", 0, func(*v3Message, []byte) string { return "nonce" }},
	74: {"Tx Connect Speed", 8, words64("%d bit/s")},
	75: {"Rx Connect Speed", 8, words64("Rx %d bit/s")},
	76: {"Failover Capability", 0, nil},
	77: {"Tunnel Recovery", 0, nil},
	78: {"Suggested Control Sequence", 0, nil},
	79: {"Failover Session State", 0, nil},
	80: {"Multicast Capability", 0, nil},
	81: {"New Outgoing Sessions", 0, nil},
	82: {"New Outgoing Sessions Acknowledgement", 0, nil},
	83: {"Withdraw Outgoing Sessions", 0, nil},
	84: {"Multicast Packets Priority", 0, nil},
	85: {"Frame-Relay Header Length", 0, nil},
	86: {"ATM Maximum Concatenated Cells", 0, nil},
	87: {"OAM Emulation Required", 0, nil},
	88: {"ATM Alarm Status", 0, nil},
	89: {"Attachment Group Identifier", 0, nil},
	90: {"Local End Identifier", 0, func(_ *v3Message, v []byte) string { return "local end " + wire.Quote(string(v)) }},
	91: {"Interface Maximum Transmission Unit", 2, words16("MTU %d")},
	92: {"FCS Retention", 0, nil},
	93: {"Tunnel Switching Aggregator ID", 0, nil},
	94: {"Maximum Receive Unit", 2, words16("MRU %d")},
	95: {"Maximum Reassembled Receive Unit", 2, words16("MRRU %d")},
	96: {"VCCV Capability", 0, nil},
	99: {"TDM Pseudowire", 0, nil},

	100: {"RTP", 0, nil},
	101: {"PW Switching Point", 0, nil},
	102: {"S-BFD Target Discriminator ID", 0, nil},
}

// vendorCisco has, from before RFC 3931, AVPs of its own that mean what the IETF's do
// under other numbers.
const vendorCisco = 9

var attributesCisco = map[wire.AVPType]wire.AVPType{
	1: 61, 2: 62, 3: 63, 4: 64, 5: 65, 6: 66, 7: 68, 8: 71, 9: 5, 12: 59, 13: 73, 14: 91,
}

// readControlV3 puts the AVPs of a control message into words, as far as they are
// well-formed. Reserved bits are ignored (RFC 3931 §5.1).
func readControlV3(avps []byte) (m v3Message) {
	m.what = "control message"
	it := wire.NewAVPs(avps)
	for it.Next() {
		a := it.AVP()
		if a.Vendor == vendorCisco && attributesCisco[a.Type] != 0 {
			a.Vendor, a.Type = 0, attributesCisco[a.Type]
		}
		row, ok := attributesV3[a.Type]
		if a.Vendor != 0 || !ok {
			row = attributeV3{name: a.String()}
		}
		switch {
		case a.Hidden:
			m.add("%s hidden", row.name)
		case row.words == nil:
			m.add("%s", row.name)
		case row.octets != 0 && len(a.Value) != row.octets:
			if m.wrong == "" {
				m.wrong = fmt.Sprintf("%s: %s, expected %d", row.name, octets(len(a.Value)), row.octets)
			}
		default:
			if s := row.words(&m, a.Value); s != "" {
				m.items = append(m.items, s)
			}
		}
	}
	if err := it.Err(); err != nil && m.wrong == "" {
		m.wrong = err.(*wire.Error).Reason
	}
	switch name := messagesV3[m.Type]; {
	case m.Type == 0:
	case name != "":
		m.what = name
	default:
		m.what = m.Type.String()
		if !m.Type.Known() {
			m.items = append([]string{"unknown"}, m.items...)
		}
	}
	return m
}

// oneOf is a number in words.
func oneOf(what string, values ...string) func(*v3Message, []byte) string {
	return func(_ *v3Message, v []byte) string {
		if n := int(number16(v)); n < len(values) {
			return what + " " + values[n]
		}
		return fmt.Sprintf("%s %d", what, number16(v))
	}
}

// resultV3 is as in L2TPv2 (RFC 3931 §5.4.2); a message comes before its result.
func resultV3(m *v3Message, v []byte) string {
	if len(v) < 2 || len(v) == 3 {
		m.wrong = fmt.Sprintf("Result Code: %s, expected 2, or 4 and more", octets(len(v)))
		return ""
	}
	r := wire.Result{Code: number16(v)}
	if len(v) >= 4 {
		r.HasError, r.Error = true, number16(v[2:])
	}
	m.items = append(m.items, strings.Split(r.Words(m.Type), "; ")...)
	if len(v) > 4 {
		m.quote(v[4:])
	}
	return ""
}

// digestV3 is RFC 3931 §5.4.1.
func digestV3(_ *v3Message, v []byte) string {
	if len(v) > 0 {
		switch v[0] {
		case 0:
			return "digest HMAC-MD5"
		case 1:
			return "digest HMAC-SHA-1"
		}
	}
	return "digest"
}

// capabilitiesV3 is RFC 3931 §5.4.3.
func capabilitiesV3(m *v3Message, v []byte) string {
	var names []string
	for ; len(v) >= 2; v = v[2:] {
		names = append(names, pseudowireV3(number16(v)))
	}
	if len(v) > 0 {
		m.wrong = "Pseudowire Capabilities List: an odd number of octets"
	}
	if len(names) == 0 {
		return ""
	}
	const most = 8
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return "pseudowires " + strings.Join(names, "/")
}

// pseudowireV3 is a pseudowire type, by IANA's registry but for 7 and 11, which are
// Linux's.
func pseudowireV3(n uint16) string {
	names := [...]string{1: "Frame Relay", 2: "ATM AAL5", 3: "ATM port", 4: "VLAN", 5: "Ethernet", 6: "HDLC", 7: "PPP", 9: "ATM VCC", 10: "ATM VPC", 11: "IP"}
	if int(n) < len(names) && names[n] != "" {
		return names[n]
	}
	return fmt.Sprintf("type %d", n)
}

// circuitV3 is RFC 5641 §2: Active, the faults, Standby. New is deprecated.
func circuitV3(m *v3Message, v []byte) string {
	n := number16(v)
	if n&1 != 0 {
		m.add("circuit up")
	} else {
		m.add("circuit down")
	}
	for _, bit := range []struct {
		mask uint16
		name string
	}{{4, "receive fault"}, {8, "transmit fault"}, {0x10, "PSN receive fault"}, {0x20, "PSN transmit fault"}, {0x40, "standby"}} {
		if n&bit.mask != 0 {
			m.add("%s", bit.name)
		}
	}
	return ""
}
