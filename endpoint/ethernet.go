package endpoint

import (
	"encoding/binary"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// An Ethernet frame without its FCS (RFC 4719 §3.1), and the tag of IEEE 802.1Q, which
// stands behind the two addresses.
const (
	ethernetHeaderLen = 14 // octets
	ethernetAddresses = 12
	vlanTagLen        = 4

	tagProtocol        = 0x8100 // TPID
	tagProtocolService = 0x88a8 // of IEEE 802.1ad
)

// untag takes the tag off a frame of a VLAN pseudowire, in place: whichever VLAN the
// peer calls it, here it is ours (RFC 4719 §2.2: "the tag … may be rewritten"). It
// reports false for a frame that has none.
func untag(frame []byte) (rest []byte, ok bool) {
	if len(frame) < ethernetHeaderLen+vlanTagLen {
		return nil, false
	}
	if tpid := binary.BigEndian.Uint16(frame[ethernetAddresses:]); tpid != tagProtocol && tpid != tagProtocolService {
		return nil, false
	}
	copy(frame[vlanTagLen:], frame[:ethernetAddresses])
	return frame[vlanTagLen:], true
}

// addTag adds a frame to b that is f with a tag. The pieces of f that can be are
// borrowed.
func addTag(b *link.Batch, f *link.Frame, vlan uint16) *link.Frame {
	head, body, tail := f.Head(), f.Body, f.Tail
	var start []byte // what has to be written anew: the addresses, and the rest of the head
	switch {
	case len(head) >= ethernetAddresses:
		start = head
	case len(head) == 0 && len(body) >= ethernetAddresses:
		start, body = body[:ethernetAddresses], body[ethernetAddresses:]
	default: // in pieces
		start, body, tail = f.AppendTo(nil), nil, nil
	}
	t := b.Add(len(start)+vlanTagLen, body, tail)
	to := t.Head()
	copy(to, start[:ethernetAddresses])
	binary.BigEndian.PutUint16(to[ethernetAddresses:], tagProtocol)
	binary.BigEndian.PutUint16(to[ethernetAddresses+2:], vlan)
	copy(to[ethernetHeaderLen+2:], start[ethernetAddresses:])
	return t
}

// sendTagged sends frames of a VLAN pseudowire, with the tag that is ours.
func (s *Session) sendTagged(frames []link.Frame) {
	b := link.NewBatch()
	defer b.Free()
	for i := range frames {
		addTag(b, &frames[i], s.tag)
	}
	s.encapsulate(b.Frames, vlanTagLen)
}
