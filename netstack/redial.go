package netstack

import "net"

// Fail ends at once what goes through the NIC, because what carried it is gone: its
// conns, and listeners at its addresses, fail with err (nil: net.ErrClosed).
// Listeners at any address stay, and have connections again when another NIC has been
// added. Fail calls nothing below it and may be called anywhere; Close must follow.
func (n *NIC) Fail(err error) {
	if err == nil {
		err = net.ErrClosed
	}
	n.end(err)
}
