//go:build linux

package main

import (
	"encoding/json"
	"net"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
	"golang.org/x/net/ipv4"
)

// newReader is a socket whose owner only reads, as many datagrams at a time as there are.
func newReader() roles.Role {
	var datagrams atomic.Uint64
	return roles.Role{
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
