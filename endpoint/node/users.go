package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// A User may call a [Server]. Without anything fixed it gets its addresses from the
// server's pools. With anything fixed it has one session at a time: its next call,
// once it has been authenticated, takes over from the one that stands, which may be
// that of a client that has vanished.
type User struct {
	// Name is what its sessions are counted by and shown as. Empty: the key in
	// Server.Users, or the name that the caller sent.
	Name string
	// Password is what it proves; or NTHash, the NT hash of it (RFC 2759 §8.3), for
	// PAP and MS-CHAPv2.
	Password endpoint.Secret
	NTHash   *[16]byte

	Address    netip.Addr     // IPv4, fixed
	Prefix6    netip.Prefix   // IPv6, of 64 bits, fixed: advertised to the session
	Delegated6 netip.Prefix   // IPv6, fixed: given by DHCPv6 prefix delegation
	Routes     []netip.Prefix // networks behind the user, IPv4 and IPv6, that are routed to it

	// MaxSessions is how many sessions it may have at once: one more ends the oldest.
	// 0: no limit of its own; with anything fixed: 1.
	MaxSessions int
}

var errUnknownUser = errors.New("no such user")

// fixed is all that only one session can have.
func (u *User) fixed() []netip.Prefix {
	list := slices.Clone(u.Routes)
	if u.Address.IsValid() {
		list = append(list, netip.PrefixFrom(u.Address, u.Address.BitLen()))
	}
	for _, p := range []netip.Prefix{u.Prefix6, u.Delegated6} {
		if p.IsValid() {
			list = append(list, p)
		}
	}
	return list
}

// sessions is how many it may have at once; 0: as many as it likes.
func (u *User) sessions() int {
	if len(u.fixed()) > 0 {
		return 1
	}
	return max(0, u.MaxSessions)
}

// check tells what no session could have.
func (u *User) check() error {
	if u.Address.IsValid() && !usable4(u.Address) {
		return fmt.Errorf("expected an IPv4 address of a host, found %v", u.Address)
	}
	if p := u.Prefix6; p.IsValid() && (!usable6(p) || p.Bits() != 64) {
		return fmt.Errorf("expected an IPv6 prefix of 64 bits, found %v", p)
	}
	if p := u.Delegated6; p.IsValid() && (!usable6(p) || p.Bits() > 64) {
		return fmt.Errorf("expected an IPv6 prefix of at most 64 bits to delegate, found %v", p)
	}
	for _, p := range u.Routes {
		if !p.IsValid() || p != p.Masked() || p.Bits() == 0 {
			return fmt.Errorf("expected a route to a network such as 192.168.7.0/24, found %v", p)
		}
	}
	return nil
}

func usable4(a netip.Addr) bool {
	return a.Is4() && !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback()
}

func usable6(p netip.Prefix) bool {
	a := p.Addr()
	return a.Is6() && !a.Is4In6() && p == p.Masked() && p.Bits() > 0 && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// checkUsers tells what is wrong with a list of users by itself: it names the user.
func checkUsers(users map[string]User) error {
	owners := map[netip.Prefix]string{}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		if err := u.check(); err != nil {
			return fmt.Errorf("the user %q: %w", name, err)
		}
		for _, p := range u.fixed() {
			if other, ok := owners[p]; ok {
				return fmt.Errorf("the user %q: %v is fixed for %q as well", name, p, other)
			}
			owners[p] = name
		}
	}
	return nil
}

// find looks a name up in a list. Windows puts its domain in front.
func find(users map[string]User, name string) (User, error) {
	u, ok := users[name]
	if !ok {
		_, name, _ = strings.Cut(name, `\`)
		if u, ok = users[name]; !ok {
			return User{}, errUnknownUser
		}
	}
	if u.Name == "" {
		u.Name = name
	}
	return u, nil
}

// SetUsers replaces Server.Users while the server runs. Sessions of users who are
// no longer there are closed; the others keep what they have until they call again.
func (s *Server) SetUsers(users map[string]User) error {
	if err := s.started(); err != nil {
		return err
	}
	if err := checkUsers(users); err != nil {
		return err
	}
	if err := s.addresses.checkAll(users); err != nil {
		return err
	}
	users = maps.Clone(users)
	names := map[string]bool{}
	for key := range users {
		u, _ := find(users, key)
		names[u.Name] = true
	}
	s.users.Store(&users)
	s.addresses.reserve(users)
	s.Disconnect(func(v ServerSession) bool { return v.Type == endpoint.PseudowirePPP && !names[v.User] })
	return nil
}

// authenticate answers for the callers' names.
func (s *Server) authenticate(ctx context.Context, r endpoint.AuthRequest) (endpoint.Credential, error) {
	var u User
	var err error
	if s.Authenticate != nil {
		if u, err = s.Authenticate(ctx, r); err == nil {
			err = u.check()
		}
	} else {
		u, err = find(*s.users.Load(), r.User)
	}
	if err != nil {
		return endpoint.Credential{}, err
	}
	if u.Name == "" {
		u.Name = r.User
	}
	c := endpoint.Credential{Password: u.Password, NTHash: u.NTHash, Account: &u}
	// Nobody has need of these any longer.
	u.Password, u.NTHash = "", nil
	return c, nil
}
