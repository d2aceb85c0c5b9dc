package udp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What comes from many ports comes to several of the sockets that share an address. The
// system spreads them by a hash: that one of four gets all of 64 happens once in 10³⁷.
func TestWhoSharesAnAddressSharesTheWork(t *testing.T) {
	const flows = 64
	var first *net.UDPConn
	conns := make([]*Conn, 4)
	for i := range conns {
		address := "127.0.0.1:0"
		if first != nil {
			address = first.LocalAddr().String()
		}
		c, err := (&net.ListenConfig{Control: Share}).ListenPacket(t.Context(), "udp4", address)
		if err != nil {
			t.Skip("SKIPPED: SO_REUSEPORT: ", err)
		}
		defer c.Close()
		if first == nil {
			first = c.(*net.UDPConn)
		}
		conns[i] = New(c)
	}
	var got [4]atomic.Int32
	var total atomic.Int32
	var readers sync.WaitGroup
	all := make(chan struct{})
	for i, c := range conns {
		readers.Go(func() {
			for {
				runs, err := c.Read()
				if err != nil {
					return
				}
				for k := range runs {
					for range runs[k].Datagrams() {
						got[i].Add(1)
						if total.Add(1) == flows {
							close(all)
						}
					}
				}
			}
		})
	}
	for range flows {
		out := New(listen(t, "udp4", "127.0.0.1:0"))
		if err := out.Write([]byte("one"), out.Path(conns[0].LocalAddr(), netip.Addr{})); err != nil {
			t.Fatal(err)
		}
	}
	await(t, all)
	for _, c := range conns {
		c.Close()
	}
	readers.Wait()
	busy := 0
	for i := range got {
		if got[i].Load() > 0 {
			busy++
		}
	}
	if busy < 2 {
		t.Errorf("%d of 4 sockets got %d datagrams of as many peers, want several", busy, flows)
	}
}

// await waits for what has to happen.
func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("it does not happen")
	}
}
