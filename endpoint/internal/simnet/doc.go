// Package simnet is a network for tests, in memory and in virtual time: UDP
// sockets ([Conn], a [net.PacketConn]) joined by links that lose, double, delay
// and reorder datagrams as a seed says.
//
//	n := simnet.New(seed)
//	n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond, Loss: .2})
//	lns, err := n.Listen("10.0.0.1:1701")
//	lac, err := n.Listen("10.0.0.2:0")
//
//	 Conn.WriteTo ──► fate of the datagram ──► in flight ──► queue ──► Conn.ReadFrom
//	                  a random stream per      one heap,     bounded:
//	                  direction                one timer     drops when full
//
// It blocks on channels and timers only and starts no goroutine that stays, so
// that under testing/synctest time passes as soon as all of a test waits. Make
// the network inside the bubble.
//
// # The same seed, the same run
//
// The n-th datagram from one address to another meets the fate that the seed
// says, whatever goes on in other directions: how goroutines are scheduled does
// not enter. A link's settings do not move the stream either. Datagrams that
// arrive at the same instant arrive in the order of their addresses, then in
// the order in which they were sent. What stays open is the order between
// several senders to one socket over links without any Delay.
package simnet
