package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// farVariable, in the environment, makes this program the far end of a benchmark.
const farVariable = "L2TPNET_PROXY_BENCH"

// farEnd says where it listens, takes what comes at its first address, and sends back
// what comes at the second one.
func farEnd() {
	for _, answer := range []func(net.Conn){
		func(c net.Conn) {
			io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
		},
		func(c net.Conn) { io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 4<<10)) },
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Println(ln.Addr())
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					answer(c)
				}()
			}
		}()
	}
	io.Copy(io.Discard, os.Stdin) // until the parent ends
}

// startFar starts the far end, in a process of its own.
func startFar(b *testing.B) (sink, echo string) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), farVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if _, err := fmt.Fscan(out, &sink, &echo); err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(sink), strings.TrimSpace(echo)
}

// dialForward is a connection through a Forward to a target, over this machine's sockets.
func dialForward(b *testing.B, target string) net.Conn {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- (&Forward{Dialer: &net.Dialer{}, Target: target}).Serve(ctx, ln) }()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// BenchmarkForward sends 256 KiB an iteration through a Forward between sockets, the far
// end in a process of its own. (Through a tunnel: integration/bench.)
func BenchmarkForward(b *testing.B) {
	sink, _ := startFar(b)
	c := dialForward(b, sink)
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkForwardRoundTrip has one byte go there and back.
func BenchmarkForwardRoundTrip(b *testing.B) {
	_, echo := startFar(b)
	c := dialForward(b, echo)
	one := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, one); err != nil {
			b.Fatal(err)
		}
	}
}
