//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
	"golang.org/x/net/ipv4"
)

const (
	user     = "alice"
	password = "s3cret"
	sinkPort = 9 // discard (RFC 863)
)

// A serverConfig says what kind of server is wanted.
type serverConfig struct {
	// Sessions is how many there will be of one address. 0: the limits are those that a server has by default.
	Sessions int
}

// A serverReport is what a server tells of itself.
type serverReport struct {
	usage
	Bytes    uint64 // that its sinks have taken
	Dropped  uint64 // datagrams that its socket had no room for
	Counters endpoint.Counters
}

// newServer is an LNS with a sink in its stack.
func newServer() role {
	var (
		ep    *endpoint.Endpoint
		bytes atomic.Uint64
	)
	go watchMemory()
	return role{
		"start": asks(func(cfg serverConfig) (addr netip.AddrPort, err error) {
			ep, err = serve(cfg, &bytes)
			if err != nil {
				return addr, err
			}
			return ep.Addr(), nil
		}),
		"report": asks(func(collect bool) (serverReport, error) {
			u, st := used(collect), ep.Status()
			return serverReport{u, bytes.Load(), dropped(st.Local.Port()), st.Counters}, nil
		}),
	}
}

func serve(cfg serverConfig, bytes *atomic.Uint64) (*endpoint.Endpoint, error) {
	pool, err := endpoint.NewPool(netip.MustParsePrefix("10.64.0.0/12"), netip.Addr{}, nil)
	if err != nil {
		return nil, err
	}
	stack, err := netstack.New(nil)
	if err != nil {
		return nil, err
	}
	router, err := stack.AddRouted(&netstack.RoutedConfig{Addresses: []netip.Addr{pool.Gateway()}})
	if err != nil {
		return nil, err
	}
	sink, err := stack.Listen("tcp", fmt.Sprintf(":%d", sinkPort))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := sink.Accept()
			if err != nil {
				return
			}
			go drain(c, bytes)
		}
	}()
	answer := &endpoint.AnswerConfig{
		Pool: pool,
		Authenticate: func(context.Context, endpoint.AuthRequest) (endpoint.Credential, error) {
			return endpoint.Credential{Password: password}, nil
		},
	}
	if cfg.Sessions > 0 {
		raiseLimits(answer, cfg.Sessions)
	}
	ep, err := endpoint.Listen("udp", "127.0.0.1:0", &endpoint.Config{Answer: answer})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			s, err := ep.Accept(context.Background())
			if err != nil {
				return
			}
			join(router, s)
		}
	}()
	return ep, nil
}

// raiseLimits lets one address have as many sessions, as fast as it can open them.
func raiseLimits(a *endpoint.AnswerConfig, sessions int) {
	a.Limits = endpoint.Limits{Tunnels: 2 * sessions, HalfOpenPerSource: -1, RatePerSource: -1}
}

func join(router *netstack.Router, s *endpoint.Session) {
	port, err := router.Attach(&netstack.PortConfig{Prefixes: []netip.Prefix{netip.PrefixFrom(s.PeerAddress(), 32)}}, s)
	if err != nil {
		s.Close()
		return
	}
	s.Attach(port)
	go func() {
		<-s.Done()
		port.Close()
	}()
}

func drain(c net.Conn, bytes *atomic.Uint64) {
	defer c.Close()
	for buf := make([]byte, 64<<10); ; {
		n, err := c.Read(buf)
		bytes.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

// newReader is a socket whose owner only reads, as many datagrams at a time as there are.
func newReader() role {
	var datagrams atomic.Uint64
	return role{
		"start": func(json.RawMessage) (any, error) {
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				return nil, err
			}
			conn.SetReadBuffer(4 << 20)
			go read(ipv4.NewPacketConn(conn), &datagrams)
			return conn.LocalAddr().(*net.UDPAddr).AddrPort(), nil
		},
		"datagrams": func(json.RawMessage) (any, error) { return datagrams.Load(), nil },
	}
}

func read(conn *ipv4.PacketConn, datagrams *atomic.Uint64) {
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	for {
		n, err := conn.ReadBatch(batch, 0)
		if err != nil {
			return
		}
		datagrams.Add(uint64(n))
	}
}
