package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"
)

// SOCKS is a SOCKS5 server (RFC 1928) for the command CONNECT, without
// authentication.
type SOCKS struct {
	// Dialer is where all connections go, and who resolves the names. Required.
	Dialer Dialer
	// Logger gets what is wrong with the listener or its clients at Warn,
	// targets that cannot be dialled at Info, flows at Debug. Nil: nobody.
	Logger *slog.Logger
	// Limits bound the clients of each Serve.
	Limits Limits
}

// Serve accepts clients until ctx is done, and then returns nil, or until the
// listener fails, and then returns its error. In either case the listener and
// all connections are closed, and all goroutines have ended, when it returns.
func (s *SOCKS) Serve(ctx context.Context, ln net.Listener) error {
	return newServer(s.Limits, s.Logger, s.flow).serve(ctx, ln)
}

func (s *SOCKS) flow(ctx context.Context, srv *server, client net.Conn) {
	stop := context.AfterFunc(ctx, func() { abort(client) })
	target, conn, first := s.open(ctx, srv, client)
	stop()
	if conn == nil {
		return
	}
	srv.carry(ctx, client, conn, first, target)
}

// open does all that comes before the copying. It returns a nil conn when that
// has ended the flow, and the client is closed then.
func (s *SOCKS) open(ctx context.Context, srv *server, client net.Conn) (target string, conn net.Conn, first []byte) {
	log := srv.log.With("client", client.RemoteAddr())
	if t := srv.limits.HandshakeTimeout; t > 0 {
		client.SetDeadline(time.Now().Add(t))
	}
	target, err := readRequest(client)
	if err != nil {
		var refused *refusal
		var wrong wrongProtocol
		switch {
		case errors.As(err, &refused):
			log.Debug("request refused", "error", err)
			client.Write(appendReply(nil, refused.code, addrPort(nil)))
			part(client)
		case errors.As(err, &wrong):
			srv.complain("not a SOCKS5 client", "client", client.RemoteAddr(), "error", err)
			if wrong.http() {
				io.WriteString(client, badRequest(client.LocalAddr()))
			}
			part(client)
		case err == errNoMethod:
			srv.complain("no common authentication method", "client", client.RemoteAddr(), "error", err)
			part(client)
		default:
			log.Debug("handshake failed", "error", err)
			abort(client)
		}
		return "", nil, nil
	}
	client.SetDeadline(time.Time{})

	conn, first, err = dialAhead(ctx, srv, s.Dialer, client, target)
	if err != nil && ctx.Err() != nil {
		abort(client)
		return "", nil, nil
	}
	if err != nil {
		log.Info("dialling failed", "target", target, "error", err)
		client.SetWriteDeadline(time.Now().Add(partTime))
		client.Write(appendReply(nil, replyTo(err), addrPort(nil)))
		part(client)
		return "", nil, nil
	}
	if _, err := client.Write(appendReply(nil, replySucceeded, addrPort(conn.LocalAddr()))); err != nil {
		log.Debug("the client has gone", "target", target, "error", err)
		abort(client)
		abort(conn)
		return "", nil, nil
	}
	return target, conn, first
}

// errGone is why dialling ends when nobody waits for it any more.
var errGone = errors.New("the client has closed its connection")

// dialAhead dials the target and listens to the client meanwhile: one that
// closes its connection without having sent anything ahead gives up, and so do
// we. (It might only have closed its half, but a client that has not heard yet
// whether it is connected has no reason to.) What it sends ahead is in first.
func dialAhead(ctx context.Context, srv *server, d Dialer, client net.Conn, target string) (conn net.Conn, first []byte, err error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	ctx, cancel := srv.dialContext(ctx)
	defer cancel()

	ahead := make([]byte, waitSize)
	heard := make(chan int)
	go func() {
		n, err := client.Read(ahead)
		if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			giveUp(errGone)
		}
		heard <- n
	}()
	conn, err = d.DialContext(ctx, "tcp", target)
	client.SetReadDeadline(time.Unix(1, 0)) // ends the Read, if it waits still
	first = ahead[:<-heard]
	client.SetReadDeadline(time.Time{})
	if err != nil && context.Cause(ctx) == errGone {
		err = errGone
	}
	return conn, first, err
}

// badRequest is what a client hears that takes us for an HTTP proxy.
func badRequest(local net.Addr) string {
	body := fmt.Sprintf("This is a SOCKS5 proxy, not an HTTP proxy: use socks5h://%v\n", local)
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}
