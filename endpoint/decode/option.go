package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Protocol numbers of PPP that have a name here.
const (
	protoIPCP   = 0x8021
	protoIPV6CP = 0x8057
	protoCCP    = 0x80fd
	protoLCP    = 0xc021
	protoPAP    = 0xc023
	protoCHAP   = 0xc223
	protoEAP    = 0xc227
)

var protocolNames = map[uint16]string{
	0x0021: "IPv4", 0x0057: "IPv6", 0x00fd: "compressed datagrams",
	protoIPCP: "IPCP", 0x8029: "ATCP", 0x802b: "IPXCP", 0x8031: "BCP", 0x803f: "NBFCP",
	0x8053: "ECP", protoIPV6CP: "IPV6CP", protoCCP: "CCP", 0x8207: "CDPCP", 0x8281: "MPLSCP",
	protoLCP: "LCP", protoPAP: "PAP", 0xc025: "LQR", protoCHAP: "CHAP", protoEAP: "EAP",
}

func protocolName(protocol uint16) string {
	if n := protocolNames[protocol]; n != "" {
		return n
	}
	return fmt.Sprintf("protocol %#04x", protocol)
}

// An option of a Configure packet (RFC 1661 §6).
type option struct {
	kind uint8
	data []byte
}

// parseOptions reads options up to the end or the first that is none, and says
// what is wrong with that.
func parseOptions(b []byte) (list []option, reason string) {
	for len(b) > 0 {
		switch {
		case len(b) < 2:
			return list, "an octet after the last option"
		case b[1] < 2:
			return list, fmt.Sprintf("option %d has Length %d, less than 2", b[0], b[1])
		case int(b[1]) > len(b):
			return list, fmt.Sprintf("option %d has Length %d, the packet ends after %d", b[0], b[1], len(b))
		}
		list = append(list, option{b[0], b[2:b[1]]})
		b = b[b[1]:]
	}
	return list, ""
}

// Options that are looked at, and not only shown.
const (
	ipcpAddress = 3
	ccpMPPE     = 18
)

// wishes are what an observer remembers of a Configure-Request.
type wishes struct {
	address netip.Addr // IPCP
	mppe    string     // CCP
}

func readWishes(protocol uint16, data []byte) (w wishes) {
	list, _ := parseOptions(data)
	for _, o := range list {
		switch {
		case protocol == protoIPCP && o.kind == ipcpAddress && len(o.data) == 4:
			w.address = netip.AddrFrom4([4]byte(o.data))
		case protocol == protoCCP && o.kind == ccpMPPE && len(o.data) == 4:
			w.mppe = mppe(o.data)
		}
	}
	return w
}

// A form says how an option's data is shown.
type form func(data []byte) (string, bool)

// optionForms are the options that have names, by protocol: LCP of RFC 1661 §6,
// 1662, 1570, 1990; IPCP of RFC 1332, 1877; IPV6CP of RFC 5072; CCP of RFC 1962
// and those that it lists, 3078.
var optionForms = map[uint16]map[uint8]struct {
	name string
	form form
}{
	protoLCP: {
		1:  {"MRU", number(2)},
		2:  {"ACCM", mask},
		3:  {"auth", func(b []byte) (string, bool) { return authMethod(b), len(b) >= 2 }},
		4:  {"quality", func(b []byte) (string, bool) { return protocolName(number16(b)), len(b) >= 2 }},
		5:  {"magic", silent(4)},
		7:  {"PFC", silent(0)},
		8:  {"ACFC", silent(0)},
		9:  {"FCS alternatives", number(1)},
		10: {"self-describing padding", number(1)},
		13: {"callback", silent(-1)},
		17: {"MRRU", number(2)},
		18: {"short sequence numbers", silent(0)},
		19: {"endpoint discriminator", silent(-1)},
		23: {"link discriminator", number(2)},
	},
	protoIPCP: {
		1:   {"addresses", silent(8)},
		2:   {"compression", func(b []byte) (string, bool) { return compression(b), len(b) >= 2 }},
		3:   {"address", address},
		129: {"DNS1", address},
		130: {"NBNS1", address},
		131: {"DNS2", address},
		132: {"NBNS2", address},
	},
	protoIPV6CP: {
		1: {"", func(b []byte) (string, bool) { return iid(b), len(b) == 8 }},
		2: {"compression", func(b []byte) (string, bool) { return protocolName(number16(b)), len(b) >= 2 }},
	},
	protoCCP: {
		0:  {"proprietary", silent(-1)},
		1:  {"Predictor 1", silent(-1)},
		2:  {"Predictor 2", silent(-1)},
		17: {"Stac LZS", silent(-1)},
		18: {"MPPE", func(b []byte) (string, bool) { return mppe(b), len(b) == 4 }},
		21: {"BSD compress", silent(-1)},
		24: {"Deflate", silent(-1)},
		26: {"Deflate", silent(-1)},
	},
}

// describe is the option in words.
func (o option) describe(protocol uint16) string {
	row, ok := optionForms[protocol][o.kind]
	if !ok {
		return fmt.Sprintf("option %d", o.kind)
	}
	value, ok := row.form(o.data)
	if !ok {
		return fmt.Sprintf("%s of %s", row.name, octets(len(o.data)))
	}
	return strings.TrimSpace(row.name + " " + value)
}

// silent is for data of so many octets, -1 for any, of which nothing is shown.
func silent(n int) form {
	return func(b []byte) (string, bool) { return "", n < 0 || len(b) == n }
}

// number is for a number of n octets.
func number(n int) form {
	return func(b []byte) (string, bool) {
		v := 0
		for _, octet := range b[:min(n, len(b))] {
			v = v<<8 | int(octet)
		}
		return fmt.Sprint(v), len(b) == n
	}
}

func number16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func mask(b []byte) (string, bool) {
	if len(b) != 4 {
		return "", false
	}
	if v := binary.BigEndian.Uint32(b); v != 0 {
		return fmt.Sprintf("%08x", v), true
	}
	return "0", true
}

func address(b []byte) (string, bool) {
	if len(b) != 4 {
		return "", false
	}
	return netip.AddrFrom4([4]byte(b)).String(), true
}

// iid is an interface identifier as the lower half of an address.
func iid(b []byte) string {
	if len(b) != 8 {
		return ""
	}
	a := [16]byte{0xfe, 0x80}
	copy(a[8:], b)
	return strings.TrimPrefix(netip.AddrFrom16(a).String(), "fe80")
}

func compression(b []byte) string {
	if p := number16(b); p != 0x002d {
		return protocolName(p)
	}
	return "Van Jacobson"
}

// authMethod is the data of an Authentication-Protocol option (RFC 1661 §6.2,
// 1994 §3, 2433 §2, 2759 §2).
func authMethod(b []byte) string {
	switch p := number16(b); {
	case p == protoCHAP && len(b) == 3 && b[2] == 5:
		return "CHAP-MD5"
	case p == protoCHAP && len(b) == 3 && b[2] == 0x80:
		return "MS-CHAP"
	case p == protoCHAP && len(b) == 3 && b[2] == 0x81:
		return "MS-CHAPv2"
	case p == protoCHAP && len(b) == 3:
		return fmt.Sprintf("CHAP algorithm %d", b[2])
	default:
		return protocolName(p)
	}
}

// mppe is the data of an MPPE/MPPC option (RFC 3078 §2).
func mppe(b []byte) string {
	if len(b) != 4 {
		return ""
	}
	bits := binary.BigEndian.Uint32(b)
	var words []string
	for _, w := range []struct {
		bit  uint32
		word string
	}{{0x20, "40 bit"}, {0x80, "56 bit"}, {0x40, "128 bit"}, {0x01000000, "stateless"}, {1, "MPPC"}} {
		if bits&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}
