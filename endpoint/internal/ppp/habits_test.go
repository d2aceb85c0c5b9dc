package ppp

import (
	"net/netip"
	"testing"
	"time"
)

// What peers in the field do (PROTOCOL.md, "PPP"), each named after the peer.

// SoftEther asks for EAP first, sends Echo-Requests before LCP is opened,
// rejects the Magic-Number, and answers IPCP after four or five seconds, when
// it has run DHCP.
func TestHabitSoftEther(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.lcp(echoRequest, 1, "\x00\x00\x00\x00")
	x.want("an early echo, with magic 0", "LCP Echo-Reply 1 00000000")
	x.lcp(configureRequest, 1, uint16Option(lcpMRU, 1500), option{lcpAuth, []byte{0xc2, 0x27}})
	x.want("EAP", "LCP Configure-Nak 1 <auth mschapv2>")
	x.lcp(configureReject, 1, uint32Option(lcpMagic, x.link.lcp.magic))
	x.want("no magic", "LCP Configure-Request 2 <mru 1400>")
	x.lcp(configureRequest, 2, uint16Option(lcpMRU, 1500), auth(MSCHAPv2))
	x.want("it takes the hint", "LCP Configure-Ack 2 <mru 1500> <auth mschapv2>")
	x.ackOurs(&x.link.lcp.automaton)
	x.chap(chapChallenge, 1, "\x10cccccccccccccccc", "SoftEther")
	value, name, _ := parseValue(x.last())
	proof, err := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 1, []byte("cccccccccccccccc"), value, name)
	if err != nil {
		t.Fatal(err)
	}
	x.chap(chapSuccess, 1, proof)
	x.want("authenticated", `CHAP Response 1 49 octets "alice"`, "Authenticated{...", "IPCP Configure-Request 1 ...")
	x.wait(5 * time.Second)
	x.want("repeated, under the same identifier; and magic 0 in our Echo-Requests, since it was rejected", "IPCP Configure-Request 1 ...", "LCP Echo-Request 3 00000000")
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns2))
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns2))
	x.want("the late answer counts, once", "IPCP Configure-Request 2 ...")
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.want("up", "IPCP Configure-Ack ...", "Up{Local:10.77.0.10 ...")
}

// l2tpns offers MRRU and an endpoint discriminator.
func TestHabitL2tpns(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	mrru, discriminator := option{17, []byte{0x05, 0xdc}}, option{19, []byte{3, 1, 2, 3, 4, 5, 6}}
	x.lcp(configureRequest, 1, uint16Option(lcpMRU, 1458), auth(PAP), uint32Option(lcpMagic, 1), mrru, discriminator)
	x.want("multilink", "LCP Configure-Reject 1 <17 05dc> <19 03010203040506>")
	x.lcp(configureRequest, 2, uint16Option(lcpMRU, 1458), auth(PAP), uint32Option(lcpMagic, 1))
	x.want("without", "LCP Configure-Ack 2 <mru 1458> <auth pap> <magic 00000001>")
	x.ackOurs(&x.link.lcp.automaton)
	x.pap(papAck, 1)
	x.forget()
	x.frame(0x8057, packet{configureNak, 1, []byte("\x01\x0a12345678")}.appendTo(nil)...)
	x.want("IPV6CP, which we never began", "LCP Protocol-Reject 2 80570301000e010a3132333435363738")
}

// slirp asks for PFC and ACFC, and offers Van Jacobson compression.
func TestHabitSlirp(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.lcp(configureRequest, 1, option{lcpPFC, nil}, option{lcpACFC, nil})
	x.want("acknowledged, and not done", "LCP Configure-Ack 1 <7 > <8 >")
	x.lcp(configureRequest, 2, option{lcpPFC, []byte{1}})
	x.want("Options which have no value fields (boolean options) MUST use the Configure-Reject reply", "LCP Configure-Reject 2 <7 01>")
	x.lcp(configureRequest, 3, option{lcpPFC, nil}, option{lcpACFC, nil})
	x.ackOurs(&x.link.lcp.automaton)
	x.forget()
	vj := option{2, []byte{0x00, 0x2d, 15, 1}}
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway), vj)
	x.want("no compression", "IPCP Configure-Reject 1 <2 002d0f01>")
	x.ipcp(configureRequest, 2, addrOption(ipcpAddress, gateway))
	x.want("without", "IPCP Configure-Ack 2 <addr 10.77.0.1>")
}

// MikroTik starts IPCP while CCP is in flight.
func TestHabitMikroTik(t *testing.T) {
	x := open(t, clientConfig())
	x.openLCP(auth(PAP))
	x.pap(papAck, 1, "\x00", "octets after the message")
	x.forget()
	ccp := packet{configureRequest, 1, []byte("\x12\x06\x01\x00\x00\x60")}.appendTo(nil)
	x.frame(0x80fd, ccp...)
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.frame(0x80fd, ccp...)
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.want("CCP is rejected, and IPCP goes on", "LCP Protocol-Reject 2 80fd0101000a120601000060", "IPCP Configure-Ack 1 <addr 10.77.0.1>",
		"LCP Protocol-Reject 3 80fd0101000a120601000060", "IPCP Configure-Request 2 <addr 10.77.0.10> <dns1 0.0.0.0> <dns2 0.0.0.0>",
		"Up{Local:10.77.0.10 Peer:10.77.0.1 DNS:[] MTU:1400}")
}

// Windows sends no FF 03, and asks for NetBIOS name servers.
func TestHabitWindows(t *testing.T) {
	x := serverInNetwork(t)
	zero := netip.Addr{}
	p := packet{configureRequest, 6, join(addrOption(ipcpAddress, zero), addrOption(ipcpDNS1, zero), addrOption(130, zero), addrOption(ipcpDNS2, zero), addrOption(132, zero))}
	x.raw(append([]byte{0x80, 0x21}, p.appendTo(nil)...))
	x.want("we have no name servers of any kind", "IPCP Configure-Reject 6 <dns1 0.0.0.0> <130 00000000> <dns2 0.0.0.0> <132 00000000>")
	x.raw(append([]byte{0x80, 0x21}, packet{configureRequest, 7, join(addrOption(ipcpAddress, zero))}.appendTo(nil)...))
	x.want("an address", "IPCP Configure-Nak 7 <addr 10.77.0.10>")
}

// pppd starts CCP and IPV6CP beside IPCP, offers ACCM always, identifies
// itself, and is content when nobody asks it to authenticate.
func TestHabitPppd(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.lcp(configureRequest, 1, uint16Option(lcpMRU, 1400), uint32Option(lcpACCM, 0), uint32Option(lcpMagic, 1))
	x.want("ACCM", "LCP Configure-Ack 1 <mru 1400> <2 00000000> <magic 00000001>")
	x.ackOurs(&x.link.lcp.automaton)
	x.want("no authentication: straight to the network", "IPCP Configure-Request 1 ...")
	x.frame(0x80fd, packet{configureRequest, 1, nil}.appendTo(nil)...)
	x.frame(0x8057, packet{configureRequest, 1, nil}.appendTo(nil)...)
	x.frame(0x0057, 0x60)
	x.want("others, and data of others", "LCP Protocol-Reject 2 80fd01010004", "LCP Protocol-Reject 3 805701010004", "LCP Protocol-Reject 4 005760")
	x.lcp(identification, 4, "\x00\x00\x00\x01pppd 2.4.9")
	x.want("for the log", "Notice{Packet:LCP Identification Text:pppd 2.4.9}")
}

// Frames as they come: with and without FF 03, with protocols of one octet and
// two, with padding.
func TestParseFrame(t *testing.T) {
	for frame, want := range map[string]struct {
		protocol    uint16
		information string
		ok          bool
	}{
		"\xff\x03\x00\x21x":  {0x21, "x", true},
		"\x00\x21x":          {0x21, "x", true},
		"\x21x":              {0x21, "x", true},
		"\xff\x03\x21x":      {0x21, "x", true},
		"\xff\x03\xc0\x21x":  {0xc021, "x", true},
		"\xc0\x21":           {0xc021, "", true},
		"\xc0":               {},
		"\xff\x03":           {},
		"\xff\x03\xc0":       {},
		"":                   {},
		"\xff":               {0xff, "", true},
		"\xff\x04\x21":       {0xff, "\x04\x21", true},
		"\x80\x22x":          {0x8022, "x", true}, // "MUST be treated as having an unrecognized Protocol"
		"\xff\x03\xff\x03xx": {0xff, "\x03xx", true},
	} {
		protocol, information, ok := ParseFrame([]byte(frame))
		if protocol != want.protocol || string(information) != want.information || ok != want.ok {
			t.Errorf("%x: %04x %q %v, want %04x %q %v", frame, protocol, information, ok, want.protocol, want.information, want.ok)
		}
	}
	x := open(t, clientConfig())
	x.forget()
	request := packet{configureRequest, 1, nil}.appendTo(nil)
	x.raw(append([]byte{0xc0, 0x21}, request...))
	x.want("without FF 03", "LCP Configure-Ack 1")
	x.raw(append([]byte{0xff, 0x03, 0xc0, 0x21}, append(request, "padding"...)...))
	x.want("Octets outside the range of the Length field are treated as padding", "LCP Configure-Ack 1")
	for _, bad := range []string{"", "\x01", "\x01\x01\x00", "\x01\x01\x00\x03", "\x01\x01\x00\x05", "\x01\x01\xff\xff"} {
		x.raw([]byte("\xff\x03\xc0\x21" + bad))
	}
	x.want("When a packet is received with an invalid Length field, the packet is silently discarded")
}
