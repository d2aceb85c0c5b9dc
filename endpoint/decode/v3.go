package decode

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// hex32 is an identifier of L2TPv3.
func hex32(id uint32) string { return fmt.Sprintf("0x%08x", id) }

// datagramV3 takes a datagram whose Ver is 3.
func (d *decoder) datagramV3(u datagram, certain bool) {
	if control := u.payload[0]&0x80 != 0; control {
		if !certain && !d.known(u.src) && !d.known(u.dst) {
			d.count.others++
			return
		}
		h, body, err := parseHeader(u, wire.ParseV3Control)
		if err != nil {
			d.brokenV3(u, certain, strings.TrimPrefix(err.Error(), "wire: "))
			return
		}
		d.controlV3(message{u, h, body})
		return
	}
	_, id, rest, err := wire.ParseV3(u.payload)
	switch {
	case err != nil && u.missing == 0:
		d.brokenV3(u, certain, strings.TrimPrefix(err.Error(), "wire: "))
	case err != nil:
		d.brokenV3(u, certain, "")
	default:
		d.dataV3(u, id, rest, certain)
	}
}

// overIP takes an IP packet of protocol 115: the Session ID comes first, which is 0
// for control messages (RFC 3931 §4.1.1).
func (d *decoder) overIP(u datagram) {
	if len(u.payload) < 4 {
		d.brokenV3(u, true, "the packet ends within its Session ID")
		return
	}
	id := binary.BigEndian.Uint32(u.payload)
	u.payload = u.payload[4:]
	if id != 0 {
		d.dataV3(u, id, u.payload, true)
		return
	}
	h, body, err := parseHeader(u, wire.ParseV3Control)
	if err != nil {
		d.brokenV3(u, true, strings.TrimPrefix(err.Error(), "wire: "))
		return
	}
	d.controlV3(message{u, h, body})
}

// brokenV3 takes what has no header that makes sense; no reason: it was cut off.
func (d *decoder) brokenV3(u datagram, certain bool, reason string) {
	if !certain {
		d.count.others++
		return
	}
	d.count.headers++
	d.message(message{datagram: u, header: wire.Header{Version: 3}}, line{what: "L2TPv3", wrong: reason})
}
