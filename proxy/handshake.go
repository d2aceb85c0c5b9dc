package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

const socksVersion = 5

// Authentication methods (RFC 1928 §3).
const (
	methodNone         = 0x00 // no authentication required
	methodUnacceptable = 0xFF // no acceptable methods
)

// Commands (RFC 1928 §4).
const (
	commandConnect      = 0x01
	commandBind         = 0x02
	commandUDPAssociate = 0x03
)

// Address types (RFC 1928 §5).
const (
	addressIPv4 = 0x01
	addressName = 0x03
	addressIPv6 = 0x04
)

// A replyCode is the REP field of a reply (RFC 1928 §6).
type replyCode byte

const (
	replySucceeded           replyCode = 0x00
	replyGeneralFailure      replyCode = 0x01
	replyNetworkUnreachable  replyCode = 0x03
	replyHostUnreachable     replyCode = 0x04
	replyConnectionRefused   replyCode = 0x05
	replyCommandNotSupported replyCode = 0x07
	replyAddressNotSupported replyCode = 0x08
)

// A refusal is a request that is answered with a code other than succeeded.
type refusal struct {
	code   replyCode
	reason string
}

func (r *refusal) Error() string { return r.reason }

// A wrongProtocol is a client that does not speak SOCKS5, by its first byte.
type wrongProtocol byte

func (w wrongProtocol) Error() string {
	switch {
	case w == 4:
		return "expected SOCKS version 5, found version 4: the client must be told to use SOCKS5 (curl: --socks5-hostname)"
	case w.http():
		return "expected SOCKS version 5, found what looks like HTTP: the client must be told that this is a SOCKS5 proxy"
	}
	return fmt.Sprintf("expected SOCKS version 5, found a first byte of 0x%02X", byte(w))
}

// http tells whether the first byte is one of an HTTP method's.
func (w wrongProtocol) http() bool { return 'A' <= w && w <= 'Z' }

// errNoMethod is a client that insists on authentication.
var errNoMethod = errors.New("expected the method 0x00, no authentication, among those offered, found others only")

// readRequest speaks the server's part of RFC 1928 up to the request and
// returns the target, host:port, its host a name as it was given. It reads no
// byte beyond the request. The errors are refusal, wrongProtocol, errNoMethod
// (answered already) and those of rw.
func readRequest(rw io.ReadWriter) (target string, err error) {
	if err := readGreeting(rw); err != nil {
		return "", err
	}
	// +----+-----+-------+------+----------+----------+
	// |VER | CMD |  RSV  | ATYP | DST.ADDR | DST.PORT |
	// +----+-----+-------+------+----------+----------+
	// | 1  |  1  | X'00' |  1   | Variable |    2     |
	// +----+-----+-------+------+----------+----------+
	var b [1 + 255 + 2]byte
	if _, err := io.ReadFull(rw, b[:4]); err != nil {
		return "", err
	}
	version, command, addressType := b[0], b[1], b[3]
	if version != socksVersion {
		return "", &refusal{replyGeneralFailure, fmt.Sprintf("expected a request of SOCKS version 5, found version %d", version)}
	}
	var size int
	switch addressType {
	case addressIPv4:
		size = 4
	case addressIPv6:
		size = 16
	case addressName:
		if _, err := io.ReadFull(rw, b[:1]); err != nil {
			return "", err
		}
		size = int(b[0])
	default:
		return "", &refusal{replyAddressNotSupported, fmt.Sprintf("expected the address type 1, 3 or 4, found %d", addressType)}
	}
	if _, err := io.ReadFull(rw, b[:size+2]); err != nil {
		return "", err
	}
	// Everything has been read: from here on a refusal reaches the client.
	switch command {
	case commandConnect:
	case commandBind:
		return "", &refusal{replyCommandNotSupported, "BIND is not supported, CONNECT is"}
	case commandUDPAssociate:
		return "", &refusal{replyCommandNotSupported, "UDP ASSOCIATE is not supported, CONNECT is"}
	default:
		return "", &refusal{replyCommandNotSupported, fmt.Sprintf("expected the command 1, CONNECT, found %d", command)}
	}
	var host string
	if addressType == addressName {
		host = string(b[:size])
		if err := checkHost(host); err != nil {
			return "", &refusal{replyGeneralFailure, err.Error()}
		}
	} else {
		addr, _ := netip.AddrFromSlice(b[:size])
		host = addr.String()
	}
	port := int(b[size])<<8 | int(b[size+1])
	if port == 0 {
		return "", &refusal{replyGeneralFailure, "expected a port from 1 to 65535, found 0"}
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// readGreeting reads the methods that the client offers, and chooses.
func readGreeting(rw io.ReadWriter) error {
	// +----+----------+----------+
	// |VER | NMETHODS | METHODS  |
	// +----+----------+----------+
	// | 1  |    1     | 1 to 255 |
	// +----+----------+----------+
	var b [255]byte
	if _, err := io.ReadFull(rw, b[:1]); err != nil {
		return err
	}
	if b[0] != socksVersion {
		return wrongProtocol(b[0])
	}
	if _, err := io.ReadFull(rw, b[:1]); err != nil {
		return err
	}
	methods := b[:b[0]]
	if _, err := io.ReadFull(rw, methods); err != nil {
		return err
	}
	for _, m := range methods {
		if m == methodNone {
			_, err := rw.Write([]byte{socksVersion, methodNone})
			return err
		}
	}
	if _, err := rw.Write([]byte{socksVersion, methodUnacceptable}); err != nil {
		return err
	}
	return errNoMethod
}

// checkHost tells whether a resolver may be asked for host: 1 to 255 bytes,
// none of which would mean something else to a log, a parser or C.
func checkHost(host string) error {
	if len(host) == 0 || len(host) > 255 {
		return fmt.Errorf("expected a host of 1 to 255 bytes, found %d", len(host))
	}
	for _, c := range []byte(host) {
		if c <= ' ' || c == 0x7F || c == '[' || c == ']' {
			return fmt.Errorf("expected a host name or address, found the byte 0x%02X in %q", c, host)
		}
		if c == ':' {
			if _, err := netip.ParseAddr(host); err != nil {
				return fmt.Errorf("expected a host name or address, found %q", host)
			}
		}
	}
	return nil
}

// appendReply appends a reply with the address that the target sees as BND.ADDR,
// or 0.0.0.0 port 0 when there is none.
func appendReply(b []byte, code replyCode, bound netip.AddrPort) []byte {
	// +----+-----+-------+------+----------+----------+
	// |VER | REP |  RSV  | ATYP | BND.ADDR | BND.PORT |
	// +----+-----+-------+------+----------+----------+
	// | 1  |  1  | X'00' |  1   | Variable |    2     |
	// +----+-----+-------+------+----------+----------+
	if !bound.IsValid() {
		bound = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	atyp := byte(addressIPv4)
	if bound.Addr().Is6() {
		atyp = addressIPv6
	}
	b = append(b, socksVersion, byte(code), 0, atyp)
	b = append(b, bound.Addr().AsSlice()...)
	return append(b, byte(bound.Port()>>8), byte(bound.Port()))
}

// replyTo is the code for an error of dialling. A time-out counts as a host
// that cannot be reached, since that is what it looks like from here; the RFC's
// own "TTL expired" is about ICMP. A name without addresses is such a host, too,
// whatever became of the question: it was not the host who refused it. What is left
// is a failure of ours.
func replyTo(err error) replyCode {
	var name *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &name) && !errors.Is(err, syscall.ENETUNREACH):
		return replyHostUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		return replyConnectionRefused
	case errors.Is(err, syscall.ENETUNREACH):
		return replyNetworkUnreachable
	case errors.Is(err, syscall.EHOSTUNREACH),
		errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return replyHostUnreachable
	}
	return replyGeneralFailure
}
