package node

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

func TestPiecesRestBeforeTheyAreGivenAgain(t *testing.T) {
	c, err := newCarver(netip.MustParsePrefix("10.0.0.0/30"), 32)
	if err != nil {
		t.Fatal(err)
	}
	c.hold(netip.MustParsePrefix("10.0.0.1/32"))
	var got []netip.Prefix
	for range 3 {
		p, ok := c.take()
		if !ok {
			t.Fatal("nothing is free")
		}
		got = append(got, p)
	}
	if want := "[10.0.0.0/32 10.0.0.2/32 10.0.0.3/32]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if p, ok := c.take(); ok {
		t.Errorf("%v is given twice", p)
	}
	c.release(got[1])
	if p, _ := c.take(); p != got[1] {
		t.Errorf("%v, want the only free one", p)
	}
	// What was free for longest comes first.
	c.release(got[2])
	c.release(got[0])
	if p, _ := c.take(); p != got[2] {
		t.Errorf("%v, want %v", p, got[2])
	}
}

func TestHeldPiecesAreNotGiven(t *testing.T) {
	c, err := newCarver(netip.MustParsePrefix("fd00:77::/60"), 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"fd00:77::1/128", "fd00:77:0:4::/62", "fd00:77:0:8::/61", "192.168.0.0/16", "fd00:78::/48"} {
		c.hold(netip.MustParsePrefix(p))
	}
	for _, want := range []string{"fd00:77:0:1::/64", "fd00:77:0:2::/64", "fd00:77:0:3::/64"} {
		if p, ok := c.take(); !ok || p.String() != want {
			t.Errorf("%v, want %s", p, want)
		}
	}
	if p, ok := c.take(); ok {
		t.Errorf("%v is held, and was given", p)
	}
	// Two who hold the same have to release it both.
	c.hold(netip.MustParsePrefix("fd00:77:0:5::/64"))
	c.release(netip.MustParsePrefix("fd00:77:0:4::/62"))
	if p, _ := c.take(); p.String() != "fd00:77:0:4::/64" {
		t.Errorf("%v", p)
	}
	if p, _ := c.take(); p.String() != "fd00:77:0:6::/64" {
		t.Errorf("%v", p)
	}
	// All of it.
	c.hold(netip.MustParsePrefix("fd00::/8"))
	c.release(netip.MustParsePrefix("fd00:77:0:6::/64"))
	if p, ok := c.take(); ok {
		t.Errorf("%v was given", p)
	}
}

// grantOf is what a user gets.
func grantOf(t *testing.T, a *addresses, u *User) *grant {
	t.Helper()
	l, err := a.Assign(t.Context(), endpoint.AddressRequest{Account: u})
	if err != nil {
		t.Fatal(err)
	}
	return l.Owner.(*grant)
}

func TestAGrantIsGivenBackWhenBothHaveDoneWithIt(t *testing.T) {
	s := &Server{Pool: netip.MustParsePrefix("10.0.0.0/29"), Pool6: netip.MustParsePrefix("fd00:77::/48"), DelegateBits: 56}
	a, err := newAddresses(s)
	if err != nil {
		t.Fatal(err)
	}
	a.reserve(map[string]User{"bob": {Address: netip.MustParseAddr("10.0.0.2"), Routes: []netip.Prefix{netip.MustParsePrefix("10.0.0.4/31")}}})
	g := grantOf(t, a, &User{})
	if g.address.String() != "10.0.0.3" || g.prefix.String() != "fd00:77:0:1::/64" || g.delegated.String() != "fd00:77:0:8000::/56" {
		t.Errorf("granted %v %v %v", g.address, g.prefix, g.delegated)
	}
	if !a.keep(g) {
		t.Fatal("it cannot be kept")
	}
	a.Release(endpoint.Lease{Owner: g})
	if again := grantOf(t, a, &User{}); again.address.String() != "10.0.0.6" {
		t.Errorf("granted %v, while %v is still routed", again.address, g.address)
	}
	if _, err := a.Assign(t.Context(), endpoint.AddressRequest{Account: &User{}}); err != endpoint.ErrPoolEmpty {
		t.Errorf("%v, want the pool empty", err)
	}
	a.drop(g)
	if a.keep(g) {
		t.Error("what was given back can be kept")
	}
	if again := grantOf(t, a, &User{}); again.address != g.address {
		t.Errorf("granted %v, want the one that was given back", again.address)
	}
	// A fixed address is its user's, whoever has it.
	fixed := User{Address: netip.MustParseAddr("10.0.0.2")}
	if one, two := grantOf(t, a, &fixed), grantOf(t, a, &fixed); one.address != fixed.Address || two.address != fixed.Address {
		t.Errorf("granted %v and %v", one.address, two.address)
	}
	if _, err := a.Assign(t.Context(), endpoint.AddressRequest{Account: &User{Address: a.gateway}}); err == nil {
		t.Error("the server's own address was given")
	}
}
