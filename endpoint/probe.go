package endpoint

// traffic counts data messages, PPP's own frames among them: signs of life.
type traffic struct{ sent, received uint64 }

func (f *flow) traffic() traffic {
	return traffic{sent: f.packetsOut.Load() + f.ownOut.Load(), received: f.received()}
}

func (f *flow) received() uint64 { return f.packetsIn.Load() + f.droppedIn.Load() + f.ownIn.Load() }

func (t *traffic) add(o traffic) {
	t.sent += o.sent
	t.received += o.received
}

// traffic is what all sessions that the tunnel has had have sent and received. On
// the loop.
func (t *Tunnel) traffic() (sent, received uint64) {
	sum := t.past
	for _, s := range *t.sessions.Load() {
		sum.add(s.flow.traffic())
	}
	return sum.sent, sum.received
}

// Probe is for an owner that suspects the peer to be gone: the host was suspended,
// or its address or route has changed. A Hello goes out at once, and an Echo-Request
// in each session, as by [Session.Probe]; when nothing comes for 10 s the tunnel ends
// with a [TimeoutError]. Whatever comes makes all as it was.
func (t *Tunnel) Probe() {
	t.runner.Do(t.machine.Probe)
	for _, s := range *t.sessions.Load() {
		s.Probe()
	}
}

// Probe is [Tunnel.Probe] for the session alone: LCP Echo-Requests go out (RFC 1661
// §5.8), and when nothing comes for 5 s the session ends with a [TimeoutError].
// Nothing happens while PPP is being negotiated, which finds out by itself, or when
// the peer does not know them.
func (s *Session) Probe() { s.runner.Do(s.link.Probe) }
