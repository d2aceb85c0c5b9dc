package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
)

// Several sockets of one address: the system shares the peers out among them, and each
// has a reader of its own. All of a tunnel's datagrams come to one of them, in their
// order, unless its peer sends to several of our addresses; what a reader touches can
// stand that.

const (
	socketsMost    = 64
	socketsDefault = 4 // at most, when nobody says
)

// sockets is how many there are to be.
func (c *Config) sockets() int {
	switch {
	case c.Sockets > 0:
		return c.Sockets
	case c.Answer == nil:
		return 1
	}
	// One processor for a reader, another one for what those that it calls set in motion.
	return max(1, min(socketsDefault, runtime.GOMAXPROCS(0)/2))
}

func (c *Config) checkSockets() error {
	if c.Sockets < 0 || c.Sockets > socketsMost {
		return fmt.Errorf("expected 0 to %d sockets, found %d", socketsMost, c.Sockets)
	}
	return nil
}

// listen opens the sockets of an address.
func listen(network, address string, cfg *Config) ([]net.PacketConn, error) {
	open := func(address string, controls ...func(network, address string, c syscall.RawConn) error) (net.PacketConn, error) {
		if cfg.Device != "" {
			controls = append(controls, udp.BindTo(cfg.Device))
		}
		lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) (err error) {
			for _, control := range controls {
				err = errors.Join(err, control(network, address, c))
			}
			return err
		}}
		return lc.ListenPacket(context.Background(), network, address)
	}
	alone, err := open(address)
	n := cfg.sockets()
	if err != nil || n == 1 || !udp.CanShare {
		return []net.PacketConn{alone}, err
	}
	// Sockets that share an address would share it with those of another program of this
	// user's too. Nobody has it now, since one alone has got it; and who comes later and
	// tries that first, as we do, finds it taken.
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		alone.Close()
		return nil, err
	}
	_, port, err := net.SplitHostPort(alone.LocalAddr().String())
	alone.Close()
	if err != nil {
		return nil, err
	}
	var conns []net.PacketConn
	for range n {
		c, err := open(net.JoinHostPort(host, port), udp.Share)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

// pathTo is the way to a peer, by one of the sockets: who sends by one of them waits for
// others who do.
func (e *Endpoint) pathTo(peer netip.AddrPort, local netip.Addr) *udp.Path {
	k := int(peer.Port())
	for _, b := range peer.Addr().AsSlice() {
		k += int(b)
	}
	return e.socks[k%len(e.socks)].Path(peer, local)
}
