package proxy

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// moving is a mover that has moved seven bytes of anything.
type moving struct {
	net.Conn
	sent, received bool
	err            error
}

func (m *moving) SendFrom(_ syscall.RawConn, moved func(int)) error {
	m.sent = true
	moved(7)
	return m.err
}

func (m *moving) ReceiveTo(_ syscall.RawConn, moved func(int)) error {
	m.received = true
	moved(7)
	return m.err
}

// A mover is asked where the other connection is a socket of the system's, and nothing
// else: a type that embeds one may count, or slow down, what is read from it.
func TestWhoMovesByItself(t *testing.T) {
	ln := listen(t)
	dial(t, ln.Addr().String())
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	socket := c.(*net.TCPConn)
	n := 0
	moved := func(k int) { n += k }

	m := &moving{}
	if err := move(m, socket, moved); err != nil || !m.sent || m.received || n != 7 {
		t.Errorf("from a socket: sent is %v, received %v, %d bytes, %v", m.sent, m.received, n, err)
	}
	broken := errors.New("broken")
	m = &moving{err: broken}
	if err := move(socket, m, moved); err != broken || m.sent || !m.received || n != 14 {
		t.Errorf("to a socket: sent is %v, received %v, %d bytes, %v", m.sent, m.received, n, err)
	}
	for name, pair := range map[string][2]net.Conn{
		"from what embeds a socket": {&moving{}, struct{ *net.TCPConn }{socket}},
		"to what embeds a socket":   {struct{ *net.TCPConn }{socket}, &moving{}},
		"between two movers":        {&moving{}, &moving{}},
		"between two sockets":       {socket, socket},
	} {
		if err := move(pair[0], pair[1], moved); !errors.Is(err, errors.ErrUnsupported) || n != 14 {
			t.Errorf("%s: %d bytes, %v; want that it is left to a buffer", name, n-14, err)
		}
	}
}
