//go:build linux

package main

import (
	"encoding/json"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// datagram is how many bytes each of raw UDP's has: as many as l2tpnet's when the MTU inside is 1,400.
const datagram = 1400

// udpBuffer is what raw UDP's sockets ask for, as l2tpnet's do. They get it whatever those get: it is a yardstick.
const udpBuffer = 4 << 20

// hostPorts are where a host has its services.
type hostPorts struct{ Sink, Echo, UDP string }

// newHost is services on this machine's TCP, and a reader of datagrams, one system call each.
func newHost() roles.Role {
	var (
		services  roles.Services
		datagrams atomic.Uint64
	)
	return roles.Role{
		"start": func(json.RawMessage) (any, error) {
			ports := map[int]string{}
			err := services.Serve(func(port int) (net.Listener, error) {
				ln, err := net.Listen("tcp4", ":0")
				if err == nil {
					ports[port] = portOf(ln.Addr())
				}
				return ln, err
			})
			if err != nil {
				return nil, err
			}
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{})
			if err != nil {
				return nil, err
			}
			conn.SetReadBuffer(udpBuffer)
			go func() {
				for buf := make([]byte, 65535); ; {
					n, _, err := conn.ReadFromUDPAddrPort(buf)
					if err != nil {
						return
					}
					datagrams.Add(uint64(n))
				}
			}()
			return hostPorts{ports[roles.SinkPort], ports[roles.EchoPort], portOf(conn.LocalAddr())}, nil
		},
		"hush": func(json.RawMessage) (any, error) { services.Hush(); return nil, nil },
		"report": func(json.RawMessage) (any, error) {
			return report{Usage: roles.Used(false), Bytes: services.Taken() + datagrams.Load()}, nil
		},
	}
}

func portOf(a net.Addr) string {
	switch a := a.(type) {
	case *net.TCPAddr:
		return strconv.Itoa(a.Port)
	case *net.UDPAddr:
		return strconv.Itoa(a.Port)
	}
	panic("BUG: an address without a port")
}
