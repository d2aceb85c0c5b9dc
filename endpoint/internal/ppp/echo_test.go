package ppp

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// echoes are n Echo-Requests in a row, in words.
func echoes(x *tester, first, n int) (words []string) {
	for i := range n {
		words = append(words, fmt.Sprintf("LCP Echo-Request %d %08x", first+i, x.link.lcp.magic))
	}
	return words
}

// The keepalive: an Echo-Request after five seconds of silence, further ones every
// second, and an end after fifteen that nobody answers, at once: to wait for a
// Terminate-Ack would be in vain. Whatever comes from the peer is a sign of life.
func TestEcho(t *testing.T) {
	x := clientInNetwork(t)
	x.upIPCP()
	x.wait(4 * time.Second)
	x.frame(0x00fb, 0x45)
	x.forget()
	x.wait(5*time.Second - 1)
	x.want("the peer is heard")
	x.wait(1)
	x.want("the peer is silent", echoes(x, 3, 1)...)
	x.wait(14 * time.Second)
	x.want("for a long time", echoes(x, 4, 14)...)
	x.lcp(echoReply, 3, "\x00\x00\x00\x05")
	x.wait(20*time.Second - 1)
	x.want("it answers, late, and then it does not", echoes(x, 18, 15)...)
	x.wait(1)
	x.want("enough", "NetworkDown{IPv4}", `LCP Terminate-Request 33 "timeout"`, "Down: no answer to LCP Echo-Request after 15 tries")
	x.wait(time.Minute)
	x.want("no more")

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
	x.wait(14 * time.Second)
	x.want("nor an answer", echoes(x, 3, 14)...)
	datagrams++
	x.wait(5 * time.Second)
	x.want("alive after all")
	x.wait(time.Second)
	x.want("and counted anew", echoes(x, 17, 1)...)
	x.wait(15 * time.Second)
	x.want("until the end", append(echoes(x, 18, 14), "NetworkDown{IPv4}", "LCP Terminate-Request ...", "Down: ...")...)
}

// A probe asks at once and often, and takes five seconds of silence for the end.
func TestProbe(t *testing.T) {
	x := clientInNetwork(t)
	x.upIPCP()
	x.forget()
	x.do(x.link.Probe)
	x.want("at once", echoes(x, 2, 1)...)
	x.do(x.link.Probe)
	x.wait(5*time.Second - 1)
	x.want("another means nothing more", echoes(x, 3, 9)...)
	x.wait(1)
	x.want("gone", "NetworkDown{IPv4}", "LCP Terminate-Request ...", "Down: no answer to LCP Echo-Request after 10 tries")
	x.do(x.link.Probe)
	x.want("nor then")

	datagrams := uint64(0)
	cfg := clientConfig()
	cfg.Traffic = func() uint64 { return datagrams }
	for name, sign := range map[string]func(x *tester){
		"a reply":    func(x *tester) { x.lcp(echoReply, 7, "\x00\x00\x00\x05") },
		"a datagram": func(x *tester) { datagrams++; x.wait(time.Second / 2) },
	} {
		x = open(t, cfg)
		x.do(x.link.Probe)
		x.openLCP()
		x.upIPCP()
		x.forget()
		datagrams++ // before the probe
		x.do(x.link.Probe)
		x.wait(4 * time.Second)
		x.want("no answer yet", echoes(x, 2, 9)...)
		sign(x)
		x.wait(5*time.Second - 1)
		x.want(name + " makes all as it was")
		x.wait(1)
		x.want("which is this", echoes(x, 11, 1)...)
	}

	cfg.EchoInterval = -1
	x = open(t, cfg)
	x.openLCP()
	x.upIPCP()
	x.forget()
	x.do(x.link.Probe)
	x.wait(time.Hour)
	x.want("there is no keepalive at all")
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
