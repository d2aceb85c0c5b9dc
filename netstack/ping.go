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
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	defaultPingSize = 56    // as ping has it
	maxPingSize     = 65507 // what an IPv4 packet has room for
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
	TTL     int // that the reply came with
	RTT     time.Duration
}

// Ping sends one ICMP echo request and waits for the reply, for as long as ctx
// allows (RFC 792). A nil opts means the zero PingOptions.
func (s *Stack) Ping(ctx context.Context, addr netip.Addr, opts *PingOptions) (*PingReply, error) {
	if opts == nil {
		opts = &PingOptions{}
	}
	addr = addr.Unmap()
	reply, err := s.ping(ctx, addr, opts)
	if err != nil {
		return nil, &net.OpError{Op: "ping", Net: "ip4:icmp", Addr: &net.IPAddr{IP: addr.AsSlice()}, Err: s.because(err)}
	}
	return reply, nil
}

func (s *Stack) ping(ctx context.Context, addr netip.Addr, opts *PingOptions) (*PingReply, error) {
	size := opts.Size
	switch {
	case size == 0:
		size = defaultPingSize
	case size < 0:
		size = 0
	case size > maxPingSize:
		return nil, fmt.Errorf("a payload of %d bytes is more than %d", size, maxPingSize)
	}
	life, err := s.carrier(addr)
	if err != nil {
		return nil, err
	}
	wq := new(waiter.Queue)
	ep, terr := s.gv.NewEndpoint(icmp.ProtocolNumber4, ipv4.ProtocolNumber, wq)
	if terr != nil {
		return nil, toError(terr)
	}
	k := newSocket(ep, wq, life, "ip4:icmp")
	defer k.Close()
	ep.SocketOptions().SetReceiveTTL(true)
	if terr := ep.Bind(tcpip.FullAddress{Port: opts.ID}); terr != nil {
		return nil, inCall("bind", toError(terr))
	}
	local, _ := ep.GetLocalAddress()
	id := local.Port

	request := make([]byte, header.ICMPv4MinimumSize+size)
	h := header.ICMPv4(request)
	h.SetType(header.ICMPv4Echo)
	h.SetIdent(id)
	h.SetSequence(opts.Seq)
	for i := range size {
		request[header.ICMPv4MinimumSize+i] = byte(i)
	}
	to := toFullAddress(netip.AddrPortFrom(addr, 0))
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
			return nil, contextError(ctx)
		}
		w := tcpip.SliceWriter(got)
		res, terr := ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
		switch terr.(type) {
		case nil:
			rtt := time.Since(start)
			if fromAddress(res.RemoteAddr.Addr) != addr || !answers(got[:res.Count], request) {
				continue // to an earlier request, perhaps
			}
			return &PingReply{ID: id, Seq: opts.Seq, Size: res.Count, TTL: int(res.ControlMessages.TTL), RTT: rtt}, nil
		case *tcpip.ErrWouldBlock:
			k.wait(&k.rd, ctx.Done())
		default:
			return nil, k.failure(&k.rd, "recvfrom", terr)
		}
	}
}

// answers reports whether reply has the sequence number and the payload of
// request. gVisor has compared the identifier.
func answers(reply, request []byte) bool {
	const seq = 6
	return len(reply) == len(request) &&
		binary.BigEndian.Uint16(reply[seq:]) == binary.BigEndian.Uint16(request[seq:]) &&
		bytes.Equal(reply[header.ICMPv4MinimumSize:], request[header.ICMPv4MinimumSize:])
}
