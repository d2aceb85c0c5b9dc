//go:build linux

package roles

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Ports of what Services are, as RFC 863, RFC 862 and RFC 864 have them.
const (
	SinkPort   = 9  // takes everything
	EchoPort   = 7  // sends back what it takes
	SourcePort = 19 // sends for ever
)

// Chunk is how many bytes are written or read at a time.
const Chunk = 256 << 10

// Services are what bulk connections and round trips are measured with.
type Services struct {
	taken atomic.Uint64
	back  sync.Map // of those whose connections began with Back; the values say nothing
}

// Serve opens a listener for each service; it is called with the port where the service is expected.
func (s *Services) Serve(listen func(port int) (net.Listener, error)) error {
	for port, handle := range map[int]func(net.Conn){SinkPort: s.Take, EchoPort: echo, SourcePort: fill} {
		ln, err := listen(port)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go handle(c)
			}
		}()
	}
	return nil
}

// Taken is how many bytes have come to the sink.
func (s *Services) Taken() uint64 { return s.taken.Load() }

// Back is the octet that has the sink send for ever, where a connection begins with it:
// so that who has a way to the sink alone has one for either direction.
const Back = '<'

// Take reads a connection until it ends, unless that begins with Back.
func (s *Services) Take(c net.Conn) {
	defer c.Close()
	first := true
	for buf := make([]byte, Chunk); ; {
		n, err := c.Read(buf)
		if first && n > 0 && buf[0] == Back {
			s.back.Store(c, nil)
			defer s.back.Delete(c)
			fill(c)
			return
		}
		first = first && n == 0
		s.taken.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

// Hush ends the connections that began with Back. Who measures something else afterwards does not rely on what is in
// between to hear from the other end that nobody reads any more: slirp4netns may go on with them for minutes.
func (s *Services) Hush() {
	for c := range s.back.Range {
		if c, ok := c.(*net.TCPConn); ok {
			c.SetLinger(0)
		}
		c.(net.Conn).Close()
	}
}

func echo(c net.Conn) {
	defer c.Close()
	io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 4096))
}

func fill(c net.Conn) {
	defer c.Close()
	for buf := make([]byte, Chunk); ; {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}
