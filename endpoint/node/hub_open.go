package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/bridge"
)

// open opens all that a hub has. What it has opened when it fails is for end to close.
func (h *Hub) open(ctx context.Context) (err error) {
	if h.log = h.Logger; h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if err = h.check(); err == nil {
		h.sockets, err = h.hubSockets()
	}
	if err != nil {
		if h.Conn != nil {
			h.Conn.Close()
		}
		return err
	}
	if h.bridge, err = bridge.New(&bridge.Config{Ageing: h.Ageing, ProbeInterval: h.ProbeInterval, Events: h.told, Logger: h.log, Rand: h.Rand}); err != nil {
		return err
	}
	for _, socket := range h.sockets {
		if err := socket.open(); err != nil {
			return socket.explain(err)
		}
		if err := h.record(socket.endpoint()); err != nil {
			return &CaptureError{err}
		}
	}
	mtu := defaultLANMTU
	for _, p := range h.ports {
		if err := p.attach(); err != nil {
			return err
		}
		if p.pseudowire != nil {
			mtu = min(mtu, cmp.Or(p.pseudowire.MTU, defaultMRU)) // what most paths let through
			continue
		}
		p.shown = isUp
		n, err := p.openStatic(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		mtu = min(mtu, n)
	}
	h.run()
	if h.LAN == nil {
		return nil
	}
	if h.lan, err = openLAN(h.LAN, nil, h.bridge, mtu, h.log, h.Rand); err != nil {
		return err
	}
	window := 0
	for _, socket := range h.sockets {
		if n := socket.endpoint().Status().ReceiveBuffer; window == 0 || n < window {
			window = n
		}
	}
	h.lan.stack.SetReceiveWindow(window)
	return h.lan.wait(ctx, h.lan.nic, h.log)
}

// check finds what does not fit together.
func (h *Hub) check() error {
	if len(h.Ports) == 0 {
		return errors.New("expected one pseudowire or more to join, found none")
	}
	names := map[string]bool{lanPort: h.LAN != nil}
	asked := map[[2]string]bool{} // by socket and Remote End ID
	for i := range h.Ports {
		p, name := &h.Ports[i], h.name(i)
		if names[name] {
			return fmt.Errorf("expected ports with different names, found %q twice", name)
		}
		names[name] = true
		if err := p.check(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !p.Answer {
			continue
		}
		id := [2]string{h.local(p.Local), cmp.Or(p.Pseudowire.RemoteEndID, name)}
		if asked[id] {
			return fmt.Errorf("%s: expected another Remote End ID than %q, which another port is asked for by, found the same", name, id[1])
		}
		asked[id] = true
	}
	if err := h.v3().Validate(h.Secret); err != nil {
		return err
	}
	if h.LAN != nil {
		return h.LAN.check()
	}
	return nil
}

func (h *Hub) name(i int) string { return cmp.Or(h.Ports[i].Name, "port"+strconv.Itoa(i+1)) }

// check finds what does not fit together in a port.
func (p *HubPort) check() error {
	switch t := p.kind(); t {
	case endpoint.PseudowireEthernet, endpoint.PseudowireVLAN:
	default:
		return fmt.Errorf("expected a pseudowire of Ethernet or of a VLAN, found %v", t)
	}
	switch {
	case p.Pseudowire != nil && (p.Static.SessionID != 0 || p.Static.PeerSessionID != 0):
		return errors.New("expected a Static session or a Pseudowire that is negotiated, found both")
	case p.Answer && p.Pseudowire == nil:
		return errors.New("expected a Pseudowire with Answer, since nobody asks for a static session, found none")
	case p.Remote == "" && !p.Answer:
		return errors.New("expected the address of its other end, found none")
	case p.Pseudowire != nil:
		return p.Pseudowire.Validate()
	}
	return p.Static.Validate()
}

// run begins all that goes on beside what the sockets' readers do.
func (h *Hub) run() {
	woke, kept := make(chan struct{}, 1), false
	for _, s := range h.sockets {
		h.running.Go(s.run)
	}
	for _, p := range h.ports {
		if p.keeper != nil {
			kept = true
			h.running.Go(func() { p.keeper.run(h.life) })
		}
	}
	if !kept {
		return
	}
	h.running.Go(func() { watchClock(h.life, systemClock(), woke) })
	h.running.Go(func() {
		for {
			select {
			case <-woke:
			case <-h.life.Done():
				return
			}
			for _, p := range h.ports {
				select {
				case p.woke <- struct{}{}: // nil where there is no keeper
				default:
				}
			}
		}
	})
}

// explain names a port of a socket that cannot be opened.
func (s *hubSocket) explain(err error) error {
	if len(s.ports) == 0 {
		return err
	}
	return fmt.Errorf("%s: %w", s.ports[0].name, err)
}
