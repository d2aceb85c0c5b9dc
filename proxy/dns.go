package proxy

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A DNS forwards questions from the clients of any listener to DNS servers by any
// dialer, and their answers back (RFC 5625). It keeps nothing: an answer goes to the
// one who asked.
//
// Each question goes out from a socket of its own, with an id of its own; its answer
// must come from the server that was asked, with that id and that question (RFC
// 5452 §9). A server that does not answer, or fails, is followed by the next.
type DNS struct {
	// Servers gives the servers to ask, the first one first, for each question anew;
	// more than three are not asked. Required; see [HostServers] and [FixedServers].
	Servers func() []netip.AddrPort
	// Dialer is where the servers are: networks udp and tcp. Required.
	Dialer Dialer
	// Timeout is how long one server has for one answer; by TCP twice as long.
	// After the last one the first is asked again, once. 0: 2 s.
	Timeout time.Duration
	// Questions bounds the questions that came by UDP and wait for their answers, and
	// likewise the TCP connections, of each Serve; QuestionsPerClient those of one
	// client, which is an IPv4 address or an IPv6 network of 64 bits. What comes on
	// top is dropped. 0: 256 and 32; negative: no limit.
	Questions, QuestionsPerClient int
	// Source, if set, tells what a client counts as instead: where one may have many
	// addresses.
	Source func(client netip.Addr) netip.Prefix
	// Logger gets servers that fail, and what is wrong with clients, at Warn, now and
	// then. Nil: nobody.
	Logger *slog.Logger
}

const (
	dnsIdle        = 10 * time.Second // of a TCP connection (RFC 7766 §6.2.3: "on the order of a few seconds")
	dnsTCPAtOnce   = 4                // questions of one TCP connection; the next ones wait in it
	dnsQuestionMax = 4096             // bytes of a question: a few records at most
	dnsUDPMax      = 1232             // bytes of an answer by UDP that no link fragments
	dnsUDPLeast    = 512              // RFC 1035 §4.2.1
)

// limited makes the server that counts and complains for one Serve.
func (d *DNS) limited(flow func(context.Context, *server, net.Conn)) *server {
	l := Limits{Flows: d.Questions, FlowsPerSource: d.QuestionsPerClient}
	if l.Flows == 0 {
		l.Flows = 256
	}
	if l.FlowsPerSource == 0 {
		l.FlowsPerSource = 32
	}
	s := newServer(l, d.Logger, flow)
	if d.Source != nil {
		s.source = func(client net.Addr) netip.Prefix { return d.Source(addrPort(client).Addr()) }
	}
	return s
}

// dnsBuffers are for datagrams, which may have any length.
var dnsBuffers = sync.Pool{New: func() any { return new([1 << 16]byte) }}

// Serve answers questions that come by UDP until ctx is done, and then returns nil, or
// until the socket fails, and then returns its error. Either way the socket is
// closed, and all goroutines have ended, when it returns.
func (d *DNS) Serve(ctx context.Context, conn net.PacketConn) error {
	srv := d.limited(nil)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	b := dnsBuffers.Get().(*[1 << 16]byte)
	defer dnsBuffers.Put(b)
	for {
		n, client, err := conn.ReadFrom(b[:])
		switch {
		case ctx.Err() != nil:
			return nil
		case passing(err):
			srv.log.Warn("reading questions failed, will try again", "socket", conn.LocalAddr(), "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptDelayMax):
			}
			continue
		case err != nil:
			return err
		}
		q, refusal := parseQuestion(b[:n])
		if refusal != nil {
			conn.WriteTo(refusal, client)
			continue
		}
		if q == nil {
			srv.complain("no question", "client", client, "bytes", n)
			continue
		}
		source := srv.source(client)
		if err := srv.enter(source); err != nil {
			srv.complain("question dropped", "client", client, "error", err)
			continue
		}
		running.Go(func() {
			defer srv.leave(source)
			answer := d.forward(ctx, srv, q, false)
			if ctx.Err() == nil {
				conn.WriteTo(q.fit(answer), client)
			}
		})
	}
}

// ServeTCP answers questions that come by TCP, several in a connection and in any
// order (RFC 7766), until ctx is done, and then returns nil, or until the listener
// fails, and then returns its error. Either way the listener and all connections are
// closed, and all goroutines have ended, when it returns.
func (d *DNS) ServeTCP(ctx context.Context, ln net.Listener) error {
	return d.limited(d.stream).serve(ctx, ln)
}

// stream answers the questions of one TCP connection.
func (d *DNS) stream(ctx context.Context, srv *server, client net.Conn) {
	defer client.Close()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	var writing sync.Mutex
	send := func(m []byte) {
		writing.Lock()
		defer writing.Unlock()
		client.SetWriteDeadline(time.Now().Add(dnsIdle))
		if writeMessage(client, m) != nil {
			client.Close()
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	atOnce := make(chan struct{}, dnsTCPAtOnce)
	for {
		client.SetReadDeadline(time.Now().Add(dnsIdle))
		m, err := readMessage(client, dnsQuestionMax)
		if err != nil {
			return
		}
		q, refusal := parseQuestion(m)
		if refusal != nil {
			send(refusal)
			continue
		}
		if q == nil {
			srv.complain("no question", "client", client.RemoteAddr(), "bytes", len(m))
			return
		}
		atOnce <- struct{}{}
		running.Go(func() {
			defer func() { <-atOnce }()
			send(d.forward(ctx, srv, q, true))
		})
	}
}

// readMessage reads a message with its length in front (RFC 1035 §4.2.2).
func readMessage(r io.Reader, most int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > most {
		return nil, errTooLong
	}
	m := make([]byte, n)
	_, err := io.ReadFull(r, m)
	return m, err
}

func writeMessage(w io.Writer, m []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	return err
}
