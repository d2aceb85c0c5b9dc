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
	t.mu.Lock()
	sum, sessions := t.buried, *t.sessions.Load()
	t.mu.Unlock()
	for _, s := range sessions {
		sum.add(s.flow.traffic())
	}
	return sum.sent, sum.received
}

// sentUnmeasured is how many bytes the sessions have sent that do not measure the path
// themselves. On the loop.
func (t *Tunnel) sentUnmeasured() (n uint64) {
	for _, s := range *t.sessions.Load() {
		if s.ppp == nil {
			n += s.flow.bytesOut.Load()
		}
	}
	return n
}

// bury takes out a session that has ended, and keeps what it has counted, in one step
// for those who add up. Who calls it may call setSession.
func (t *Tunnel) bury(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setSession(s.id, nil)
	t.buried.add(s.flow.traffic())
	t.past.add(s.flow.public())
}

// Probe is for an owner that suspects the peer to be gone: the host was suspended,
// or its address or route has changed. A Hello goes out at once, and an Echo-Request
// in each session, as by [Session.Probe]; when nothing comes for 10 s the tunnel ends
// with a [TimeoutError]. Whatever comes makes all as it was. Since the path may be another
// one, the MTU is found out again ([Session.MTU]). A tunnel of static sessions has no
// Hello.
func (t *Tunnel) Probe() {
	if !t.static() {
		t.runner.Do(t.machine.Probe)
	}
	for _, s := range *t.sessions.Load() {
		s.Probe()
	}
}

// Probe is [Tunnel.Probe] for the session alone: LCP Echo-Requests go out (RFC 1661
// §5.8), and when nothing comes for 5 s the session ends with a [TimeoutError].
// Nothing happens while PPP is being negotiated, which finds out by itself, or when the
// peer does not know them. Where no PPP ends, it is the MTU alone that is found out again.
func (s *Session) Probe() {
	switch {
	case s.ppp != nil:
		s.ppp.runner.Do(s.ppp.link.Probe)
	case !s.tunnel.static():
		s.tunnel.runner.Do(s.tunnel.machine.Remeasure)
	}
}
