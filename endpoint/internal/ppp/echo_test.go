package ppp

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// The keepalive: an Echo-Request when the peer has been silent, and an end
// after four that nobody answers. Whatever comes from the peer is a sign of life.
func TestEcho(t *testing.T) {
	x := clientInNetwork(t)
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1)
	x.forget()
	x.wait(29 * time.Second)
	x.frame(ProtocolIPv4, 0x45)
	x.wait(30*time.Second - 1)
	x.want("the peer is heard")
	x.wait(1)
	magic := fmt.Sprintf("%08x", x.link.lcp.magic)
	x.want("the peer is silent", "LCP Echo-Request 2 "+magic)
	x.lcp(echoReply, 2, "\x00\x00\x00\x05")
	x.wait(30 * time.Second)
	x.wait(90 * time.Second)
	x.want("it answers, and then it does not", "LCP Echo-Request 3 "+magic, "LCP Echo-Request 4 "+magic, "LCP Echo-Request 5 "+magic, "LCP Echo-Request 6 "+magic)
	x.wait(30 * time.Second)
	x.want("enough", "NetworkDown{IPv4}", `LCP Terminate-Request 7 "timeout"`)
	x.wait(6 * time.Second)
	x.want("down", `LCP Terminate-Request 8 "timeout"`, "Down: no answer to LCP Echo-Request after 4 tries")

	cfg := clientConfig()
	cfg.EchoInterval = -1
	x = open(t, cfg)
	x.openLCP()
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1)
	x.forget()
	x.wait(24 * time.Hour)
	x.want("off")
}

// "Upon reception of an Echo-Request in the LCP Opened state, an Echo-Reply MUST
// be transmitted", with the request's identifier and data and our Magic-Number.
func TestEchoReply(t *testing.T) {
	x := clientInNetwork(t)
	magic := binary.BigEndian.AppendUint32(nil, x.link.lcp.magic)
	x.lcp(echoRequest, 9, "\x00\x00\x00\x05", "data")
	x.want("answered", fmt.Sprintf("LCP Echo-Reply 9 %x", append(magic, "data"...)))
	x.lcp(echoRequest, 10, "\x00\x00\x00\x00")
	x.want("with Magic-Number 0 too", fmt.Sprintf("LCP Echo-Reply 10 %x", magic))
	x.lcp(echoRequest, 11, "\x00\x00\x00")
	x.lcp(discardRequest, 12, "\x00\x00\x00\x05", "data")
	x.lcp(echoReply, 13, "\x00\x00\x00\x05", "data")
	x.want("malformed, Discard-Request, Echo-Reply")
	x.do(func(now time.Time) { x.link.Close(now, "") })
	x.forget()
	x.lcp(echoRequest, 14, "\x00\x00\x00\x05")
	x.want("a link on its way down")
}
