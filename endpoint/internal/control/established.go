package control

// Established tells whether the tunnel stands: what its peer has sent since
// [Answer] was all it takes. An owner of many that ask may keep no machine for
// them, make one anew from what came, and keep it when this is true.
func (t *Tunnel) Established() bool { return t.state == established }
