//go:build linux

// Command l2tpstat prints the counters that the guest's kernel has for an L2TP session: what "ip l2tp" would show if it asked
// for them. It says, in one line,
//
//	guest: session 1: tx_packets 3, tx_bytes 210, …, rx_cookie_discards 0, rx_invalid 0
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"strconv"
	"syscall"
)

// What linux/genetlink.h and linux/l2tp.h number.
const (
	generic        = 16 // NETLINK_GENERIC, and GENL_ID_CTRL
	getFamily      = 3  // CTRL_CMD_GETFAMILY
	familyID       = 1  // CTRL_ATTR_FAMILY_ID
	familyName     = 2  // CTRL_ATTR_FAMILY_NAME
	getSession     = 8  // L2TP_CMD_SESSION_GET
	attrTunnel     = 9  // L2TP_ATTR_CONN_ID
	attrSession    = 11 // L2TP_ATTR_SESSION_ID
	attrStatistics = 30 // L2TP_ATTR_STATS
)

// counters are named by their attribute.
var counters = []string{
	1: "tx_packets", 2: "tx_bytes", 3: "tx_errors", 4: "rx_packets", 5: "rx_bytes", 6: "rx_seq_discards", 7: "rx_oos_packets",
	8: "rx_errors", 9: "", 10: "rx_cookie_discards", 11: "rx_invalid",
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: l2tpstat TUNNEL-ID SESSION-ID")
	}
	var ids [2]uint32
	for i := range ids {
		n, err := strconv.ParseUint(os.Args[1+i], 10, 32)
		if err != nil {
			log.Fatal(err)
		}
		ids[i] = uint32(n)
	}
	line, err := statistics(ids[0], ids[1])
	if err != nil {
		log.Fatalf("guest: no counters of session %d: %v", ids[1], err)
	}
	fmt.Printf("guest: session %d:%s\n", ids[1], line)
}

func statistics(tunnel, session uint32) (line string, err error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW, generic)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	family, err := ask(fd, generic, getFamily, attribute(familyName, []byte("l2tp\x00")))
	if err != nil {
		return "", err
	}
	id, ok := attributes(family)[familyID]
	if !ok || len(id) < 2 {
		return "", fmt.Errorf("expected the number of the family l2tp, found none")
	}
	u32 := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	all, err := ask(fd, binary.NativeEndian.Uint16(id), getSession, append(attribute(attrTunnel, u32(tunnel)), attribute(attrSession, u32(session))...))
	if err != nil {
		return "", err
	}
	found := attributes(attributes(all)[attrStatistics])
	for i, name := range counters {
		if name == "" {
			continue
		}
		value, ok := found[uint16(i)]
		if !ok || len(value) < 8 {
			return "", fmt.Errorf("expected the counter %s, found none", name)
		}
		if line != "" {
			line += ","
		}
		line += fmt.Sprintf(" %s %d", name, binary.NativeEndian.Uint64(value))
	}
	return line, nil
}

// ask sends a generic netlink request and returns the attributes of the reply.
func ask(fd int, family, command uint16, attributes []byte) ([]byte, error) {
	request := binary.NativeEndian.AppendUint32(nil, uint32(20+len(attributes)))
	request = binary.NativeEndian.AppendUint16(request, family)
	request = binary.NativeEndian.AppendUint16(request, syscall.NLM_F_REQUEST)
	request = append(request, make([]byte, 8)...)
	request = append(request, byte(command), 1, 0, 0)
	request = append(request, attributes...)
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	n, _, err := syscall.Recvfrom(fd, buf, 0)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if m.Header.Type == syscall.NLMSG_ERROR && len(m.Data) >= 4 {
			return nil, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
		}
		if len(m.Data) >= 4 {
			return m.Data[4:], nil
		}
	}
	return nil, fmt.Errorf("expected a reply, found %d messages", len(messages))
}

// attribute is one with its header and padding.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// attributes takes them apart.
func attributes(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		all[binary.NativeEndian.Uint16(b[2:])&0x3fff] = b[4:n] // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
		b = b[min((n+3)&^3, len(b)):]
	}
	return all
}
