package udp

import "github.com/l2tpnet/l2tpnet/endpoint/link"

const (
	// payloadMax is the most bytes of all datagrams of a message (that of one
	// IPv4 packet, which the message is until it is cut).
	payloadMax = 65507

	// segmentsMax is UDP_MAX_SEGMENTS, the most datagrams of a message.
	segmentsMax = link.BatchMax
)

// runLength is how many of the first frames go in one message that the system cuts
// into datagrams of the first one's length: all have it, but that the last may be
// shorter. Those longer than longest go alone, as empty ones do, and as one does
// that is too long for any message, to be refused.
func runLength(frames []link.Frame, longest int) int {
	size := frames[0].Len()
	if size == 0 || size > longest {
		return 1
	}
	n, total := 1, size
	for n < len(frames) && n < segmentsMax {
		next := frames[n].Len()
		if next == 0 || next > size || total+next > payloadMax {
			break
		}
		n, total = n+1, total+next
		if next < size {
			break
		}
	}
	return n
}
