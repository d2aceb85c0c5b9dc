package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/node"
)

// A failure is an error with what its reader may do about it.
type failure struct {
	err    error
	hint   string
	status int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a mistake that the user can mend on this machine.
func usage(err error, hint string) error { return &failure{err, hint, 2} }

// report prints an error in one line, and its hint in another, and gives the
// exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{err: err, status: 1}
	}
	fmt.Fprintf(w, "l2tpnet: %v\n", err)
	if f.hint != "" {
		fmt.Fprintf(w, "hint: %s\n", f.hint)
	}
	return f.status
}

// explainDial says what a failed connection means to whoever wanted it. The error
// names the servers; with several of them the hint is about one.
func explainDial(err error) error {
	var (
		socket   *node.SocketError
		capture  *node.CaptureError
		dns      *net.DNSError
		auth     *endpoint.AuthError
		timeout  *endpoint.TimeoutError
		patience *node.PatienceError
		lease    *node.LeaseError
		inside   *node.InsideError
		peer     *endpoint.PeerError
	)
	_, alone := err.(*node.AttemptError)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, endpoint.ErrAddress):
		return usage(err, "a server is a name or an address, and perhaps a port: lns.example.net:1701, [2001:db8::1]:1701")
	case errors.As(err, &capture):
		return cannotCapture(capture.Err)
	case errors.As(err, &socket):
		return explainListen(socket.Err, socket.Local, flagsOfDialling)
	case errors.As(err, &auth) && auth.Tunnel:
		return &failure{err, "the tunnel secret is the server's own, not a user's password: check --secret-file or L2TPNET_SECRET", 1}
	case errors.As(err, &auth):
		return &failure{err, "check --user, --password-file or L2TPNET_PASSWORD, and the methods in --auth", 1}
	case errors.As(err, &timeout) && timeout.Hint() != "":
		return &failure{err, timeout.Hint(), 1}
	case errors.As(err, &patience) && patience.Hint() != "":
		return &failure{err, patience.Hint(), 1}
	case errors.As(err, &timeout) && timeout.Silent, errors.As(err, &patience):
		return &failure{err, "is it an L2TP server, and do UDP datagrams reach this port and come back?", 1}
	case errors.As(err, &lease):
		return &failure{err, noLeaseHint, 1}
	case errors.As(err, &inside):
		return usage(ofNetstack(inside), insideHint)
	case errors.As(err, &peer) && peer.NotAuthorized():
		return &failure{err, "the server may want a tunnel secret (--secret-file, L2TPNET_SECRET), or another one", 1}
	case errors.As(err, &dns) && alone:
		return usage(fmt.Errorf("cannot find %q: %s", dns.Name, dns.Err), "check the name and this machine's DNS")
	case errors.As(err, &dns):
		return usage(err, "check the names and this machine's DNS")
	}
	return err
}

const (
	noLeaseHint = "is there a DHCP server on that Ethernet? --address gives an address without one"
	insideHint  = "--address, --gateway and --dns say what we have inside"
)

// explainLookup says who is asked for names inside.
func explainLookup(err error) error {
	var dns *net.DNSError
	if !errors.As(err, &dns) || errors.Is(err, context.Canceled) {
		return err
	}
	return &failure{err, "names are resolved by the tunnel's own DNS servers only; an address works without", 1}
}

// flagsOfDialling say which socket an attempt has.
const flagsOfDialling = "--bind, --source-port or --device"

// explainListen says why an address could not be listened on.
func explainListen(err error, address, flag string) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return usage(err, "") // what was asked of the endpoint contradicts itself
	}
	hint := "expected " + flag + " to name an address of this machine, such as 127.0.0.1:1080"
	switch {
	case flag == "--listen", flag == "--local":
		hint = "expected " + flag + " to name an address of this machine, such as 127.0.0.1:1701"
	case flag == flagsOfWire:
		hint = "expected --local to name an address of this machine, and --device an interface of it"
	case flag == flagsOfDialling:
		hint = "expected --bind to name an address of this machine, and --device an interface of it"
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another program listens there: choose another port with " + flag
	case errors.Is(err, os.ErrPermission):
		hint = "ports below 1024 are for privileged programs: choose a higher one with " + flag
	}
	if op.Err != nil {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return usage(fmt.Errorf("cannot listen on %s: %w", address, err), hint)
}
