package netstack

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// synPacket opens a connection to port 80.
func synPacket(src, dst [4]byte, port uint16) []byte {
	h := make(header.TCP, header.TCPMinimumSize)
	h.Encode(&header.TCPFields{SrcPort: port, DstPort: 80, SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 1000})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, tcpip.AddrFrom4(src), tcpip.AddrFrom4(dst), uint16(len(h)))
	h.SetChecksum(^h.CalculateChecksum(sum))
	return ipv4Packet(src, dst, uint8(header.TCPProtocolNumber), h)
}

// A SYN that is sent again at the moment when it is decided on leaves nothing behind: the
// same connection can be opened later, and counts no more.
func TestForwardSYNsAgainAndAgain(t *testing.T) {
	server := newStack(t, nil)
	r, err := server.AddRouted(&RoutedConfig{
		Addresses: []netip.Addr{gateway},
		Forwarder: &Forwarder{TCP: func(f *TCPFlow) {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	port := attach(t, r, &basket{}, "10.77.0.2/32")
	var senders sync.WaitGroup
	for range 3 {
		senders.Go(func() {
			for i := range 10000 {
				put(port, synPacket(as4("10.77.0.2"), as4(outside), uint16(1000+i%8)))
			}
		})
	}
	senders.Wait()
	w := r.forward
	for ctx := patience(t); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		syns, undecided := len(w.syns), len(w.undecided)
		w.mu.Unlock()
		if syns == 0 && undecided == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%d SYNs wait for ever, %d sessions have flows that are not decided on", syns, undecided)
		}
	}
}

// The stack may look for a session's port at the moment when it is attached.
func TestAttachWhileDialling(t *testing.T) {
	r := newRouter(t, newStack(t, nil))
	addr := netip.MustParseAddr("10.77.0.2")
	over := make(chan struct{})
	var dialler sync.WaitGroup
	dialler.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			if p := r.port(addr); p != nil && p.life == nil {
				t.Error("a port without a life")
				return
			}
		}
	})
	for range 300 {
		attach(t, r, &basket{}, "10.77.0.2/32").Close()
	}
	close(over)
	dialler.Wait()
}
