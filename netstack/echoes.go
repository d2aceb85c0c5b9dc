package netstack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// An UnreachableError is the word of a router or a host that an echo request has not
// arrived (RFC 792, RFC 1812 §5.2.7, RFC 4443 §3). It matches syscall.EHOSTUNREACH, or
// syscall.ENETUNREACH where it is about a network.
type UnreachableError struct {
	From       netip.Addr // who says so
	Type, Code uint8      // of the ICMP or ICMPv6 message
}

func (e *UnreachableError) Error() string {
	codes := unreachable6
	if e.From.Is4() {
		codes = unreachable4
	}
	w, ok := codes[[2]uint8{e.Type, e.Code}]
	if !ok {
		w.text = fmt.Sprintf("type %d, code %d", e.Type, e.Code)
	}
	return fmt.Sprintf("%v says: %s", e.From, w.text)
}

func (e *UnreachableError) Is(target error) bool {
	codes := unreachable6
	if e.From.Is4() {
		codes = unreachable4
	}
	if codes[[2]uint8{e.Type, e.Code}].network {
		return target == syscall.ENETUNREACH
	}
	return target == syscall.EHOSTUNREACH
}

// An unreachability is what a type and a code mean.
type unreachability struct {
	text    string
	network bool
}

var (
	unreachable4 = map[[2]uint8]unreachability{
		{3, 0}:  {"network unreachable", true},
		{3, 1}:  {"host unreachable", false},
		{3, 2}:  {"protocol unreachable", false},
		{3, 3}:  {"port unreachable", false},
		{3, 4}:  {"too long, and must not be fragmented", false},
		{3, 5}:  {"source route failed", false},
		{3, 6}:  {"network unknown", true},
		{3, 7}:  {"host unknown", false},
		{3, 9}:  {"network administratively prohibited", true},
		{3, 10}: {"host administratively prohibited", false},
		{3, 13}: {"administratively prohibited", false},
		{11, 0}: {"time to live exceeded", false},
		{11, 1}: {"fragments are missing", false},
	}
	unreachable6 = map[[2]uint8]unreachability{
		{1, 0}: {"no route", true},
		{1, 1}: {"administratively prohibited", false},
		{1, 2}: {"beyond the scope of the source address", false},
		{1, 3}: {"address unreachable", false},
		{1, 4}: {"port unreachable", false},
		{1, 5}: {"the source address is not allowed", false},
		{1, 6}: {"the route rejects it", false},
		{3, 0}: {"hop limit exceeded", false},
		{3, 1}: {"fragments are missing", false},
	}
)

// echoes are the echo requests that wait for their replies. The stack below answers
// them, but tells nobody of errors: those are picked out of what comes in.
type echoes struct {
	waiting atomic.Int32 // how many: without any no packet is looked at
	mu      sync.Mutex
	tell    map[echoKey]context.CancelCauseFunc
}

// An echoKey is an echo request, as an error quotes it.
type echoKey struct {
	to      netip.Addr // without a zone
	id, seq uint16
}

// await has tell called with an [UnreachableError], until forget is called.
func (e *echoes) await(k echoKey, tell context.CancelCauseFunc) (forget func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tell == nil {
		e.tell = make(map[echoKey]context.CancelCauseFunc)
	}
	e.tell[k] = tell
	e.waiting.Add(1)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.tell, k)
		e.waiting.Add(-1)
	}
}

func (e *echoes) heard(k echoKey, err *UnreachableError) {
	e.mu.Lock()
	tell := e.tell[k]
	e.mu.Unlock()
	if tell != nil {
		tell(err)
	}
}

// look4 looks at a whole IPv4 packet that came in: at an ICMP error that quotes an echo
// request. RFC 792: "The internet header plus the first 64 bits of the original
// datagram's data."
func (e *echoes) look4(p header.IPv4) {
	if e.waiting.Load() == 0 || p.Protocol() != uint8(header.ICMPv4ProtocolNumber) || p.FragmentOffset() != 0 {
		return
	}
	m := p[p.HeaderLength():]
	if len(m) < header.ICMPv4MinimumSize+header.IPv4MinimumSize+echoHeader {
		return
	}
	if t := header.ICMPv4(m).Type(); t != header.ICMPv4DstUnreachable && t != header.ICMPv4TimeExceeded {
		return
	}
	quoted := header.IPv4(m[header.ICMPv4MinimumSize:])
	hlen := int(quoted.HeaderLength())
	if quoted[0]>>4 != 4 || hlen < header.IPv4MinimumSize || len(quoted) < hlen+echoHeader || quoted.Protocol() != uint8(header.ICMPv4ProtocolNumber) {
		return
	}
	if request := quoted[hlen:]; request[0] == byte(header.ICMPv4Echo) && link.Verify(p) == link.Intact {
		e.heard(echoKeyOf(netip.AddrFrom4([4]byte(quoted[16:])), request),
			&UnreachableError{netip.AddrFrom4([4]byte(p[12:])), m[0], m[1]})
	}
}

// look6 is look4 for IPv6. Our requests have no extension headers.
func (e *echoes) look6(p header.IPv6) {
	if e.waiting.Load() == 0 || p.TransportProtocol() != header.ICMPv6ProtocolNumber {
		return
	}
	m := p[header.IPv6MinimumSize:]
	if len(m) < header.ICMPv6MinimumSize+header.IPv6MinimumSize+echoHeader {
		return
	}
	if t := header.ICMPv6(m).Type(); t != header.ICMPv6DstUnreachable && t != header.ICMPv6TimeExceeded {
		return
	}
	quoted := header.IPv6(m[header.ICMPv6MinimumSize:])
	if quoted[0]>>4 != 6 || quoted.TransportProtocol() != header.ICMPv6ProtocolNumber {
		return
	}
	if request := quoted[header.IPv6MinimumSize:]; request[0] == byte(header.ICMPv6EchoRequest) && link.Verify(p) == link.Intact {
		e.heard(echoKeyOf(netip.AddrFrom16([16]byte(quoted[24:])), request),
			&UnreachableError{netip.AddrFrom16([16]byte(p[8:])), m[0], m[1]})
	}
}

func echoKeyOf(to netip.Addr, request []byte) echoKey {
	return echoKey{to, binary.BigEndian.Uint16(request[4:]), binary.BigEndian.Uint16(request[echoSequence:])}
}

// echoError is why a ping ends whose context does.
func echoError(ctx context.Context) error {
	if u, ok := errors.AsType[*UnreachableError](context.Cause(ctx)); ok {
		return u
	}
	return contextError(ctx)
}
