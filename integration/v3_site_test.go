package integration

import (
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// A site is a stack of ours on an Ethernet pseudowire, by the library alone.
type site struct {
	endpoint *endpoint.Endpoint
	session  *endpoint.Session
	stack    *netstack.Stack
	nic      *netstack.EthernetNIC
}

// newSite makes one. It ends with the test.
func newSite(t *testing.T, local, remote string, wire *endpoint.StaticConfig, ethernet *netstack.EthernetConfig) *site {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var s site
	var err error
	s.endpoint, err = endpoint.Listen("udp", local, nil)
	must(err)
	t.Cleanup(func() { s.endpoint.Close() })
	s.session, err = s.endpoint.Static(t.Context(), remote, wire)
	must(err)
	s.stack, err = netstack.New(nil)
	must(err)
	t.Cleanup(func() { s.stack.Close() })
	s.nic, err = s.stack.AddEthernet(s.session, ethernet)
	must(err)
	s.session.Attach(s.nic)
	return &s
}
