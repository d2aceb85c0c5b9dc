package netstack

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A linkEndpoint is a [stack.LinkEndpoint] between gVisor and link.Sinks, with
// neither queue nor goroutine: gVisor's writer goes all the way down, and who
// calls Put all the way up.
type linkEndpoint struct {
	gv         *stack.Stack
	id         tcpip.NICID
	mtu        atomic.Uint32
	gsoMaxSize uint32
	exit       exit
	dispatcher atomic.Pointer[stack.NetworkDispatcher] // nil: detached

	// beside is who takes a packet that has been let in, where it is not this one:
	// nil. Set before there are packets, if at all.
	beside func(packet []byte) *linkEndpoint
}

// An exit tells where a packet goes and who counts it.
type exit interface {
	// toward is the sink for packets to dst, or nil.
	toward(dst uint32) (link.Sink, *counters)
	// toward6 is the same for IPv6.
	toward6(dst [16]byte) (link.Sink, *counters)
}

// newLinkEndpoint is the endpoint of the NIC id, which gv is about to have.
func newLinkEndpoint(gv *stack.Stack, id tcpip.NICID, mtu, ipHeader int, x exit) *linkEndpoint {
	e := &linkEndpoint{gv: gv, id: id, gsoMaxSize: gsoMaxSize(mtu, ipHeader), exit: x}
	e.mtu.Store(uint32(mtu))
	return e
}

// gsoMaxSize makes gVisor's super-packets as long as one UDP_SEGMENT send of
// the socket below: 64 segments, and 65,507 bytes with all headers, which is
// the most that a UDP datagram carries over IPv4. Were they longer, every write
// would need two or three sends. There is one size for both versions of IP: that
// of IPv6, whose segments carry less, where a NIC has it.
func gsoMaxSize(mtu, ipHeader int) uint32 {
	const (
		below    = 32 // of headers below IP, at most (see link.Headroom)
		datagram = 65507
		options  = header.TCPOptionsMaximumSize // gVisor keeps room for all of them
		reserved = header.TCPTotalHeaderMaximumSize + 1
	)
	mss := mtu - ipHeader - header.TCPMinimumSize - options
	if mss < 1 {
		mss = 1
	}
	segments := max(1, min(link.BatchMax, datagram/(mtu+below)))
	return uint32(reserved + segments*mss)
}

// WritePacket makes this a [stack.QueueingDiscipline] as well, one that does not
// queue. (The one that gVisor has for that makes a list of each packet, for
// WritePackets.) It is called with locks of the connection held.
func (e *linkEndpoint) WritePacket(pkt *stack.PacketBuffer) tcpip.Error {
	var array [8][]byte
	pieces := array[:0]
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		p := v.AsSlice()
		n := min(skip, len(p))
		skip -= n
		if p = p[n:]; len(p) > 0 {
			pieces = append(pieces, p)
		}
	}
	if len(pieces) == 0 || len(pieces[0]) < header.IPv4MinimumSize {
		panic("BUG: netstack: a packet of gVisor's does not begin with its IP header")
	}
	out, c, loopback := e.wayOut(pieces[0])
	if out == nil || loopback {
		c.noRoute.Add(1)
		return &tcpip.ErrHostUnreachable{}
	}
	packets, bytes := 1, 0
	for _, p := range pieces {
		bytes += len(p)
	}
	if g := &pkt.GSOOptions; g.Type != stack.GSONone && g.NeedsCsum {
		headers := pieces[0][:pkt.HeaderSize()]
		pieces[0] = pieces[0][len(headers):]
		segments, err := link.Split(out, headers, pieces, int(g.MSS))
		if err != nil {
			panic("BUG: netstack: " + err.Error())
		}
		bytes += (segments - 1) * len(headers)
		packets = segments
	} else {
		putWhole(out, pieces, bytes)
	}
	c.sent(packets, bytes)
	return nil
}

func (e *linkEndpoint) wayOut(ip []byte) (out link.Sink, c *counters, loopback bool) {
	if ip[0]>>4 == 6 {
		dst := [16]byte(ip[header.IPv6MinimumSize-16:])
		out, c = e.exit.toward6(dst)
		return out, c, dst == netip.IPv6Loopback().As16()
	}
	dst := binary.BigEndian.Uint32(ip[16:])
	out, c = e.exit.toward(dst)
	return out, c, isLoopback(dst)
}

// putWhole hands one packet to out, borrowed where it has at most two pieces.
func putWhole(out link.Sink, pieces [][]byte, size int) {
	b := link.NewBatch()
	defer b.Free()
	switch len(pieces) {
	case 1:
		b.Add(0, pieces[0], nil)
	case 2:
		b.Add(0, pieces[0], pieces[1])
	default:
		head := b.Add(size, nil, nil).Head()
		for _, p := range pieces {
			head = head[copy(head, p):]
		}
	}
	out.Put(b)
}

// WritePackets sends what did not come through the queueing discipline.
func (e *linkEndpoint) WritePackets(pkts stack.PacketBufferList) (n int, terr tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		if err := e.WritePacket(pkt); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// The rest of [stack.LinkEndpoint] and [stack.GSOEndpoint].

func (e *linkEndpoint) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }
func (e *linkEndpoint) GSOMaxSize() uint32               { return e.gsoMaxSize }
func (e *linkEndpoint) MTU() uint32                      { return e.mtu.Load() }
func (e *linkEndpoint) SetMTU(uint32)                    {}
func (e *linkEndpoint) MaxHeaderLength() uint16          { return 0 } // frames have headroom of their own
func (e *linkEndpoint) LinkAddress() tcpip.LinkAddress   { return "" }
func (e *linkEndpoint) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities says that what the dispatcher is given has been verified, which is
// what makes merged packets possible: they have no checksum.
func (e *linkEndpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

func (e *linkEndpoint) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		e.dispatcher.Store(nil)
		return
	}
	e.dispatcher.Store(&d)
}

func (e *linkEndpoint) IsAttached() bool                        { return e.dispatcher.Load() != nil }
func (e *linkEndpoint) Wait()                                   {}
func (e *linkEndpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (e *linkEndpoint) AddHeader(*stack.PacketBuffer)           {}
func (e *linkEndpoint) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (e *linkEndpoint) Close()                                  {}
func (e *linkEndpoint) SetOnCloseAction(func())                 {}
