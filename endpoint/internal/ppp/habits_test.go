package ppp

import (
	"net/netip"
	"testing"
	"time"
)

// What peers in the field do, each named after the peer.

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
	x.want("up", "Up{Local:10.77.0.10 ...", "IPCP Configure-Ack ...")
}

// A SoftEther of today asks a user who has a password for EAP-MSCHAPv2 in that EAP,
// and says no word beside its proof. We go on with it where EAP is allowed.
func TestHabitSoftEtherEAP(t *testing.T) {
	x := open(t, eapConfig(MSCHAPv2, CHAPMD5, EAPMSCHAPv2))
	x.forget()
	x.lcp(configureRequest, 1, uint16Option(lcpMRU, 1500), option{lcpAuth, []byte(optionEAP)})
	x.lcp(configureReject, 1, uint32Option(lcpMagic, x.link.lcp.magic))
	x.ackOurs(&x.link.lcp.automaton)
	x.want("EAP", "LCP Configure-Ack 1 <mru 1500> <auth eap>", "LCP Configure-Request 2 <mru 1400>")
	x.eap(eapRequest, 2, "\x01")
	x.eap(eapRequest, 3, msPacket(chapChallenge, 3, "\x10"+sixteen, "vpn"))
	inner, _ := parsePacket(x.last().data[1:])
	value, name, _ := parseValue(inner)
	proof, err := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 3, []byte(sixteen), value, name)
	if err != nil {
		t.Fatal(err)
	}
	x.eap(eapRequest, 4, msPacket(chapSuccess, 3, proof[:42]))
	x.eap(eapSuccess, 4)
	x.want("authenticated", `EAP Response 2 identity "alice"`, `EAP Response 3 eap-mschapv2 Response 3 49 octets "alice"`, "EAP Response 4 eap-mschapv2 Success",
		"Authenticated{Method:eap-mschapv2 User:alice Message:S=...", "IPCP Configure-Request 1 ...")
}

// A SoftEther of before 2021 had EAP-TLS only. When we do not agree to that, it
// rejects EAP and asks for MS-CHAPv2.
func TestHabitSoftEtherWithEAPTLS(t *testing.T) {
	x := openEAP(t, MSCHAPv2, EAPMSCHAPv2)
	x.eap(eapRequest, 2, "\x01")
	x.eap(eapRequest, 3, "\x0d\x20")
	x.lcp(protocolReject, 4, "\xc2\x27\x02\x03\x00\x06\x03\x1a")
	x.want("EAP is over", `EAP Response 2 identity "alice"`, "EAP Response 3 nak 1a")
	x.lcp(configureRequest, 5, uint16Option(lcpMRU, 1500), auth(MSCHAPv2))
	x.ackOurs(&x.link.lcp.automaton)
	x.want("from the beginning", "LCP Configure-Request 2 ...", "LCP Configure-Ack 5 <mru 1500> <auth mschapv2>")
	x.authenticateMSCHAPv2()
	if x.link.phase != network {
		t.Errorf("phase %v", x.link.phase)
	}
}

// l2tpns offers MRRU and an endpoint discriminator, and Naks every interface
// identifier but the one that it makes of the IPv4 address.
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

	x = dualClient(t)
	x.ipv6cp(configureNak, 1, option{ipv6cpInterface, []byte("\x00\x00\x00\x00\x0a\x4d\x00\x0a")})
	x.want("IPV6CP, which we take", "IPV6CP Configure-Request 2 <id ours>")
	x.ackOurs(&x.link.ipv6cp.automaton)
	x.ipv6cp(configureRequest, 1, option{ipv6cpInterface, []byte("\x00\x00\x00\x00\x00\x00\x00\x01")})
	if got := x.link.ipv6cp.local; !x.link.ipv6cp.isUp || got != interfaceID([]byte("\x00\x00\x00\x00\x0a\x4d\x00\x0a")) {
		t.Errorf("IPV6CP in state %v as %x", x.link.ipv6cp.state, got)
	}
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
	x.raw(append([]byte{0x21}, 0x45))
	x.raw([]byte("\xc0\x21\x09\x01\x00\x08\x00\x00\x00\x00"))
	x.want("what they allow: one octet of protocol, no address and control", "LCP Echo-Reply 1 ...")
}

// MikroTik starts IPCP while CCP is in flight, may put an octet before its proof
// (RouterOS's MS-CHAPv2), and octets after the length of a PAP message.
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

	x = open(t, clientConfig())
	x.openLCP(auth(MSCHAPv2))
	x.chap(chapChallenge, 1, "\x10"+sixteen, "MikroTik")
	value, name, _ := parseValue(x.last())
	proof, err := (&mschapv2{}).verify(Credential{Password: []byte("s3cret")}, 1, []byte(sixteen), value, name)
	if err != nil {
		t.Fatal(err)
	}
	x.chap(chapSuccess, 1, "\x01", proof[:42])
	x.want("an octet before S=", "CHAP Response ...", "Authenticated{...", "IPCP Configure-Request ...")
}

// Windows sends no FF 03, asks for NetBIOS name servers, and calls itself
// DOMAIN\user where MS-CHAPv2 hashes the user.
func TestHabitWindows(t *testing.T) {
	x := serverInNetwork(t)
	zero := netip.Addr{}
	p := packet{configureRequest, 6, join(addrOption(ipcpAddress, zero), addrOption(ipcpDNS1, zero), addrOption(130, zero), addrOption(ipcpDNS2, zero), addrOption(132, zero))}
	x.raw(append([]byte{0x80, 0x21}, p.appendTo(nil)...))
	x.want("we have no name servers of any kind", "IPCP Configure-Reject 6 <dns1 0.0.0.0> <130 00000000> <dns2 0.0.0.0> <132 00000000>")
	x.raw(append([]byte{0x80, 0x21}, packet{configureRequest, 7, join(addrOption(ipcpAddress, zero))}.appendTo(nil)...))
	x.want("an address", "IPCP Configure-Nak 7 <addr 10.77.0.10>")

	x = open(t, chapConfig(MSCHAPv2))
	x.openLCP()
	value := make([]byte, msValueLen)
	copy(value[msResponseAt:], challengeResponse(challengeHash(value[:16], x.link.exchange.(*chapServer).challenge, []byte("alice")), ntPasswordHash([]byte("s3cret"))))
	x.chap(chapResponse, 1, "\x31", value, `BIGCO\alice`)
	x.do(func(now time.Time) { x.link.Credential(now, Credential{Password: []byte("s3cret")}, nil) })
	x.want("the owner sees the whole name", `AuthQuestion{Method:mschapv2 User:BIGCO\alice}`, "CHAP Success 1 ...", `Authenticated{Method:mschapv2 User:BIGCO\alice Message:}`, `AddressQuestion{User:BIGCO\alice}`)
}

// pppd starts CCP and IPV6CP beside IPCP, offers ACCM always, identifies
// itself, is content when nobody asks it to authenticate, gives one name server
// twice, and ends EAP under the identifier after the Response's.
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
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside), addrOption(ipcpDNS1, dns1), addrOption(ipcpDNS2, dns1))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.want("one name server", "IPCP Configure-Request 2 ...", "Up{Local:10.77.0.10 Peer:10.77.0.1 DNS:[10.77.0.53] MTU:1400}", "IPCP Configure-Ack 1 ...")

	x = openEAP(t, EAPMD5)
	x.eap(eapRequest, 0xff, "\x04\x05fresh", "lns")
	x.eap(eapSuccess, 0x00)
	x.want("one more", "EAP Response 255 ...", "Authenticated{...", "IPCP Configure-Request ...")
	x = openEAP(t, EAPMD5)
	x.eap(eapRequest, 7, "\x04\x05fresh", "lns")
	x.forget()
	x.eap(eapFailure, 8)
	x.want("so too the Failure", "LCP Terminate-Request ...")
}

// xl2tpd starts its pppd when the call stands: the pppd has not heard our request
// when it makes its own, half a second later.
func TestHabitXl2tpd(t *testing.T) {
	x := open(t, serverConfig())
	x.forget()
	x.wait(500 * time.Millisecond)
	x.lcp(configureRequest, 1, uint32Option(lcpACCM, 0), uint32Option(lcpMagic, 1))
	x.want("ours again, and then the reply", "LCP Configure-Request 1 <mru 1400> <auth mschapv2> <magic ours>", "LCP Configure-Ack 1 <2 00000000> <magic 00000001>")
}

// Many a peer sends 1,500 octets whatever it has agreed to: "implementations …
// MUST still be able to receive" them.
func TestHabitMRUIgnored(t *testing.T) {
	x := clientInNetwork(t)
	data := make([]byte, fullMRU-packetHeaderLen)
	x.lcp(echoRequest, 1, data)
	if n := len(x.last().data); n != len(data) {
		t.Errorf("a reply of %d octets to %d", n, len(data))
	}
}
