// Wireguard is a forward through wireguard-go's netstack, as a yardstick: two processes, with WireGuard between them.
//
//	wireguard far TARGET             listens inside and joins what comes to TARGET
//	wireguard near LISTEN FAR        joins what comes to LISTEN to the far end's listener
//
// Each is given its private key and the other's public one, 64 hexadecimal digits each, in the environment, and prints the
// port that it listens on, on UDP or on TCP. What is carried is encrypted, by ChaCha20-Poly1305: there is no other way.
//
// It is a module of its own since it needs another gVisor than we do.
package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

const (
	mtu  = 1420 // wireguard-go's default
	port = 80   // of the far end's listener
)

var (
	nearAddress = netip.MustParseAddr("10.9.0.1")
	farAddress  = netip.MustParseAddr("10.9.0.2")
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wireguard:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "far":
		inside, dev, err := open(farAddress, "")
		if err != nil {
			return err
		}
		ln, err := inside.ListenTCP(&net.TCPAddr{Port: port})
		if err != nil {
			return err
		}
		config, err := dev.IpcGet()
		if err != nil {
			return err
		}
		for line := range strings.Lines(config) {
			if p, ok := strings.CutPrefix(line, "listen_port="); ok {
				fmt.Print(p)
			}
		}
		return forward(ln, func() (net.Conn, error) { return net.Dial("tcp", args[1]) })
	case len(args) == 3 && args[0] == "near":
		inside, _, err := open(nearAddress, "endpoint="+args[2]+"\n")
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", args[1])
		if err != nil {
			return err
		}
		fmt.Println(ln.Addr().(*net.TCPAddr).Port)
		return forward(ln, func() (net.Conn, error) {
			return inside.DialTCPAddrPort(netip.AddrPortFrom(farAddress, port))
		})
	}
	return fmt.Errorf("expected far TARGET, or near LISTEN FAR, found %q", args)
}

// open makes an interface and its stack.
func open(address netip.Addr, endpoint string) (*netstack.Net, *device.Device, error) {
	tun, inside, err := netstack.CreateNetTUN([]netip.Addr{address}, nil, mtu)
	if err != nil {
		return nil, nil, err
	}
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, ""))
	config := fmt.Sprintf("private_key=%s\nlisten_port=0\npublic_key=%s\n%sallowed_ip=10.9.0.0/24\n",
		os.Getenv("WIREGUARD_PRIVATE"), os.Getenv("WIREGUARD_PEER"), endpoint)
	if err := dev.IpcSet(config); err != nil {
		return nil, nil, err
	}
	return inside, dev, dev.Up()
}

func forward(ln net.Listener, dial func() (net.Conn, error)) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go join(c, dial)
	}
}

// join copies both ways, as much at a time as l2tpnet does.
func join(a net.Conn, dial func() (net.Conn, error)) {
	defer a.Close()
	b, err := dial()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wireguard:", err)
		return
	}
	defer b.Close()
	done := make(chan struct{})
	go func() {
		pour(a, b)
		close(done)
	}()
	pour(b, a)
	<-done
}

func pour(to, from net.Conn) {
	io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10))
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}
