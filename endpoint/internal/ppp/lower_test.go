package ppp

import (
	"errors"
	"testing"
	"time"
)

// Frames may overtake the ICCN that opens the link: a few are kept for it.
func TestFramesBeforeOpen(t *testing.T) {
	x := &tester{T: t, link: New(clientConfig()), now: epoch}
	x.frame(0x80fd, make([]byte, 2*fullMRU)...) // too long for anything
	x.lcp(configureRequest, 1, option{99, nil})
	x.lcp(configureRequest, 2)
	x.lcp(echoRequest, 3, "\x00\x00\x00\x00")
	x.lcp(terminateRequest, 4, "never mind")
	x.lcp(configureRequest, 5)
	x.want("not yet")
	x.do(x.link.Open)
	x.want("four", "LCP Configure-Request 1 ...", "LCP Configure-Reject 1 <99 >", "LCP Configure-Ack 2", "LCP Echo-Reply 3 00000000", "LCP Terminate-Ack 4")
}

// The lower layer is gone: Down at once, with the cause that says most.
func TestLost(t *testing.T) {
	gone := errors.New("call cleared")
	lose := func(x *tester) { x.do(func(now time.Time) { x.link.Lost(now, gone) }) }
	for name, test := range map[string]struct {
		to   func(t *testing.T) *tester
		want []string
	}{
		"before Open": {func(t *testing.T) *tester { return &tester{T: t, link: New(clientConfig()), now: epoch} }, []string{"Down: call cleared"}},
		"Establish":   {func(t *testing.T) *tester { return open(t, clientConfig()) }, []string{"Down: call cleared"}},
		"Authenticate": {func(t *testing.T) *tester {
			x := open(t, clientConfig())
			x.openLCP(auth(PAP))
			return x
		}, []string{"Down: call cleared"}},
		"Network": {clientInNetwork, []string{"Down: call cleared"}},
		"up": {func(t *testing.T) *tester {
			x := serverInNetwork(t)
			x.ackOurs(&x.link.ipcp.automaton)
			x.ipcp(configureRequest, 1, addrOption(ipcpAddress, inside))
			return x
		}, []string{"NetworkDown{IPv4}", "Down: call cleared"}},
		"closed by the owner": {func(t *testing.T) *tester {
			x := clientInNetwork(t)
			x.do(func(now time.Time) { x.link.Close(now, "bye") })
			return x
		}, []string{"Down: <nil>"}},
		"terminated by the peer": {func(t *testing.T) *tester {
			x := clientInNetwork(t)
			x.lcp(terminateRequest, 1, "maintenance")
			return x
		}, []string{`Down: the peer terminated the link: "maintenance"`}},
		"terminated without a word": {func(t *testing.T) *tester {
			x := clientInNetwork(t)
			x.lcp(terminateRequest, 1)
			return x
		}, []string{"Down: call cleared"}},
		"refused": {func(t *testing.T) *tester {
			x := open(t, clientConfig())
			x.openLCP(auth(PAP))
			x.pap(papNak, 1, withLength("no"))
			return x
		}, []string{`Down: pap authentication of user "alice" failed: the server refuses user name or password (the peer says "no")`}},
		"down": {func(t *testing.T) *tester {
			x := open(t, clientConfig())
			lose(x)
			return x
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := test.to(t)
			x.forget()
			lose(x)
			x.want("lost", test.want...)
			x.wait(time.Hour)
			x.lcp(configureRequest, 1)
			x.do(x.link.Open)
			x.want("nothing follows")
		})
	}
}

// What went out while the way to the peer was closed is lost: a negotiation says it again at
// once, with all its tries left, and the keepalive begins anew.
func TestResumed(t *testing.T) {
	x := open(t, clientConfig())
	x.forget()
	x.wait(25 * time.Second)
	x.out = x.out[len(x.out)-1:]
	x.want("nine tries are gone", "LCP Configure-Request 1 ...")
	x.do(x.link.Resumed)
	x.want("another at once", "LCP Configure-Request 1 ...")
	x.wait(20 * time.Second)
	if len(x.out) < 6 || x.link.Ending() {
		t.Errorf("%d tries since, ending %v", len(x.out), x.link.Ending())
	}

	x = clientInNetwork(t)
	x.upIPCP()
	x.wait(19 * time.Second)
	x.forget()
	x.do(x.link.Resumed)
	x.wait(5*time.Second - 1)
	x.want("the peer has not been silent")
	x.wait(15*time.Second + 1 - time.Nanosecond)
	x.want("it is", echoes(x, 17, 15)...)
	x.wait(time.Nanosecond)
	x.want("and that is enough", "NetworkDown{IPv4}", "LCP Terminate-Request ...", "Down: no answer to LCP Echo-Request after 15 tries")

	x = clientInNetwork(t)
	x.upIPCP()
	x.do(func(now time.Time) { x.link.Close(now, "bye") })
	x.forget()
	if !x.link.Ending() {
		t.Error("a link that is closed is not on its way down")
	}
	x.do(x.link.Resumed)
	x.want("nothing of one that ends")
}

// A measurement of the path that was under way begins anew: answers were lost that would
// have come.
func TestResumedMeasuresAnew(t *testing.T) {
	open := true
	p := measured(t, &echoing{through: func(size int) bool { return open || size < 1000 }})
	open = false // as far as long ones go: what of the answers is lost is a matter of moments
	p.pass(6 * time.Second)
	open = true
	p.do(p.link.Resumed)
	p.pass(time.Minute)
	if len(p.told) != 0 {
		t.Errorf("told %v of a path that was closed for a while", p.told)
	}
}
