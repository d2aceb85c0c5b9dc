package endpoint

import "time"

// strangerTime is for how long a tunnel may stand without a caller who has proved who it
// is before it has to make room for another.
const strangerTime = 10 * time.Second

// hasRoom tells whether another tunnel may stand: one more than there are, or in the
// place of the oldest stranger's, which goes if take is set. Without a tunnel secret
// anybody can open as many tunnels as there may be, and answer their Hellos for ever.
func (e *Endpoint) hasRoom(take bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.all) < e.half.limits.Tunnels {
		return true
	}
	standing, last := 0, time.Now().Add(-strangerTime)
	var oldest *Tunnel
	for t := range e.all {
		if t.leaving {
			continue
		}
		standing++
		if up := t.upAt.Load(); up != nil && !up.After(last) && t.isStrange() {
			oldest, last = t, *up
		}
	}
	if standing < e.half.limits.Tunnels {
		return true
	}
	if oldest != nil && take {
		oldest.leaving = true
		e.counters.strangers.Add(1)
		oldest.runner.Do(oldest.machine.Evict)
	}
	return oldest != nil
}

// isStrange tells whether nothing is known of who has opened a tunnel.
func (t *Tunnel) isStrange() bool {
	if t.dialed() || len(t.ep.answering.Secret) > 0 {
		return false
	}
	for _, s := range *t.sessions.Load() {
		if !s.answer || !s.unauthenticated() {
			return false
		}
	}
	return true
}
