//go:build linux

package roles

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// User and Password are of who may call a server, as often as the limits let him.
const (
	User     = "alice"
	Password = "s3cret"
)

// A ServerConfig says what kind of server is wanted.
type ServerConfig struct {
	// Address to answer on. Empty: 127.0.0.1, at any port.
	Address string
	// Sessions is how many one address shall be able to have, as fast as it can. 0: the limits are the default ones.
	Sessions int
	// SmallSocket bounds the socket's buffers ([ListenUDP]).
	SmallSocket bool
	// MRU is that of the sessions, in bytes. 0: 1,400.
	MRU int
	// Processors is how many of them Go uses. 0: as it likes.
	Processors int
	// AllowHost are addresses of this machine that clients may go out to. Nil: they go nowhere.
	AllowHost []string
}

// A ServerReport is what a server tells of itself.
type ServerReport struct {
	Usage
	Bytes    uint64 // that its services have taken
	Packets  uint64 // that have come through its sessions
	Dropped  uint64 // datagrams that its socket had no room for
	Counters endpoint.Counters
	Buffer   int // bytes that its socket was granted for what comes in, the system's overhead included
}

// NewServer is a node.Server with Services in its stack.
func NewServer() Role {
	var (
		s        *node.Server
		services Services
	)
	go WatchMemory()
	return Role{
		"start": Asks(func(cfg ServerConfig) (addr netip.AddrPort, err error) {
			s = &node.Server{
				Users: map[string]node.User{User: {Password: Password}},
				Pool:  netip.MustParsePrefix("10.64.0.0/12"),
				MRU:   cfg.MRU,
			}
			if cfg.Processors > 0 {
				runtime.GOMAXPROCS(cfg.Processors)
			}
			if cfg.Sessions > 0 {
				s.Limits = endpoint.Limits{Tunnels: 2 * cfg.Sessions, HalfOpenPerSource: -1, RatePerSource: -1}
			}
			if cfg.AllowHost != nil {
				s.Egress = &node.Egress{}
				for _, host := range cfg.AllowHost {
					a, err := node.ParseAllow(host)
					if err != nil {
						return addr, err
					}
					s.Egress.AllowHost = append(s.Egress.AllowHost, a)
				}
			}
			if cfg.Address == "" {
				cfg.Address = "127.0.0.1:0"
			}
			if s.Conn, err = ListenUDP(cfg.Address, cfg.SmallSocket); err != nil {
				return addr, err
			}
			if err := s.Start(); err != nil {
				return addr, err
			}
			return s.Addr(), services.Serve(func(port int) (net.Listener, error) { return s.Listen("tcp", fmt.Sprintf(":%d", port)) })
		}),
		"fill heap": func(json.RawMessage) (any, error) { FillHeap(); return nil, nil },
		"hush":      func(json.RawMessage) (any, error) { services.Hush(); return nil, nil },
		// Where there are many sessions, to count what they have costs more than what is measured.
		"brief": Asks(func(collect bool) (ServerReport, error) {
			return ServerReport{Usage: Used(collect), Bytes: services.Taken()}, nil
		}),
		"report": Asks(func(collect bool) (ServerReport, error) {
			st := s.Endpoint().Status()
			r := ServerReport{Usage: Used(collect), Bytes: services.Taken(), Dropped: Dropped(st.Local.Port()), Counters: st.Counters, Buffer: st.ReceiveBuffer}
			for _, t := range st.Tunnels {
				for _, session := range t.Sessions {
					r.Packets += session.Traffic.PacketsIn
				}
			}
			return r, nil
		}),
	}
}
