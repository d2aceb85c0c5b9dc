package ppp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// idOption is an interface identifier of eight times an octet.
func idOption(octet string) option { return option{ipv6cpInterface, []byte(strings.Repeat(octet, 8))} }

// dualClient is a client in the network phase that wants IPv6 too, and sends no
// Echo-Requests. What came out is forgotten.
func dualClient(t *testing.T) *tester {
	cfg := clientConfig()
	cfg.NoIPv6, cfg.EchoInterval = false, -1
	x := open(t, cfg)
	x.openLCP()
	return x
}

// upIPCP and upIPV6CP play a peer that agrees.
func (x *tester) upIPCP() {
	x.Helper()
	x.ipcp(configureRequest, 1, addrOption(ipcpAddress, gateway))
	x.ipcp(configureNak, x.link.ipcp.requestID, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	if !x.link.ipcp.isUp {
		x.Fatalf("IPCP is in state %v", x.link.ipcp.state)
	}
	x.forget()
}

func (x *tester) upIPV6CP() {
	x.Helper()
	x.ipv6cp(configureRequest, 1, idOption("p"))
	x.ackOurs(&x.link.ipv6cp.automaton)
	if !x.link.ipv6cp.isUp {
		x.Fatalf("IPV6CP is in state %v", x.link.ipv6cp.state)
	}
	x.forget()
}

func (x *tester) wantSettled(times int) {
	x.Helper()
	if x.settled != times {
		x.Errorf("Settled %d times, want %d", x.settled, times)
	}
}

// "Each Network Control Protocol may be Opened and Closed at any time" (RFC 1661
// §3.6): both come up, in any order, and go down without each other.
func TestTwoNetworks(t *testing.T) {
	x := dualClient(t)
	x.lcp(configureRequest, 102)
	x.ackOurs(&x.link.lcp.automaton)
	x.want("both are asked for", "LCP Configure-Request 2 <mru 1400> <magic ours>", "LCP Configure-Ack 102",
		"IPCP Configure-Request 2 <addr 0.0.0.0> <dns1 0.0.0.0> <dns2 0.0.0.0>", "IPV6CP Configure-Request 2 <id ours>")
	x.ackOurs(&x.link.ipv6cp.automaton)
	x.ipv6cp(configureRequest, 1, idOption("p"))
	x.want("IPv6 first", "Up6{Peer:7070707070707070 MTU:1400}", "IPV6CP Configure-Ack 1 <id 7070707070707070>")
	x.wantSettled(0)
	x.upIPCP()
	x.wantSettled(1)

	x.ipv6cp(terminateRequest, 9)
	x.want("IPv6 alone goes down", "NetworkDown{IPv6}", "IPV6CP Terminate-Ack 9")
	x.wait(3 * time.Second)
	x.ipv6cp(configureRequest, 10, idOption("q"))
	x.want("and comes again", "IPV6CP Configure-Request 3 <id ours>", "IPV6CP Configure-Ack 10 <id 7171717171717171>")
	x.ackOurs(&x.link.ipv6cp.automaton)
	x.want("with another identifier", "Up6{Peer:7171717171717171 MTU:1400}")

	x.ipcp(configureRequest, 2, addrOption(ipcpAddress, gateway))
	x.want("IPv4 is renegotiated alone", "NetworkDown{IPv4}", "IPCP Configure-Request ...", "IPCP Configure-Ack ...")
	x.ackOurs(&x.link.ipcp.automaton)
	x.want("up", "Up{...")

	x.lcp(configureRequest, 103)
	x.want("LCP takes both down", "NetworkDown{IPv4}", "NetworkDown{IPv6}", "LCP Configure-Request ...", "LCP Configure-Ack 103")
	x.ackOurs(&x.link.lcp.automaton)
	x.forget()
	x.upIPV6CP()
	x.upIPCP()
	x.wantSettled(1)
	x.do(func(now time.Time) { x.link.Close(now, "bye") })
	x.want("the end", "NetworkDown{IPv4}", "NetworkDown{IPv6}", `LCP Terminate-Request 4 "bye"`)
}

// A peer that rejects one protocol keeps the other.
func TestOneNetworkRejected(t *testing.T) {
	ipcp := func(x *tester) { x.lcp(protocolReject, 1, "\x80\x21") }
	ipv6cp := func(x *tester) { x.lcp(protocolReject, 1, "\x80\x57") }
	t.Run("IPV6CP, then IPCP up", func(t *testing.T) {
		x := dualClient(t)
		ipv6cp(x)
		x.wantSettled(0)
		x.upIPCP()
		x.wantSettled(1)
	})
	t.Run("IPV6CP, after IPCP up", func(t *testing.T) {
		x := dualClient(t)
		x.upIPCP()
		ipv6cp(x)
		x.wantSettled(1)
	})
	t.Run("IPCP", func(t *testing.T) {
		x := dualClient(t)
		ipcp(x)
		x.upIPV6CP()
		x.wantSettled(1)
		x.wait(time.Minute)
		if x.link.phase != network {
			t.Errorf("a minute later in phase %v", x.link.phase)
		}
	})
	t.Run("both", func(t *testing.T) {
		x := dualClient(t)
		ipv6cp(x)
		x.want("IPCP may come yet")
		ipcp(x)
		x.want("the link serves nothing", `LCP Terminate-Request 2 "IPCP has ended"`)
		x.lcp(terminateAck, 2)
		x.want("and says why", "Down: no network protocol is left: IPCP: the peer rejects the protocol; IPV6CP: the peer rejects the protocol")
		x.wantSettled(0)
		var network *NetworkError
		var negotiation *NegotiationError
		if !errors.As(x.link.err, &network) || len(network.Errs) != 2 || !errors.As(x.link.err, &negotiation) || negotiation.Protocol != "IPCP" {
			t.Errorf("the error is a %T", x.link.err)
		}
	})
	t.Run("the one that was up", func(t *testing.T) {
		x := dualClient(t)
		ipv6cp(x)
		x.upIPCP()
		x.ipcp(terminateRequest, 9, "no more addresses")
		x.want("IPv4 goes down", "NetworkDown{IPv4}", "IPCP Terminate-Ack 9")
		x.wait(3 * time.Second)
		x.lcp(terminateAck, 2)
		x.want("and the link with it", `LCP Terminate-Request 2 "IPCP has ended"`,
			`Down: no network protocol is left: IPCP: the peer terminates it: "no more addresses"; IPV6CP: the peer rejects the protocol`)
	})
	t.Run("the other one is up", func(t *testing.T) {
		x := dualClient(t)
		x.upIPCP()
		x.upIPV6CP()
		ipcp(x)
		x.want("terminated, by the table", "NetworkDown{IPv4}", `IPCP Terminate-Request 3 ""`)
		x.ipcp(terminateAck, 3)
		x.wait(4 * time.Second)
		x.want("IPv6 stays")
		if x.link.phase != network || !x.link.up {
			t.Errorf("phase %v", x.link.phase)
		}
	})
}

// A server that has no IPv4 address for us, but speaks IPv6.
func TestIPv6Only(t *testing.T) {
	x := dualClient(t)
	x.ipcp(configureReject, 1, addrOption(ipcpAddress, netip.Addr{}))
	x.want("IPCP is closed, the link is not", `IPCP Terminate-Request 2 ""`)
	x.upIPV6CP()
	x.wantSettled(1)
	x.ipcp(terminateAck, 2)
	x.ipcp(configureRequest, 7, addrOption(ipcpAddress, gateway))
	x.want("it stays closed", "IPCP Terminate-Ack 7")
}

// A peer that does not answer IPV6CP at all, though it "MUST" return a
// Protocol-Reject, delays IPv4 by 2 s; one that does not answer
// IPCP is waited for.
func TestPatience(t *testing.T) {
	x := dualClient(t)
	x.upIPCP()
	x.wait(2*time.Second - 1)
	x.wantSettled(0)
	x.wait(1)
	x.wantSettled(1)
	x.upIPV6CP()
	x.wait(time.Minute)
	x.wantSettled(1)

	x = dualClient(t)
	x.upIPV6CP()
	x.wait(30*time.Second - 1)
	x.wantSettled(0)
	x.wait(1)
	x.wantSettled(1)
	if err := x.link.ipcp.err; err == nil || err.Error() != "no answer to IPCP Configure-Request after 10 tries" {
		t.Errorf("IPCP: %v", err)
	}

	x = dualClient(t)
	x.wait(30*time.Second + 6*time.Second)
	if last := x.out[len(x.out)-1].words; last !=
		"Down: no network protocol is left: no answer to IPCP Configure-Request after 10 tries; no answer to IPV6CP Configure-Request after 10 tries" {
		t.Error(last)
	}
	x.wantSettled(0)
	var timeout *TimeoutError
	if !errors.As(x.link.err, &timeout) {
		t.Errorf("the error is a %T", x.link.err)
	}
}

// What the client sends while the server's owner looks for an address is answered
// then, of both protocols; what comes before, in other phases, never.
func TestEarlyNetworkPackets(t *testing.T) {
	cfg := serverConfig()
	cfg.NoIPv6 = false
	cfg.Methods = []Method{PAP}
	x := open(t, cfg)
	x.ipv6cp(configureRequest, 1, idOption("p"))
	x.openLCP()
	x.ipv6cp(configureRequest, 1, idOption("p"))
	x.authenticatePAP()
	x.forget()
	x.ipv6cp(configureRequest, 2, idOption("p"))
	x.ipcp(configureRequest, 2, addrOption(ipcpAddress, netip.Addr{}))
	x.ipv6cp(configureRequest, 3, idOption("q"))
	x.frame(ProtocolIPv6, 0x60)
	x.want("the owner thinks")
	x.do(func(now time.Time) { x.link.Assign(now, Assignment{Local: gateway, Peer: inside}, nil) })
	x.want("the last of each", "IPCP Configure-Request 1 <addr 10.77.0.1>", "IPV6CP Configure-Request 1 <id ours>",
		"IPCP Configure-Nak 2 <addr 10.77.0.10>", "IPV6CP Configure-Ack 3 <id 7171717171717171>")
}

// Datagrams are the owner's: those of IPv6 are ignored here like those of IPv4, or
// rejected when it is off.
func TestIPv6Datagrams(t *testing.T) {
	x := dualClient(t)
	x.frame(ProtocolIPv6, 0x60)
	x.want("any supported packets received when the NCP is not in the Opened state MUST be silently discarded")
	x = clientInNetwork(t)
	x.frame(ProtocolIPv6, 0x60)
	x.ipv6cp(configureRequest, 1, idOption("p"))
	x.want("off", "LCP Protocol-Reject 2 005760", "LCP Protocol-Reject 3 80570101000e010a7070707070707070")
}

// "Upon reception of a Protocol-Reject, the implementation MUST stop sending
// packets of the indicated protocol at the earliest opportunity" (RFC 1661 §5.7),
// also when it is the datagrams' protocol: it goes down, and the link with the last.
func TestProtocolRejectOfDatagrams(t *testing.T) {
	x := dualClient(t)
	x.upIPCP()
	x.upIPV6CP()
	x.forget()
	x.lcp(protocolReject, 1, "\x00\x57")
	x.want("IPv6 goes", "NetworkDown{IPv6}", `IPV6CP Terminate-Request 2 ""`)
	x.ipv6cp(terminateAck, 2)
	x.wait(time.Minute)
	x.want("and IPv4 stays")
	x.lcp(protocolReject, 2, "\x00\x21", "\x45\x00")
	x.want("IPv4 goes", "NetworkDown{IPv4}", `IPCP Terminate-Request 3 ""`)
	x.ipcp(terminateAck, 3)
	x.want("and nothing is left", `LCP Terminate-Request 2 "IPCP has ended"`)
	x.lcp(terminateAck, 2)
	x.want("down", "Down: no network protocol is left: IPCP: the peer rejects the protocol; IPV6CP: the peer rejects the protocol")
}
