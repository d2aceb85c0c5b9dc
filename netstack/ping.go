package netstack

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	defaultPingSize = 56 // as ping has it

	// What a packet has room for. The length of an IPv6 packet does not count its
	// header.
	maxPingSize4 = 0xffff - header.IPv4MinimumSize - echoHeader
	maxPingSize6 = 0xffff - echoHeader

	echoHeader = 8 // RFC 792, RFC 4443 §4.1: both have type, code, checksum, identifier, number
)

// PingOptions are what one echo request is made of. The zero value is ready to
// use.
type PingOptions struct {
	ID   uint16 // 0: chosen at random. One Ping at a time may use an ID
	Seq  uint16
	Size int // bytes of payload. 0: 56, negative: none
}

// A PingReply is an echo reply.
type PingReply struct {
	ID, Seq uint16
	Size    int // bytes of ICMP: 8 more than the payload
	TTL     int // that the reply came with, or hop limit
	RTT     time.Duration
}

// Ping sends one ICMP echo request and waits for the reply, for as long as ctx
// allows (RFC 792, RFC 4443 §4), or until somebody on the way says that there will be
// none ([UnreachableError]). A nil opts means the zero PingOptions.
func (s *Stack) Ping(ctx context.Context, addr netip.Addr, opts *PingOptions) (*PingReply, error) {
	if opts == nil {
		opts = &PingOptions{}
	}
	addr = addr.Unmap()
	v := pingIPv4
	if !addr.Is4() {
		v = pingIPv6
	}
	reply, err := s.ping(ctx, v, addr, opts)
	if err != nil {
		return nil, &net.OpError{Op: "ping", Net: v.network, Addr: &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}, Err: s.because(err)}
	}
	return reply, nil
}

// A pingVersion is what differs between ICMP and ICMPv6.
type pingVersion struct {
	network   string
	transport tcpip.TransportProtocolNumber
	request   byte // its type
	maxSize   int
}

var (
	pingIPv4 = pingVersion{"ip4:icmp", icmp.ProtocolNumber4, byte(header.ICMPv4Echo), maxPingSize4}
	pingIPv6 = pingVersion{"ip6:ipv6-icmp", icmp.ProtocolNumber6, byte(header.ICMPv6EchoRequest), maxPingSize6}
)

func (s *Stack) ping(ctx context.Context, v pingVersion, addr netip.Addr, opts *PingOptions) (*PingReply, error) {
	size := opts.Size
	switch {
	case size == 0:
		size = defaultPingSize
	case size < 0:
		size = 0
	case size > v.maxSize:
		return nil, fmt.Errorf("a payload of %d bytes is more than %d", size, v.maxSize)
	}
	life, to, err := s.carrier(netip.AddrPortFrom(addr, 0))
	if err != nil {
		return nil, err
	}
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(v.transport, protocolOf(addr), wq)
	if terr != nil {
		return nil, toError(terr)
	}
	k := newSocket(ep, wq, life, v.network)
	defer k.Close()
	ep.SocketOptions().SetReceiveTTL(true)
	ep.SocketOptions().SetReceiveHopLimit(true)
	if terr := ep.Bind(tcpip.FullAddress{Port: opts.ID}); terr != nil {
		return nil, inCall("bind", toError(terr))
	}
	id := k.localAddrPort(addr).Port()

	// gVisor fills in the checksum, and the identifier.
	request := make([]byte, echoHeader+size)
	request[0] = v.request
	binary.BigEndian.PutUint16(request[echoSequence:], opts.Seq)
	for i := range size {
		request[echoHeader+i] = byte(i)
	}
	ctx, unreachable := context.WithCancelCause(ctx)
	defer unreachable(nil)
	defer s.echoes.await(echoKey{addr.WithZone(""), id, opts.Seq}, unreachable)()
	start := time.Now()
	if _, terr := ep.Write(bytes.NewReader(request), tcpip.WriteOptions{To: &to}); terr != nil {
		return nil, k.failure(&k.wr, "sendto", terr)
	}
	got := make([]byte, len(request)+1)
	for {
		if err := k.check(&k.rd); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, echoError(ctx)
		}
		w := tcpip.SliceWriter(got)
		res, terr := ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
		switch terr.(type) {
		case nil:
			rtt := time.Since(start)
			if fromAddress(res.RemoteAddr.Addr) != addr.WithZone("") || !answers(got[:res.Count], request) {
				continue // to an earlier request, perhaps
			}
			return &PingReply{ID: id, Seq: opts.Seq, Size: res.Count, TTL: int(res.ControlMessages.TTL + res.ControlMessages.HopLimit), RTT: rtt}, nil
		case *tcpip.ErrWouldBlock:
			k.wait(&k.rd, ctx.Done())
		default:
			return nil, k.failure(&k.rd, "recvfrom", terr)
		}
	}
}

// echoSequence is where an echo's number is.
const echoSequence = 6

// answers reports whether reply has the sequence number and the payload of
// request. gVisor has compared the identifier.
func answers(reply, request []byte) bool {
	return len(reply) == len(request) && bytes.Equal(reply[echoSequence:], request[echoSequence:])
}
