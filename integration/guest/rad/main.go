// Command rad is the guest's router: it answers IPv6 router solicitations with an advertisement (RFC 4861 §4.2, RFC 8106
// §5.1) of the prefix, the DNS server and the MTU that it is given, having routed the prefix to whoever asked last. It
// advertises nothing unasked.
package main

import (
	"encoding/binary"
	"log"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/net/ipv6"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: rad PREFIX DNS-ADDR MTU")
	}
	mtu, err := strconv.ParseUint(os.Args[3], 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	prefix := netip.MustParsePrefix(os.Args[1])
	reply := advertisement(prefix, netip.MustParseAddr(os.Args[2]), uint32(mtu))
	raw, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		log.Fatal(err)
	}
	conn := ipv6.NewPacketConn(raw)
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	for _, err := range []error{
		conn.SetICMPFilter(&filter),
		conn.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	buf := make([]byte, 1500)
	for {
		_, meta, from, err := conn.ReadFrom(buf)
		if err != nil {
			log.Fatal(err)
		}
		if meta.HopLimit != 255 { // RFC 4861 §6.1.1
			log.Printf("%v solicits with hop limit %d, expected 255", from, meta.HopLimit)
			continue
		}
		device, err := net.InterfaceByIndex(meta.IfIndex)
		if err == nil {
			err = exec.Command("/usr/sbin/ip", "-6", "route", "replace", prefix.String(), "dev", device.Name).Run()
		}
		if err == nil {
			// The kernel fills in the checksum, and the source, which is link-local as the destination is.
			to := &net.IPAddr{IP: net.IPv6linklocalallnodes}
			_, err = conn.WriteTo(reply, &ipv6.ControlMessage{IfIndex: meta.IfIndex, HopLimit: 255}, to)
		}
		if err != nil {
			log.Printf("%v is not answered: %v", from, err)
			continue
		}
		log.Printf("advertised on %s to %v", device.Name, from)
	}
}

const lifetime = 1800 // seconds, of everything

func advertisement(prefix netip.Prefix, dns netip.Addr, mtu uint32) []byte {
	b := []byte{
		134, 0, 0, 0, // Router Advertisement
		64, 0, lifetime >> 8, lifetime & 0xff, // Cur Hop Limit, flags, Router Lifetime
		0, 0, 0, 0, 0, 0, 0, 0, // Reachable Time, Retrans Timer: unspecified
		3, 4, byte(prefix.Bits()), 0x40, // Prefix Information: not on the link, for autonomous configuration
	}
	b = binary.BigEndian.AppendUint32(b, lifetime) // valid
	b = binary.BigEndian.AppendUint32(b, lifetime) // preferred
	b = append(b, 0, 0, 0, 0)
	b = append(b, prefix.Addr().AsSlice()...)
	b = append(b, 5, 1, 0, 0) // MTU
	b = binary.BigEndian.AppendUint32(b, mtu)
	b = append(b, 25, 3, 0, 0) // Recursive DNS Server
	b = binary.BigEndian.AppendUint32(b, lifetime)
	return append(b, dns.AsSlice()...)
}
