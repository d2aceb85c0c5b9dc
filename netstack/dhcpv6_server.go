package netstack

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// For how long a prefix is delegated before the client has to ask again. It is the
// session's for as long as that stands, so that nobody needs to note who has
// it: every answer follows from the Port's configuration alone.
const (
	leasePreferred = time.Hour
	leaseValid     = 2 * time.Hour
	leaseRenew     = leasePreferred / 2      // T1; RFC 8415 §21.21 recommends 0.5 and 0.8
	leaseRebind    = leasePreferred * 8 / 10 // T2

	dhcpInterval = 100 * time.Millisecond
	dhcpBurst    = 20
)

// newDUID is the DUID of a server, of the kind that is a UUID (RFC 6355): the same
// for the same key, so that clients know a server that was started again.
func newDUID(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("DHCPv6 server"))
	u := h.Sum(nil)[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // RFC 9562 §5.8: made our own way
	return append([]byte{0, 4}, u...)
}

// dhcp6 answers a DHCPv6 message of a client on the link.
func (p *Port) dhcp6(h header.IPv6, src netip.Addr) verdict {
	u := header.UDP(h.Payload())
	if len(u) < header.UDPMinimumSize {
		return verdict{drop: &p.counters.malformed}
	}
	if u.DestinationPort() != dhcpServerPort {
		return verdict{drop: &p.counters.linkLocal}
	}
	if !p.advertises() {
		return verdict{drop: &p.counters.noIPv6}
	}
	m, ok := parseDHCP(u[header.UDPMinimumSize:])
	if !ok || int(u.Length()) != len(u) || u.Checksum() != udpChecksum(h) {
		return verdict{drop: &p.counters.malformed}
	}
	if !p.v6.asked.allow(time.Now(), dhcpInterval, dhcpBurst) {
		return verdict{drop: &p.counters.excessive}
	}
	reply := p.v6.answer(&m, p.router.duid)
	if reply == nil {
		return verdict{done: true} // for another server, or none
	}
	out := newIPv6(p.v6.linkLocal, src, echoHopLimit, header.UDPProtocolNumber, header.UDPMinimumSize+len(reply))
	header.UDP(out.Payload()).Encode(&header.UDPFields{
		SrcPort: dhcpServerPort, DstPort: dhcpClientPort, Length: uint16(header.UDPMinimumSize + len(reply)),
	})
	copy(out.Payload()[header.UDPMinimumSize:], reply)
	header.UDP(out.Payload()).SetChecksum(udpChecksum(out))
	p.send(out)
	return verdict{done: true}
}

// isForUs reports whether a message has the identifiers that its type needs (RFC
// 8415 §16), and whether it is for this server.
func (m *dhcpMessage) isForUs(duid []byte) bool {
	switch m.kind {
	case dhcpSolicit, dhcpConfirm, dhcpRebind:
		return m.client != nil && m.server == nil
	case dhcpRequest, dhcpRenew, dhcpRelease, dhcpDecline:
		return m.client != nil && bytes.Equal(m.server, duid)
	case dhcpInformationRequest:
		return len(m.ias) == 0 && (m.server == nil || bytes.Equal(m.server, duid))
	}
	return false
}

// answer is the answer to m, or nil (RFC 8415 §18.3). With all that a message may
// have in it, it fits into a packet of 1280 bytes.
func (v *port6) answer(m *dhcpMessage, duid []byte) []byte {
	if !m.isForUs(duid) {
		return nil
	}
	kind := dhcpReply
	commits := m.kind == dhcpSolicit && m.rapidCommit
	if m.kind == dhcpSolicit && !commits {
		kind = dhcpAdvertise
	}
	w := dhcpWriter{byte(kind), m.transaction[0], m.transaction[1], m.transaction[2]}
	if m.client != nil {
		w.bytes(optionClientID, m.client...)
	}
	w.bytes(optionServerID, duid...)
	switch m.kind {
	case dhcpConfirm:
		if !v.confirm(&w, m) {
			return nil
		}
	case dhcpRelease, dhcpDecline:
		w.status(statusSuccess, "")
		for _, ia := range m.ias {
			if ia.kind != optionIAPD || !v.delegated.IsValid() {
				w.ia(ia, 0, 0, func(w *dhcpWriter) { w.status(statusNoBinding, "nothing has been given") })
			}
		}
		return w
	case dhcpSolicit:
		if commits {
			w.bytes(optionRapidCommit)
		} else {
			w.bytes(optionPreference, 255) // no other server is on the link: it need not wait (RFC 8415 §18.2.1)
		}
	}
	if m.kind != dhcpConfirm {
		v.assign(&w, m)
	}
	if len(v.dns) > 0 {
		w.option(optionDNSServers, func(w *dhcpWriter) {
			for _, server := range v.dns {
				*w = append(*w, server.AsSlice()...)
			}
		})
	}
	return w
}

// assign answers each identity association: the first that asks for a prefix has it.
// Addresses come from the prefix that is advertised.
func (v *port6) assign(w *dhcpWriter, m *dhcpMessage) {
	given := false
	for _, ia := range m.ias {
		if ia.kind == optionIAPD && v.delegated.IsValid() && !given {
			given = true
			w.ia(ia, leaseRenew, leaseRebind, func(w *dhcpWriter) {
				w.prefix(v.delegated, leasePreferred, leaseValid)
				v.withdraw(w, m, ia)
			})
			continue
		}
		none, text := statusNoPrefixAvail, "no prefix for this session"
		if ia.kind != optionIAPD {
			none, text = statusNoAddrsAvail, "addresses come from the prefix advertised"
		}
		if m.kind == dhcpRenew || m.kind == dhcpRebind {
			none = statusNoBinding
		}
		w.ia(ia, 0, 0, func(w *dhcpWriter) { w.status(none, text) })
	}
}

// withdraw tells a client that has another prefix, of an earlier session, that it
// has it no more: RFC 8415 §18.3.4, with lifetimes of 0.
func (v *port6) withdraw(w *dhcpWriter, m *dhcpMessage, ia dhcpIA) {
	if m.kind != dhcpRenew && m.kind != dhcpRebind {
		return // they are wishes
	}
	for _, p := range ia.prefixes {
		if p != v.delegated {
			w.prefix(p, 0, 0)
		}
	}
}

// confirm says whether all the client's addresses are of its prefix. Without any there
// is no answer (RFC 8415 §18.3.3).
func (v *port6) confirm(w *dhcpWriter, m *dhcpMessage) bool {
	some, all := false, true
	for _, ia := range m.ias {
		if ia.kind != optionIAPD {
			some = some || len(ia.prefixes) > 0
			all = all && !slices.ContainsFunc(ia.prefixes, func(a netip.Prefix) bool { return !v.prefix.Contains(a.Addr()) })
		}
	}
	if all {
		w.status(statusSuccess, "")
	} else {
		w.status(statusNotOnLink, "")
	}
	return some
}
