// Package proxy joins any listener to any dialer: a SOCKS5 server ([SOCKS]), a
// port forward ([Forward]) and a forwarder of DNS messages ([DNS]). The dialer is a tunnel's network stack; the
// proxy never dials by itself, and it resolves no name: names go to the dialer
// as the client gave them, to be resolved where the tunnel ends.
//
//	curl, psql, a browser
//	       │
//	 net.Listener ──► Serve: accept, count by source
//	       │
//	       ├─ SOCKS: greeting, request ─┐
//	       └─ Forward: a fixed target ──┴─► Dialer.DialContext ──► reply
//	                                              │
//	 client's net.Conn ◄──── the copy loop ────► the tunnel's net.Conn
//
// # How a flow ends
//
// Each direction is a stream of its own. When one ends in order (a FIN), the
// other connection is half closed by its CloseWrite method, and the opposite
// direction goes on for as long as it likes. When anything else happens, a
// reset, a failed write or the end of Serve's context, both connections are
// reset (SetLinger(0), where the connection has it, then Close): a stream that
// was cut short never looks like one that is complete.
//
// # Goroutines and memory
//
// One goroutine per listener accepts. A flow has one for its handshake, a second
// one that listens to the client while its target is dialled, and then one per
// direction. Serve returns when all of them have ended. Between a socket of
// the system's and a connection of package netstack's bytes are moved without a buffer,
// on Linux, and a direction that waits for some holds none. Between others it holds one
// of 2 KiB. It borrows one of 32 KiB from a pool when bytes come faster than that, and one
// of 256 KiB, of which no more than 64 are out at once, when it proves busy; it
// gives them back within a second or two of its traffic ceasing. A write that
// waits, because the receiver is slow, keeps its buffer.
//
// # Hostile clients
//
// The handshake reads exactly the bytes that RFC 1928 says, at most 519, within
// a time limit, so that bytes which a client sends ahead stay in the socket for
// the copy loop. A client that closes its connection while its target is being
// dialled, having sent nothing ahead, ends the dialling. [Limits] bound the
// flows, all of them and those of one source.
package proxy
