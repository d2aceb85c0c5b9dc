package integration

import (
	"strings"
	"testing"

	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// We dial pppd, which asks for EAP. It begins with MD5; who wants MSCHAPv2 refuses that with a Nak and says so (RFC 3748
// §5.3.1). After MSCHAPv2's own Success it sends no EAP Success.
func TestConnectWithEAP(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t, 1701)
	traffic := newCapture(t)
	server := traffic.relay(t, g.Addr(1701))
	password, wrong := file(t, "s3cret"), file(t, "wrong")
	g.Run(t, "lns 1701 eap")
	for _, auth := range []struct{ name, success, failure string }{
		{"eap-md5", `sent \[EAP Success `, `sent \[EAP Failure `},
		{"eap-mschapv2", `EAP: MSCHAPv2 success for peer alice`, `EAP: MSCHAPv2 failure for peer alice`},
	} {
		t.Run(auth.name, func(t *testing.T) {
			mark := g.Mark()
			c := connect(t, server, "--user", "alice", "--password-file", password, "--auth", auth.name, "--socks", "127.0.0.1:0", "-v")
			g.Expect(t, mark, auth.success)
			sameBytes(t, guest.Page, c.get(t, "http://web.inside.test/"))
			c.interrupt(t)
		})
		t.Run("wrong password with "+auth.name, func(t *testing.T) {
			mark := g.Mark()
			complaint := refused(t, server, "--user", "alice", "--password-file", wrong, "--auth", auth.name)
			if !strings.Contains(complaint, auth.name+` authentication of user "alice" failed`) {
				t.Errorf("expected a complaint about the authentication, found %q", complaint)
			}
			g.Expect(t, mark, auth.failure)
		})
	}
	t.Run("tshark finds nothing malformed", func(t *testing.T) { traffic.judge(t, dialler) })
}

// With MPPE, none of 10 MiB goes either way in clear, and who insists on it gets nothing from who refuses it.
func TestConnectWithMPPE(t *testing.T) {
	t.Parallel()
	g := guest.Boot(t, 1701, 1702)
	flags := []string{"--user", "alice", "--password-file", file(t, "s3cret"), "--auth", "mschapv2"}
	traffic := newCapture(t)
	encrypting, plain := traffic.relay(t, g.Addr(1701)), traffic.relay(t, g.Addr(1702))
	g.Run(t, "lns 1701 mschapv2 mppe")
	g.Run(t, "lns 1702 mschapv2")

	t.Run("required", func(t *testing.T) {
		mark := g.Mark()
		c := connect(t, encrypting, append(flags, "--mppe", "required", "--socks", "127.0.0.1:0", "-v")...)
		g.Expect(t, mark, `MPPE 128-bit stateless compression enabled`)
		sameBytes(t, string(guest.Blob()), c.get(t, "http://10.9.0.1/blob"))
		c.interrupt(t)
	})
	t.Run("pppd insists", func(t *testing.T) {
		complaint := refused(t, encrypting, append(flags, "--mppe", "off")...)
		if !strings.Contains(complaint, "MPPE required but peer negotiation failed") {
			t.Errorf("expected a complaint in pppd's words, found %q", complaint)
		}
	})
	t.Run("we insist", func(t *testing.T) {
		complaint := refused(t, plain, append(flags, "--mppe", "required")...)
		if !strings.Contains(complaint, "MPPE") {
			t.Errorf("expected a complaint about MPPE, found %q", complaint)
		}
	})
	traffic.mustBeSealed(t)
	t.Run("tshark finds nothing malformed", func(t *testing.T) { traffic.judge(t, dialler) })
}
