package netstack

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

func TestUDP(t *testing.T) {
	p := newPair(t, nil, nil)
	server, err := p.b.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := p.a.Dial("udp", "10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	large := bytes.Repeat([]byte("0123456789"), 900) // goes in fragments
	for _, datagram := range [][]byte{[]byte("question"), {}, large} {
		if n, err := client.Write(datagram); err != nil || n != len(datagram) {
			t.Fatal(n, err)
		}
		b := make([]byte, 10_000)
		n, from, err := server.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b[:n], datagram) || from.String() != client.LocalAddr().String() {
			t.Fatalf("%d bytes from %v, want %d from %v", n, from, len(datagram), client.LocalAddr())
		}
		if _, err := server.WriteTo(append([]byte("re: "), datagram...), from); err != nil {
			t.Fatal(err)
		}
		n, err = client.Read(b)
		if err != nil || n != 4+len(datagram) {
			t.Fatalf("the answer has %d bytes, %v", n, err)
		}
	}
}

// A datagram longer than the buffer loses its end, and the next is not touched.
func TestUDPReadTruncates(t *testing.T) {
	p := newPair(t, nil, nil)
	server, err := p.b.ListenPacket("udp", "10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := p.a.Dial("udp4", "10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, s := range []string{"first", "second", "third"} {
		io.WriteString(client, s)
	}
	for _, row := range []struct {
		size int
		want string
	}{{3, "fir"}, {0, ""}, {10, "third"}} {
		b := make([]byte, row.size)
		n, _, err := server.ReadFrom(b)
		if err != nil || string(b[:n]) != row.want {
			t.Errorf("into %d bytes: %q, %v, want %q", row.size, b[:n], err, row.want)
		}
	}
}

func TestUDPRefused(t *testing.T) {
	p := newPair(t, nil, nil)
	c, err := p.a.Dial("udp", "10.0.0.2:54")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("anybody?")); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 1))
	want(t, "the read after an ICMP port unreachable", err, syscall.ECONNREFUSED)
}

type strangeAddr struct{}

func (strangeAddr) Network() string { return "strange" }
func (strangeAddr) String() string  { return "strange" }

// gonet panics on some of these.
func TestWriteToForeignAddresses(t *testing.T) {
	p := newPair(t, nil, nil)
	pc, err := p.a.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for _, addr := range []net.Addr{
		nil, (*net.UDPAddr)(nil), strangeAddr{},
		&net.TCPAddr{IP: addrB.AsSlice(), Port: 53},
		&net.UDPAddr{Port: 53},
		&net.UDPAddr{IP: net.IPv6loopback, Port: 53},
		&net.UDPAddr{IP: net.IPv4zero, Port: 53},
		&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53},
		&net.UDPAddr{IP: addrB.AsSlice(), Port: 0},
	} {
		_, err := pc.WriteTo([]byte("x"), addr)
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("WriteTo %v (%T): %v, want a *net.OpError", addr, addr, err)
		}
	}
	if out := p.nicA.Counters().PacketsOut; out != 0 {
		t.Errorf("%d packets went out", out)
	}
	c, err := p.a.Dial("udp", "10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.(net.PacketConn).WriteTo([]byte("x"), &net.UDPAddr{IP: addrB.AsSlice(), Port: 53})
	want(t, "WriteTo on a conn", err, net.ErrWriteToConnected)
}

func TestUDPTooLong(t *testing.T) {
	p := newPair(t, nil, nil)
	c, err := p.a.Dial("udp", "10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Write(make([]byte, 65536))
	want(t, "a datagram longer than UDP's", err, syscall.EMSGSIZE)
}
