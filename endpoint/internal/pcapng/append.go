package pcapng

import (
	"encoding/binary"
	"time"
)

// AppendSection appends a Section Header Block: a file begins with it. The
// application is the one that captures.
func AppendSection(b []byte, application string) []byte {
	b, at := begin(b, blockSection)
	b = binary.LittleEndian.AppendUint32(b, byteOrderMagic)
	b = binary.LittleEndian.AppendUint16(b, 1) // version 1.0
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint64(b, unknownLength)
	b = appendOption(b, shbUserApplication, []byte(application))
	return end(appendOption(b, optEnd, nil), at)
}

// AppendInterface appends an Interface Description Block. The section's
// interfaces have the numbers 0, 1, … in their order.
func AppendInterface(b []byte, link LinkType, name string) []byte {
	b, at := begin(b, blockInterface)
	b = binary.LittleEndian.AppendUint16(b, uint16(link))
	b = binary.LittleEndian.AppendUint16(b, 0) // reserved
	b = binary.LittleEndian.AppendUint32(b, 0) // packets of any length
	b = appendOption(b, ifName, []byte(name))
	b = appendOption(b, ifResolution, []byte{9}) // 10^-9 s
	return end(appendOption(b, optEnd, nil), at)
}

// AppendPacket appends an Enhanced Packet Block with a packet of two pieces,
// headers and what follows them.
func AppendPacket(b []byte, number int, at time.Time, d Direction, headers, payload []byte) []byte {
	b, start := begin(b, blockPacket)
	n := len(headers) + len(payload)
	b = binary.LittleEndian.AppendUint32(b, uint32(number))
	b = appendTime(b, at)
	b = binary.LittleEndian.AppendUint32(b, uint32(n)) // captured
	b = binary.LittleEndian.AppendUint32(b, uint32(n)) // of the packet
	b = append(b, headers...)
	b = append(b, payload...)
	b = pad(b, n)
	b = appendOption(b, epbFlags, []byte{byte(d), 0, 0, 0})
	return end(appendOption(b, optEnd, nil), start)
}

// AppendStatistics appends an Interface Statistics Block: how many packets of
// an interface there were, and how many of them are not in the file.
func AppendStatistics(b []byte, number int, at time.Time, received, dropped uint64) []byte {
	b, start := begin(b, blockStatistics)
	b = binary.LittleEndian.AppendUint32(b, uint32(number))
	b = appendTime(b, at)
	b = appendOption(b, isbEndTime, appendTime(nil, at))
	b = appendOption(b, isbReceived, binary.LittleEndian.AppendUint64(nil, received))
	b = appendOption(b, isbDropped, binary.LittleEndian.AppendUint64(nil, dropped))
	return end(appendOption(b, optEnd, nil), start)
}

// begin begins a block, whose length [end] writes.
func begin(b []byte, kind uint32) (block []byte, at int) {
	at = len(b)
	b = binary.LittleEndian.AppendUint32(b, kind)
	return binary.LittleEndian.AppendUint32(b, 0), at
}

func end(b []byte, at int) []byte {
	n := uint32(len(b) - at + 4)
	binary.LittleEndian.PutUint32(b[at+4:], n)
	return binary.LittleEndian.AppendUint32(b, n)
}

func appendOption(b []byte, code uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...), len(value))
}

// appendTime appends a time stamp, the high 32 bits first in either byte order.
func appendTime(b []byte, at time.Time) []byte {
	n := uint64(at.UnixNano())
	b = binary.LittleEndian.AppendUint32(b, uint32(n>>32))
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

// pad fills the last four octets of something that is n octets long.
func pad(b []byte, n int) []byte { return append(b, make([]byte, -n&3)...) }
