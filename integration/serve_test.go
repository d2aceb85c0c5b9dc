package integration

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/integration/guest"
	"github.com/l2tpnet/l2tpnet/netstack"
)

// xl2tpd and pppd on a Linux kernel call us, behind slirp, which is a NAT: ping, and 10 MiB from a server inside our
// stack, with each authentication, with and without a tunnel secret, and encrypted.
func TestXl2tpdCallsUs(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t)
	traffic, encrypted := newCapture(t), newCapture(t)
	want := fmt.Sprintf("%x", sha256.Sum256(guest.Blob()))
	anything := []endpoint.AuthMethod{endpoint.MSCHAPv2, endpoint.CHAP, endpoint.PAP} // pppd refuses the first ones
	for _, call := range []struct {
		auth, options string // of the guest's lac
		methods       []endpoint.AuthMethod
		full          bool // in the full run only
	}{
		{"pap", "", anything, false},
		{"pap", "secret", anything, true},
		{"chap", "", anything, true},
		{"chap", "secret", anything, false},
		{"mschapv2", "", anything, true},
		{"mschapv2", "secret hidden", anything, false},
		{"mschapv2", "mppe", anything, false},
		{"mschapv2", "mppe40", anything, true},
		{"eap-md5", "", []endpoint.AuthMethod{endpoint.EAPMD5}, false},
		{"eap-mschapv2", "ipv6", []endpoint.AuthMethod{endpoint.EAPMSCHAPv2}, false},
	} {
		if call.full && os.Getenv("L2TPNET_FULL") != "1" {
			continue
		}
		has := func(option string) bool { return strings.Contains(call.options, option) }
		t.Run(strings.TrimSpace(call.auth+" "+call.options), func(t *testing.T) {
			answer, path := &endpoint.AnswerConfig{Methods: call.methods}, traffic
			if has("secret") {
				// Nothing is hidden from xl2tpd: it looks for its secret after it has read the SCCRP, and can read
				// nothing hidden in that.
				answer.Secret = "tunsecret"
			}
			if has("mppe") {
				answer.MPPE, path = endpoint.MPPERequired, encrypted
			}
			port := netip.MustParseAddrPort(path.relay(t, lns(t, answer))).Port()
			pppdAuth, _, _ := strings.Cut(call.auth, "-")
			mark := g.Run(t, fmt.Sprintf("lac %d %s %s", port, pppdAuth, call.options))
			if has("ipv6") {
				g.Expect(t, mark, `^guest: IPv6 up on ppp0: fe80::(?:0000:){3}0002 fe80::(?:0000:){3}0001$`) // ours is what pppd wants it to be
			}
			g.Run(t, "ping -c 3 -i 0.2 10.77.0.1")
			fetched := g.Run(t, "fetch http://10.77.0.1/blob")
			if m := g.Expect(t, fetched, `^guest: sha256 (\S+)`); m[1] != want {
				t.Errorf("the blob that xl2tpd's side fetched: expected sha256 %s, found %s", want, m[1])
			}
			g.Run(t, fmt.Sprintf("hangup %d", port))
			// We answered pppd when it said goodbye.
			g.Expect(t, mark, `rcvd \[LCP TermAck`)
			if has("mppe") {
				encrypted.mustBeSealed(t)
			}
		})
	}
	t.Run("tshark finds nothing malformed", func(t *testing.T) {
		traffic.judge(t, answerer)
		encrypted.judge(t, answerer)
	})
}

// The command line answers too, on a socket that answers L2TPv3 as well, and hides what may be hidden. It has no server
// inside to fetch from, so the caller pings.
func TestXl2tpdCallsServe(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t)
	pcap := file(t, "")
	p := start(t, "serve", "--v3", "--hide-avps", "--pcap", pcap, "--listen", "127.0.0.1:0", "--users-file", file(t, "# who may call\nbob:other\nalice:s3cret"), "--secret-file", file(t, "tunsecret"),
		"--pool", "10.77.0.0/24", "--gateway", "10.77.0.1", "--dns", "10.77.0.1", "-v")
	hello := p.line(t)
	_, rest, _ := strings.Cut(hello, "127.0.0.1:")
	var port uint16
	if _, err := fmt.Sscanf(rest, "%d", &port); err != nil {
		t.Fatalf("serve's first line: expected where it answers, found %q", hello)
	}
	if line := p.line(t); !strings.Contains(line, "L2TPv3") {
		t.Errorf("serve's second line: expected what there is by L2TPv3, found %q", line)
	}
	up := g.Run(t, fmt.Sprintf("lac %d mschapv2 secret hidden ipv6", port))
	if line := p.line(t); !strings.Contains(line, "alice") || !strings.Contains(line, "10.77.0.") {
		t.Errorf("serve's line for a caller: expected alice and her address, found %q", line)
	}
	mark := g.Run(t, "ping -c 3 -i 0.2 10.77.0.1")
	g.Expect(t, mark, `3 packets received`)
	// pppd wants our link-local address to be fe80::1, and there we are.
	g.Expect(t, up, `^guest: IPv6 up on ppp0: fe80::(?:0000:){3}0002 fe80::(?:0000:){3}0001$`)
	g.Run(t, "ping -6 -c 3 -i 0.2 fe80::1%ppp0")
	p.interrupt(t)
	judgePcap(t, pcap, port)
	// xl2tpd was told that we go: pppd ends by itself.
	g.Expect(t, mark, fmt.Sprintf(`^lac %d: .*Connection closed`, port))
	g.Expect(t, mark, `^local2\S* pppd\[\d+\]: Exit\.`)
}

// lns is a server that embeds the library, as examples/serve does: an endpoint that answers, a stack that all its callers
// reach, and a web server in that stack. The pool and the users are added to the configuration. It returns the UDP address
// to call.
func lns(t *testing.T, answer *endpoint.AnswerConfig) netip.AddrPort {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	gateway := netip.MustParseAddr("10.77.0.1")
	pool, err := endpoint.NewPool(netip.MustParsePrefix("10.77.0.0/24"), gateway, nil)
	must(err)
	stack, err := netstack.New(nil)
	must(err)
	t.Cleanup(func() { stack.Close() })
	router, err := stack.AddRouted(&netstack.RoutedConfig{Addresses: []netip.Addr{gateway}})
	must(err)
	web, err := stack.Listen("tcp", ":80")
	must(err)
	site := http.NewServeMux()
	site.HandleFunc("/blob", func(w http.ResponseWriter, _ *http.Request) { w.Write(guest.Blob()) })
	go http.Serve(web, site)

	answer.Pool = pool
	answer.Authenticate = func(_ context.Context, r endpoint.AuthRequest) (endpoint.Credential, error) {
		if r.User != "alice" {
			return endpoint.Credential{}, errors.New("unknown user")
		}
		return endpoint.Credential{Password: "s3cret"}, nil
	}
	ep, err := endpoint.Listen("udp", "127.0.0.1:0", &endpoint.Config{Answer: answer})
	must(err)
	t.Cleanup(func() { ep.Close() })
	go func() {
		for {
			session, err := ep.Accept(context.Background())
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("Accept: %v", err)
				}
				return
			}
			go func() {
				port, err := router.Attach(&netstack.PortConfig{Prefixes: []netip.Prefix{netip.PrefixFrom(session.PeerAddress(), 32)}}, session)
				if err != nil {
					t.Errorf("routing to %v: %v", session.PeerAddress(), err)
					session.Close()
					return
				}
				session.Attach(port)
				<-session.Done()
				port.Close()
			}()
		}
	}()
	return netip.MustParseAddrPort(ep.Addr().String())
}
