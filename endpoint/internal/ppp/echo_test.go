package ppp

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// The keepalive: an Echo-Request after every five seconds of silence, and an end
// after four that nobody answers. Whatever comes from the peer is a sign of life.
func TestEcho(t *testing.T) {
	x := clientInNetwork(t)
	x.upIPCP()
	x.wait(4 * time.Second)
	x.frame(0x00fb, 0x45)
	x.forget()
	x.wait(5*time.Second - 1)
	x.want("the peer is heard")
	x.wait(1)
	magic := fmt.Sprintf("%08x", x.link.lcp.magic)
	x.want("the peer is silent", "LCP Echo-Request 3 "+magic)
	x.lcp(echoReply, 3, "\x00\x00\x00\x05")
	x.wait(20 * time.Second)
	x.want("it answers, and then it does not", "LCP Echo-Request 4 "+magic, "LCP Echo-Request 5 "+magic, "LCP Echo-Request 6 "+magic, "LCP Echo-Request 7 "+magic)
	x.wait(5*time.Second - 1)
	x.want("not yet")
	x.wait(1)
	x.want("enough", "NetworkDown{IPv4}", `LCP Terminate-Request 8 "timeout"`)
	x.wait(6 * time.Second)
	x.want("down", `LCP Terminate-Request 9 "timeout"`, "Down: no answer to LCP Echo-Request after 4 tries")

	cfg := clientConfig()
	cfg.EchoInterval = -1
	x = open(t, cfg)
	x.openLCP()
	x.upIPCP()
	x.wait(24 * time.Hour)
	x.want("off")
}

// Datagrams do not come to the link, but they are signs of life all the same: it
// asks for them when it would send an Echo-Request.
func TestEchoTraffic(t *testing.T) {
	datagrams := uint64(0)
	cfg := clientConfig()
	cfg.Traffic = func() uint64 { return datagrams }
	x := open(t, cfg)
	x.openLCP()
	x.upIPCP()
	for range 20 {
		x.wait(4 * time.Second)
		datagrams++
	}
	x.want("one every four seconds")
	x.wait(5 * time.Second)
	x.want("for the last one")
	x.wait(5 * time.Second)
	x.want("none since", "LCP Echo-Request 2 ...")
	x.wait(15 * time.Second)
	x.want("nor an answer", "LCP Echo-Request 3 ...", "LCP Echo-Request 4 ...", "LCP Echo-Request 5 ...")
	datagrams++
	x.wait(5 * time.Second)
	x.want("alive after all")
	x.wait(25 * time.Second)
	x.want("and counted anew", "LCP Echo-Request 6 ...", "LCP Echo-Request 7 ...", "LCP Echo-Request 8 ...", "LCP Echo-Request 9 ...", "NetworkDown{IPv4}", "LCP Terminate-Request ...")
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
