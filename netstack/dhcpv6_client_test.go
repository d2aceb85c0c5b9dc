package netstack

import (
	"encoding/binary"
	"math/rand"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func newInfoClient() *infoClient { return &infoClient{random: rand.New(rand.NewSource(1))} }

// dhcpv6Reply answers request with these options behind a server identifier.
func dhcpv6Reply(request []byte, options func(w *dhcpWriter)) []byte {
	w := dhcpWriter{byte(dhcpReply), request[1], request[2], request[3]}
	w.bytes(optionServerID, 0, 1, 2, 3)
	options(&w)
	return w
}

// RFC 8415 §18.2.6: the first message and, until there is an answer, ever more seldom; then
// again when the information is old.
func TestInformationRequests(t *testing.T) {
	c := newInfoClient()
	now := leaseEpoch
	if !c.deadline().IsZero() {
		t.Fatal("asks without having been told to")
	}
	c.start(now)
	var request []byte
	var sent []time.Duration
	for now.Sub(leaseEpoch) < 5*time.Hour {
		now = c.deadline()
		request = c.advance(now)
		if request == nil {
			t.Fatal("nothing is sent when it is time")
		}
		sent = append(sent, now.Sub(leaseEpoch))
	}
	for i, want := 1, time.Second; i < len(sent); i, want = i+1, min(2*want, time.Hour) {
		// Each deviates by a tenth of what was before it.
		if got := sent[i] - sent[i-1]; got < want*7/10 || got > want*13/10 {
			t.Errorf("the %d. request came %v after the one before it, want about %v", i+1, got, want)
		}
	}
	var codes []dhcpOption
	eachOption(request[4:], func(code dhcpOption, value []byte) bool {
		codes = append(codes, code)
		if code == optionElapsedTime && binary.BigEndian.Uint16(value) != 0xffff {
			t.Errorf("elapsed %x, want the most that it can say", value)
		}
		return true
	})
	if request[0] != 11 || !slices.Equal(codes, []dhcpOption{optionElapsedTime, optionOptionRequest}) {
		t.Errorf("type %d with the options %v", request[0], codes)
	}

	server := netip.MustParseAddr("2001:db8::53")
	dns := func(w *dhcpWriter) { w.bytes(optionDNSServers, server.AsSlice()...) }
	other := slices.Clone(request)
	other[1] ^= 1
	for name, reply := range map[string][]byte{
		"nothing":               nil,
		"another transaction":   dhcpv6Reply(other, dns),
		"a request":             request,
		"no server":             append([]byte{7, request[1], request[2], request[3]}, 0, 23, 0, 0),
		"half an address":       dhcpv6Reply(request, func(w *dhcpWriter) { w.bytes(optionDNSServers, 1, 2, 3) }),
		"a status of failure":   dhcpv6Reply(request, func(w *dhcpWriter) { dns(w); w.status(statusNoBinding, "no") }),
		"an option beyond it":   append(dhcpv6Reply(request, dns), 0, 23, 0, 1),
		"a refresh time of one": dhcpv6Reply(request, func(w *dhcpWriter) { w.bytes(optionInformationRefresh, 1) }),
	} {
		c.handle(now, reply)
		if c.dns != nil || !c.waiting {
			t.Fatalf("%s was taken for an answer", name)
		}
	}
	c.handle(now, dhcpv6Reply(request, func(w *dhcpWriter) {
		dns(w)
		w.option(optionInformationRefresh, func(w *dhcpWriter) { w.seconds(time.Minute) })
	}))
	if !slices.Equal(c.dns, []netip.Addr{server}) {
		t.Errorf("the servers are %v", c.dns)
	}
	if got := c.deadline().Sub(now); got != infRefreshMin {
		t.Errorf("asked again after %v, want %v", got, infRefreshMin)
	}
	if next := c.advance(c.deadline()); next == nil || [3]byte(next[1:]) == [3]byte(request[1:]) {
		t.Error("what is old is not asked for by a transaction of its own")
	}
}
