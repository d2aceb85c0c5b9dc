package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// silencePause is how long who gets no answer waits before he asks again.
const silencePause = time.Second

// A staticWay is the way of a [Pseudowire]: a session that is there because both ends
// say so, and an interface as its type wants it.
type staticWay struct {
	interior
	cfg    endpoint.StaticConfig
	answer *endpoint.AnswerConfig // of a PPP server; nil: there is none
	log    *slog.Logger
}

// newStaticWay finds what does not fit together.
func newStaticWay(p *Pseudowire) (*staticWay, error) {
	w := &staticWay{cfg: p.Static, log: p.Logger}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.cfg.Type = cmp.Or(w.cfg.Type, endpoint.PseudowireEthernet)
	if err := w.cfg.Validate(); err != nil {
		return nil, err
	}
	if p.Users != nil && w.cfg.Type != endpoint.PseudowirePPP {
		return nil, fmt.Errorf("expected a PPP pseudowire with Users, found %v", w.cfg.Type)
	}
	w.interior = interior{
		kind: w.cfg.Type, addresses: p.Addresses, gateway: p.Gateway, gateway6: p.Gateway6,
		dns: p.DNS, dhcp: p.DHCP, noIPv6: p.NoIPv6, mac: p.MAC,
	}
	if err := w.complete(); err != nil {
		return nil, err
	}
	if w.kind == endpoint.PseudowirePPP {
		return w, w.speakPPP(p.Users)
	}
	return w, nil
}

// open has nothing to wait for, but for PPP: that waits for a peer who is silent, since
// the ends of a static pseudowire may come in any order.
func (w *staticWay) open(ctx context.Context, ep *endpoint.Endpoint, to netip.AddrPort, patience time.Duration) (*endpoint.Session, error) {
	return within(ctx, patience, func(ctx context.Context) (*endpoint.Session, error) {
		for {
			cfg := w.cfg
			session, err := ep.Static(ctx, to.String(), &cfg)
			if !w.again(err) || ctx.Err() != nil {
				return session, err
			}
			w.log.Info("no PPP yet", "peer", to, "error", err)
			select {
			case <-time.After(silencePause):
			case <-ctx.Done():
				return nil, err
			}
		}
	})
}

// again tells whether what has failed is the other end's business, so that we go on: that
// it is silent, and for a server whatever a caller has done.
func (w *staticWay) again(err error) bool {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	_, silent := errors.AsType[*endpoint.TimeoutError](err)
	return silent || w.answer != nil
}
