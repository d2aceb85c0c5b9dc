package wire

// AppendFilling fills a control message up to a size in octets by Random Vector AVPs,
// which every message may have (RFC 2661 §4.4.1, RFC 3931 §5.4.1), of random bytes. One
// that is as long already, or shorter by less than the header of an AVP, stays as it is. Its
// length ([SetLength]) is the caller's to set.
func AppendFilling(packet []byte, size int, random func([]byte)) []byte {
	for size-len(packet) > avpHeaderLen {
		n := min(size-len(packet)-avpHeaderLen, maxValue)
		if rest := size - len(packet) - avpHeaderLen - n; rest > 0 && rest <= avpHeaderLen {
			n -= avpHeaderLen + 1 - rest // or there would be no room for the next one's header
		}
		value := make([]byte, n)
		random(value)
		packet = AVP{Type: AVPRandomVector, Mandatory: true, Value: value}.append(packet)
	}
	return packet
}
