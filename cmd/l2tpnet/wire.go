package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// wireFlags are what both ends of a static pseudowire have to agree on. Their names
// are those of ip l2tp, and as there cookie is what is sent, peer-cookie what is
// expected.
type wireFlags struct {
	Remote         string     `placeholder:"ADDR:PORT" help:"UDP address of the other end."`
	SessionID      sessionID  `name:"session-id" placeholder:"N" help:"Our session id, which the other end writes into what it sends: the session_id of ip l2tp here, the other end's peer_session_id."`
	PeerSessionID  sessionID  `name:"peer-session-id" placeholder:"N" help:"The other end's session id, its session_id."`
	Cookie         cookie     `placeholder:"HEX" help:"Cookie in what we send, 4 or 8 octets: the other end's peer_cookie. Default: none."`
	PeerCookie     cookie     `name:"peer-cookie" placeholder:"HEX" help:"Cookie that is expected in what comes; all else is dropped. Default: none."`
	L2spec         sublayer   `name:"l2spec" placeholder:"WHICH" help:"L2-specific sublayer: none or default. Linux has default when its l2spec_type is not set, most others have none. Default: none, or default with --seq."`
	Seq            sequencing `placeholder:"WHO" help:"Who numbers frames, so that those which come late are put in order: none, send, recv or both. Default: none."`
	ReorderTimeout span       `placeholder:"TIME" help:"With --seq recv and both: how long a frame that has overtaken others waits for them, such as 100ms. Default: not at all, and those that come later are dropped."`
	PW             pseudowire `name:"pw" default:"ethernet" placeholder:"TYPE" help:"What the pseudowire carries: ethernet, vlan:ID, ppp or ip. Default: ${default}."`
}

// static makes what package endpoint wants to know of it, and finds what is wrong.
func (f *wireFlags) static() (endpoint.StaticConfig, error) {
	c := endpoint.StaticConfig{
		Type: f.PW.kind, VLAN: f.PW.vlan,
		SessionID: uint32(f.SessionID), PeerSessionID: uint32(f.PeerSessionID), Cookie: f.Cookie, PeerCookie: f.PeerCookie,
		Sublayer: endpoint.Sublayer(f.L2spec), Sequencing: endpoint.Sequencing(f.Seq), ReorderTimeout: time.Duration(f.ReorderTimeout),
	}
	return c, checkOrder(f.L2spec, f.Seq, f.ReorderTimeout)
}

// numbers tells whether one end or both number their frames.
func (f *wireFlags) numbers() bool {
	return f.Seq != "" && endpoint.Sequencing(f.Seq) != endpoint.SequencingNone
}

// sublayer tells whether frames have the default sublayer.
func (f *wireFlags) sublayer() bool {
	return endpoint.Sublayer(f.L2spec) == endpoint.SublayerDefault || f.L2spec == "" && f.numbers()
}

// checkUDP finds what is not a UDP address, in a flag or a line.
func checkUDP(name, s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		if n, bad := strconv.ParseUint(port, 10, 16); bad == nil && n > 0 && (host != "" || name == "local") {
			return nil
		}
	}
	return fmt.Errorf("--%s: expected an address and a port, such as 192.0.2.7:1701 or [2001:db8::7]:1701, found %q", name, s)
}

// checkFamilies finds ends that cannot send to each other, where they are addresses.
func checkFamilies(local, remote string) error {
	l, err := netip.ParseAddrPort(local)
	r, bad := netip.ParseAddrPort(remote)
	if err != nil || bad != nil || l.Addr().IsUnspecified() || l.Addr().Unmap().Is4() == r.Addr().Unmap().Is4() {
		return nil
	}
	return fmt.Errorf("expected both ends to have IPv4 or IPv6 addresses, found %v and %v", l, r)
}

// A sessionID is a number as ip l2tp and QEMU write it: 7, 0x7.
type sessionID uint32

func (id *sessionID) UnmarshalText(text []byte) error {
	base, digits := 10, string(text)
	if rest, ok := strings.CutPrefix(strings.ToLower(digits), "0x"); ok {
		base, digits = 16, rest
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n == 0 {
		return fmt.Errorf("expected a number from 1 to 4294967295, decimal or as 0x1a2b, found %q", text)
	}
	*id = sessionID(n)
	return nil
}

// A cookie is 4 or 8 octets, in hexadecimal digits.
type cookie []byte

func (c *cookie) UnmarshalText(text []byte) error {
	digits := string(text)
	if len(digits) > 1 && digits[0] == '0' && digits[1]|' ' == 'x' {
		digits = digits[2:]
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != 4 && len(b) != 8 {
		example := "deadbeef or 0x0123456789abcdef"
		if n, bad := strconv.ParseUint(digits, 16, 64); bad == nil && len(digits) < 16 { // a number, as QEMU has it
			example = fmt.Sprintf("0x%0*x", 8+len(digits)/8*8, n)
		}
		return fmt.Errorf("expected 8 or 16 hexadecimal digits, such as %s, found %q", example, text)
	}
	*c = b
	return nil
}

func (c cookie) String() string { return hex.EncodeToString(c) }

// sublayer and sequencing are words of ip l2tp.
type (
	sublayer   string
	sequencing string
)

func (s *sublayer) UnmarshalText(text []byte) error {
	parsed, err := endpoint.ParseSublayer(string(text))
	*s = sublayer(parsed)
	return err
}

func (s *sequencing) UnmarshalText(text []byte) error {
	parsed, err := endpoint.ParseSequencing(string(text))
	*s = sequencing(parsed)
	return err
}

// A pseudowire is what --pw says: a type, and the tag of a VLAN.
type pseudowire struct {
	kind endpoint.PseudowireType
	vlan uint16
}

func (pw *pseudowire) UnmarshalText(text []byte) error {
	word, id, tagged := strings.Cut(string(text), ":")
	kind, ok := map[string]endpoint.PseudowireType{
		"ethernet": endpoint.PseudowireEthernet, "vlan": endpoint.PseudowireVLAN, "ppp": endpoint.PseudowirePPP, "ip": endpoint.PseudowireIP,
	}[word]
	if !ok || tagged != (word == "vlan") {
		return fmt.Errorf("expected ethernet, vlan:ID, ppp or ip, found %q", text)
	}
	*pw = pseudowire{kind: kind}
	if !tagged {
		return nil
	}
	n, err := strconv.ParseUint(id, 10, 16)
	if err != nil || n < 1 || n > 4094 {
		return fmt.Errorf("expected a VLAN from 1 to 4094, such as vlan:7, found %q", text)
	}
	pw.vlan = uint16(n)
	return nil
}

func (pw pseudowire) String() string {
	switch pw.kind {
	case endpoint.PseudowireVLAN:
		return fmt.Sprintf("VLAN %d", pw.vlan)
	case endpoint.PseudowirePPP:
		return "PPP"
	case endpoint.PseudowireIP:
		return "IP"
	}
	return "Ethernet"
}

// flag is what --pw says.
func (pw pseudowire) flag() string {
	switch pw.kind {
	case endpoint.PseudowireVLAN:
		return fmt.Sprintf("vlan:%d", pw.vlan)
	case endpoint.PseudowirePPP:
		return "ppp"
	case endpoint.PseudowireIP:
		return "ip"
	}
	return "ethernet"
}

// ethernet tells whether there are Ethernet frames inside.
func (pw pseudowire) ethernet() bool {
	return pw.kind == endpoint.PseudowireEthernet || pw.kind == endpoint.PseudowireVLAN
}

// A cidr is an address of ours with the length of its network.
type cidr netip.Prefix

func (c *cidr) UnmarshalText(text []byte) error {
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		hint := "such as 10.77.0.5/24 or fd00:77::5/64"
		if a, bad := netip.ParseAddr(string(text)); bad == nil {
			hint = fmt.Sprintf("such as %v/%d", a, map[bool]int{true: 24, false: 64}[a.Is4()])
		}
		return fmt.Errorf("expected an address with the length of its network, %s, found %q", hint, text)
	}
	*c = cidr(p)
	return nil
}

// A mac is the hardware address of one interface.
type mac net.HardwareAddr

func (m *mac) UnmarshalText(text []byte) error {
	a, err := net.ParseMAC(string(text))
	if err != nil || len(a) != 6 || a[0]&1 != 0 || [6]byte(a) == [6]byte{} {
		return fmt.Errorf("expected the address of one interface such as 02:00:5e:00:53:07, found %q", text)
	}
	*m = mac(a)
	return nil
}
