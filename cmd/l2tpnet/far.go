package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// The other end of a pseudowire is set up by hand, too, and its options are ours the
// other way round: what we send it expects. These are they for Linux and QEMU, for
// who wants to copy them.

// linux are the commands that make the other end on Linux, where local and remote are
// our socket and its, as both ends know them. There is none for PPP and IP, which ip
// l2tp has not.
func (f *wireFlags) linux(local, remote netip.AddrPort) (commands []string) {
	if !f.PW.ethernet() {
		return nil
	}
	tunnel := fmt.Sprintf("ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 encap udp local %v remote %v udp_sport %d udp_dport %d",
		remote.Addr(), local.Addr(), remote.Port(), local.Port())
	session := fmt.Sprintf("ip l2tp add session tunnel_id 1 session_id %d peer_session_id %d", f.PeerSessionID, f.SessionID)
	if len(f.PeerCookie) > 0 {
		session += " cookie " + f.PeerCookie.String()
	}
	if len(f.Cookie) > 0 {
		session += " peer_cookie " + f.Cookie.String()
	}
	spec := "none"
	if f.sublayer() {
		spec = "default"
	}
	session += " l2spec_type " + spec
	if theirs := map[sequencing]string{"send": "recv", "recv": "send", "both": "both"}[f.Seq]; theirs != "" {
		session += " seq " + theirs
	}
	commands = []string{tunnel, session, "ip link set l2tpeth0 up"}
	if f.PW.vlan != 0 {
		commands = append(commands, fmt.Sprintf("ip link add link l2tpeth0 name l2tpeth0.%[1]d type vlan id %[1]d", f.PW.vlan),
			fmt.Sprintf("ip link set l2tpeth0.%d up", f.PW.vlan))
	}
	return commands
}

// qemu is the -netdev option that makes the other end in QEMU, or "" where it cannot:
// it has cookies of one length, both or none, and looks at no numbers.
func (f *wireFlags) qemu(local, remote netip.AddrPort) string {
	if !f.PW.ethernet() || len(f.Cookie) != len(f.PeerCookie) || f.numbers() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-netdev l2tpv3,id=n0,udp=on,src=%v,srcport=%d,dst=%v,dstport=%d", remote.Addr(), remote.Port(), local.Addr(), local.Port())
	if local.Addr().Is6() {
		b.WriteString(",ipv6=on")
	}
	fmt.Fprintf(&b, ",rxsession=%d,txsession=%d", f.PeerSessionID, f.SessionID)
	if len(f.Cookie) > 0 {
		fmt.Fprintf(&b, ",rxcookie=0x%v,txcookie=0x%v", f.Cookie, f.PeerCookie)
	}
	if len(f.Cookie) == 8 {
		b.WriteString(",cookie64=on")
	}
	if f.sublayer() {
		b.WriteString(",counter=on,pincounter=on")
	}
	return b.String()
}

// as our socket's address is for the other end: a socket that has none of its own has
// the one that the routes name.
func seenFrom(remote, local netip.AddrPort) netip.AddrPort {
	if !local.Addr().IsUnspecified() {
		return local
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(remote)) // sends nothing
	if err != nil {
		return local
	}
	defer conn.Close()
	routed := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return netip.AddrPortFrom(routed, local.Port())
}

// otherEnd is how the other end is made, where at is our UDP address.
func (f *wireFlags) otherEnd(at string) (lines []string) {
	remote, err := netip.ParseAddrPort(f.Remote)
	if err != nil {
		return nil // a name, which may have more than one
	}
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if ap, err := netip.ParseAddrPort(at); err == nil {
		local = ap
	} else if _, port, err := net.SplitHostPort(at); err == nil {
		n, _ := strconv.ParseUint(port, 10, 16)
		local = netip.AddrPortFrom(local.Addr(), uint16(n))
	}
	local = seenFrom(remote, local)
	if commands := f.linux(local, remote); len(commands) > 0 {
		lines = append(append(lines, "the other end on Linux:"), indented(commands)...)
	}
	if option := f.qemu(local, remote); option != "" {
		lines = append(append(lines, "the other end in QEMU:"), indented([]string{option})...)
	}
	return lines
}

func indented(lines []string) (in []string) {
	for _, line := range lines {
		in = append(in, "    "+line)
	}
	return in
}
