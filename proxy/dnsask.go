package proxy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsServers = 3 // as MAXNS of the C library
	dnsRounds  = 2
)

// forward asks the servers until one answers. What it returns has the client's id.
func (d *DNS) forward(ctx context.Context, srv *server, q *question, tcp bool) []byte {
	servers := d.Servers()
	servers = servers[:min(len(servers), dnsServers)]
	var last []byte
	for range dnsRounds {
		for _, server := range servers {
			answer, err := d.ask(ctx, "udp", server, q)
			if err == nil && truncated(answer) && tcp {
				answer, err = d.ask(ctx, "tcp", server, q)
			}
			if ctx.Err() != nil {
				return q.reply(dnsmessage.RCodeServerFailure)
			}
			if err != nil {
				srv.complain("a DNS server does not answer", "server", server, "error", err)
				continue
			}
			if code := rcode(answer); code == dnsmessage.RCodeSuccess || code == dnsmessage.RCodeNameError {
				return withID(answer, q.id)
			}
			last = answer
		}
		if last != nil {
			break // they have answered, with errors: to ask again would not help
		}
	}
	switch {
	case len(servers) == 0:
		srv.complain("there is no DNS server to ask")
	case len(last) > dnsHeader:
		return withID(last, q.id)
	case last != nil:
		return q.reply(rcode(last))
	}
	return q.reply(dnsmessage.RCodeServerFailure)
}

// ask asks one server once.
func (d *DNS) ask(ctx context.Context, network string, server netip.AddrPort, q *question) ([]byte, error) {
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = 2 * time.Second
	}
	if network == "tcp" {
		timeout *= 2
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := d.Dialer.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// The context's end ends reads and writes.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var random [2]byte
	rand.Read(random[:])
	id := binary.BigEndian.Uint16(random[:])
	message := withID(q.message, id)
	if network == "tcp" {
		return askTCP(conn, message, q, id)
	}
	return askUDP(conn, message, q, id)
}

// askUDP takes the first answer that is one. The socket is connected: it receives from
// the server alone.
func askUDP(conn net.Conn, message []byte, q *question, id uint16) ([]byte, error) {
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	b := dnsBuffers.Get().(*[1 << 16]byte)
	defer dnsBuffers.Put(b)
	for {
		n, err := conn.Read(b[:])
		if err != nil {
			return nil, err
		}
		if q.answers(b[:n], id) {
			return append([]byte(nil), b[:n]...), nil
		}
	}
}

var errOtherQuestion = errors.New("it answers another question")

func askTCP(conn net.Conn, message []byte, q *question, id uint16) ([]byte, error) {
	if err := writeMessage(conn, message); err != nil {
		return nil, err
	}
	m, err := readMessage(conn, 1<<16-1)
	if err != nil {
		return nil, fmt.Errorf("by TCP: %w", err)
	}
	if !q.answers(m, id) {
		return nil, errOtherQuestion
	}
	return m, nil
}
