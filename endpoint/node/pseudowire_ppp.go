package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// speakPPP makes PPP's client, or its server if there are users.
func (w *staticWay) speakPPP(users map[string]User) error {
	if w.cfg.RawPPP || w.cfg.PPPServer && users == nil {
		return errors.New("expected PPP that ends here, as the client of Static.PPP or with Users, found neither")
	}
	ppp := endpoint.PPPConfig{}
	if w.cfg.PPP != nil {
		ppp = *w.cfg.PPP
	}
	ppp.NoIPv6 = ppp.NoIPv6 || w.noIPv6
	if users == nil {
		if asked := w.asked(); asked.IsValid() {
			ppp.Address = asked
		}
		w.cfg.PPP = &ppp
		return nil
	}
	if len(w.addresses) == 0 {
		return errors.New("expected an address with the length of a network out of which the caller gets its own, found none")
	}
	if err := checkUsers(users); err != nil {
		return err
	}
	peer, err := otherAddress(w.addresses[0])
	if err != nil {
		return err
	}
	w.cfg.PPP, w.cfg.PPPServer = nil, true
	w.answer = &endpoint.AnswerConfig{
		StaticOnly: true,
		Methods:    ppp.Methods, MPPE: ppp.MPPE, MRU: ppp.MRU, NoIPv6: ppp.NoIPv6, Pool: onlyCaller{endpoint.Lease{Local: w.addresses[0].Addr(), Peer: peer, DNS: w.dns}},
		Authenticate: func(_ context.Context, r endpoint.AuthRequest) (endpoint.Credential, error) {
			u, err := find(users, r.User)
			if err != nil {
				return endpoint.Credential{}, err
			}
			return endpoint.Credential{Password: u.Password, NTHash: u.NTHash, Account: u.Address}, nil
		},
	}
	return nil
}

// otherAddress is the first one of a network that is not our own.
func otherAddress(own netip.Prefix) (netip.Addr, error) {
	a := own.Masked().Addr()
	if own.Bits() < 31 {
		a = a.Next() // the first one is the network's
	}
	if a == own.Addr() {
		a = a.Next()
	}
	if !own.Contains(a) {
		return a, fmt.Errorf("expected an address with the length of a network that has another one, such as %v/24, found %v", own.Addr(), own)
	}
	return a, nil
}

// An onlyCaller is the pool of a pseudowire, at whose other end there is one: it gets the
// same address each time, unless the user has a fixed one.
type onlyCaller struct{ lease endpoint.Lease }

func (c onlyCaller) Assign(_ context.Context, r endpoint.AddressRequest) (endpoint.Lease, error) {
	lease := c.lease
	if fixed, _ := r.Account.(netip.Addr); fixed.IsValid() {
		lease.Peer = fixed
	}
	return lease, nil
}

func (onlyCaller) Release(endpoint.Lease) {}
