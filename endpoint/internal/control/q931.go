package control

import (
	"fmt"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// q931Causes are what the cause codes of ITU-T Q.850 mean that end calls.
var q931Causes = map[uint16]string{
	1:   "unallocated number",
	2:   "no route to the transit network",
	3:   "no route to the destination",
	6:   "channel unacceptable",
	16:  "normal call clearing",
	17:  "user busy",
	18:  "no user responding",
	19:  "no answer from the user",
	20:  "subscriber absent",
	21:  "call rejected",
	22:  "number changed",
	26:  "non-selected user clearing",
	27:  "destination out of order",
	28:  "invalid number format",
	29:  "facility rejected",
	31:  "normal, unspecified",
	34:  "no circuit or channel available",
	38:  "network out of order",
	41:  "temporary failure",
	42:  "switching equipment congestion",
	44:  "requested channel not available",
	47:  "resource unavailable, unspecified",
	50:  "requested facility not subscribed",
	57:  "bearer capability not authorized",
	58:  "bearer capability not available now",
	63:  "service or option not available, unspecified",
	65:  "bearer capability not implemented",
	79:  "service or option not implemented, unspecified",
	88:  "incompatible destination",
	95:  "invalid message, unspecified",
	102: "recovery on timer expiry",
	111: "protocol error, unspecified",
	127: "interworking, unspecified",
}

// q931Words is a cause for people: Q.931 cause 17: user busy; "come back later".
// The sender's message is quoted.
func q931Words(q wire.Q931Cause) string {
	s := fmt.Sprintf("Q.931 cause %d", q.Code)
	if meaning := q931Causes[q.Code]; meaning != "" {
		s += ": " + meaning
	}
	if q.Advisory != "" {
		s += "; " + wire.Quote(q.Advisory)
	}
	return s
}
