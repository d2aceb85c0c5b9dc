package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// v3Flags are what every command has that negotiates L2TPv3, whether it dials or answers:
// of the control connection.
type v3Flags struct {
	Digest        digests  `placeholder:"WHICH" help:"How control messages are signed, with the tunnel secret: md5, sha1 or md5,sha1 (by both). Default: md5."`
	Integrity     bool     `help:"Without a tunnel secret: have control messages carry a digest nevertheless, so that damaged ones are dropped. It authenticates nobody."`
	OldSecretFile string   `placeholder:"FILE" help:"File with another tunnel secret that peers may still have, while it is changed; or set L2TPNET_OLD_SECRET."`
	RouterID      routerID `name:"router-id" placeholder:"N" help:"What peers are told of us, as a number or as an IPv4 address. Default: 0."`
}

// v3 makes what package endpoint wants to know, where secret is the tunnel's.
func (f *v3Flags) v3(secret endpoint.Secret) (*endpoint.V3Config, error) {
	old, err := readSecret("old tunnel secret", f.OldSecretFile, "L2TPNET_OLD_SECRET")
	if err != nil {
		return nil, err
	}
	switch {
	case old != "" && secret == "":
		return nil, usage(errors.New("expected a tunnel secret beside the old one, found none"), secretHint)
	case f.Digest != nil && secret == "" && !f.Integrity:
		return nil, usage(errors.New("expected a tunnel secret or --integrity with --digest, found none"), secretHint)
	case f.Integrity && secret != "":
		return nil, usage(errors.New("expected --integrity or a tunnel secret, with which all messages carry a digest anyway, found both"), "")
	}
	return &endpoint.V3Config{RouterID: uint32(f.RouterID), OldSecret: old, Digests: f.Digest, Integrity: f.Integrity}, nil
}

const secretHint = "give it with --secret-file or L2TPNET_SECRET"

// given is the first of the flags that there is, for who has not said --v3; "": none.
func (f *v3Flags) given() string {
	return firstGiven([]flagGiven{
		{"--digest", f.Digest != nil}, {"--integrity", f.Integrity}, {"--old-secret-file", f.OldSecretFile != ""}, {"--router-id", f.RouterID != 0},
	})
}

// A flagGiven is a flag, and whether the user has set it.
type flagGiven struct {
	name  string
	given bool
}

func firstGiven(flags []flagGiven) string {
	for _, f := range flags {
		if f.given {
			return f.name
		}
	}
	return ""
}

// circuitFlags are our end of a pseudowire that is negotiated: what each end wants to
// receive it tells the other.
type circuitFlags struct {
	RemoteEndID    string     `name:"remote-end-id" placeholder:"ID" help:"The peer's circuit that is asked for, by the name that it has there. Default: an empty one."`
	CookieLen      cookieLen  `placeholder:"N" help:"Octets of the random cookie that the peer puts into its frames: 0, 4 or 8. Default: 8."`
	L2spec         sublayer   `name:"l2spec" placeholder:"WHICH" help:"L2-specific sublayer of what we receive: none or default. Default: none, or default with --seq recv and both."`
	Seq            sequencing `placeholder:"WHO" help:"Who numbers frames, so that those which come late are dropped or put in order: none, send, recv (the peer) or both. Default: none, or what the peer wants."`
	ReorderTimeout span       `placeholder:"TIME" help:"With --seq recv and both: how long a frame that has overtaken others waits for them, such as 100ms. Default: not at all, and those that come later are dropped."`
}

// pseudowire makes what package endpoint wants to know of a session of a type.
func (f *circuitFlags) pseudowire(pw pseudowire) (*endpoint.PseudowireConfig, error) {
	if err := checkOrder(f.L2spec, f.Seq, f.ReorderTimeout); err != nil {
		return nil, err
	}
	c := &endpoint.PseudowireConfig{
		Type: pw.kind, VLAN: pw.vlan, RemoteEndID: f.RemoteEndID, CookieLen: int(f.CookieLen),
		Sublayer: endpoint.Sublayer(f.L2spec), Sequencing: endpoint.Sequencing(f.Seq), ReorderTimeout: time.Duration(f.ReorderTimeout),
	}
	if err := c.Validate(); err != nil {
		return nil, usage(oneLine(err), "")
	}
	return c, nil
}

func (f *circuitFlags) given() string {
	return firstGiven([]flagGiven{
		{"--remote-end-id", f.RemoteEndID != ""}, {"--cookie-len", f.CookieLen != 0}, {"--l2spec", f.L2spec != ""}, {"--seq", f.Seq != ""}, {"--reorder-timeout", f.ReorderTimeout != 0},
	})
}

// checkOrder finds what does not fit together of the sublayer and the numbers in it.
func checkOrder(l2spec sublayer, seq sequencing, timeout span) error {
	ordered := seq == sequencing(endpoint.SequencingRecv) || seq == sequencing(endpoint.SequencingBoth)
	switch {
	case timeout < 0 || timeout > span(time.Minute):
		return usage(fmt.Errorf("--reorder-timeout: expected a time of at most a minute, such as 100ms, found %v", time.Duration(timeout)), "")
	case timeout > 0 && !ordered:
		return usage(errors.New("expected --seq recv or both with --reorder-timeout, which is for frames that are put in order, found none"), "")
	case ordered && l2spec == sublayer(endpoint.SublayerNone):
		return usage(fmt.Errorf("expected --l2spec default with --seq %s, since numbers are in that sublayer, found none", seq), "")
	}
	return nil
}

// A cookieLen is a cookie's length as endpoint.PseudowireConfig has it: negative is none,
// zero the default.
type cookieLen int

func (c *cookieLen) UnmarshalText(text []byte) error {
	n, ok := map[string]cookieLen{"0": -1, "4": 4, "8": 8}[string(text)]
	if !ok {
		return fmt.Errorf("expected 0, 4 or 8 octets, found %q", text)
	}
	*c = n
	return nil
}

// digests are one or two ways to sign.
type digests []endpoint.DigestType

func (d *digests) UnmarshalText(text []byte) error {
	*d = nil
	for word := range strings.SplitSeq(string(text), ",") {
		t, err := endpoint.ParseDigestType(word)
		if err != nil || slices.Contains(*d, t) {
			return fmt.Errorf("expected md5, sha1 or md5,sha1, found %q", text)
		}
		*d = append(*d, t)
	}
	return nil
}

// A routerID is any number, which many write as an IPv4 address.
type routerID uint32

func (r *routerID) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil && a.Is4() {
		b := a.As4()
		*r = routerID(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil {
		return fmt.Errorf("expected a number up to 4294967295 or an IPv4 address, found %q", text)
	}
	*r = routerID(n)
	return nil
}
