//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
	"golang.org/x/net/ipv4"
)

const (
	user     = "alice"
	password = "s3cret"
	sinkPort = 9 // discard (RFC 863)
)

// A serverConfig says what kind of server is wanted.
type serverConfig struct {
	// Sessions is how many one address shall be able to have, as fast as it can. 0: the limits are the default ones.
	Sessions int
}

// A serverReport is what a server tells of itself.
type serverReport struct {
	usage
	Bytes    uint64 // that its sinks have taken
	Dropped  uint64 // datagrams that its socket had no room for
	Counters endpoint.Counters
}

// newServer is a node.Server with a sink in its stack.
func newServer() role {
	var (
		s     *node.Server
		bytes atomic.Uint64
	)
	go watchMemory()
	return role{
		"start": asks(func(cfg serverConfig) (addr netip.AddrPort, err error) {
			s = &node.Server{
				Address: "127.0.0.1:0",
				Users:   map[string]node.User{user: {Password: password}},
				Pool:    netip.MustParsePrefix("10.64.0.0/12"),
			}
			if cfg.Sessions > 0 {
				s.Limits = endpoint.Limits{Tunnels: 2 * cfg.Sessions, HalfOpenPerSource: -1, RatePerSource: -1}
			}
			if err := s.Start(); err != nil {
				return addr, err
			}
			sink, err := s.Listen("tcp", fmt.Sprintf(":%d", sinkPort))
			if err != nil {
				return addr, err
			}
			go func() {
				for {
					c, err := sink.Accept()
					if err != nil {
						return
					}
					go drain(c, &bytes)
				}
			}()
			return s.Addr(), nil
		}),
		"report": asks(func(collect bool) (serverReport, error) {
			st := s.Endpoint().Status()
			return serverReport{used(collect), bytes.Load(), dropped(st.Local.Port()), st.Counters}, nil
		}),
	}
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
