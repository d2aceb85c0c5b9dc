package endpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
)

// DefaultPort is L2TP's UDP port (RFC 2661 §8.1).
const DefaultPort = 1701

// Config is an endpoint's configuration. The zero value dials and answers
// nothing.
type Config struct {
	// Logger gets changes of state at Info, messages at Debug. Nil: nobody.
	Logger *slog.Logger
	// Rand is where identifiers, challenges and magic numbers come from. Nil:
	// crypto/rand.
	Rand io.Reader
	// HostName is what peers are told (Host Name AVP, RFC 2661 §4.4.3).
	// Empty: "l2tpnet", which gives nothing away.
	HostName string
	// Device is the network interface that Listen's socket is bound to
	// (SO_BINDTODEVICE, Linux): whatever the routes say, datagrams take this one.
	// Empty: the routes decide.
	Device string
	// Sockets is how many sockets Listen opens, all of one address, with a reader each,
	// so that more processors than one receive (SO_REUSEPORT, Linux). Each peer's
	// datagrams come to one of them. Zero: one for each two of GOMAXPROCS, at most four,
	// for who answers, else one. At most 64.
	Sockets int
	// Answer makes the endpoint an LNS too. Nil: calls are not answered.
	Answer *AnswerConfig
}

// AnswerConfig says how an endpoint answers those who call it.
type AnswerConfig struct {
	// Secret is the tunnel secret: peers must prove that they have it, and
	// we prove it to them. Empty: no tunnel authentication.
	Secret Secret
	// Methods are the PPP authentications that callers are asked for, the
	// first one first, the next when it is refused. Nil: MS-CHAPv2, CHAP, and EAP with MS-CHAPv2.
	Methods []AuthMethod
	// Authenticate answers for the callers' names. Required, unless there is RawPPP or V3.
	Authenticate Authenticator
	// Pool gives the callers their addresses. Required, unless there is RawPPP or V3.
	Pool AddressPool
	// V3 answers those who call by L2TPv3 too, on the same port. Nil: L2TPv2 alone.
	V3 *V3Config
	// Pseudowire tells of a session of L2TPv3 that a peer asks for, above all by its
	// Remote End ID, what our end of it is like, of which nil is the zero value; an error
	// refuses it, and is logged; one that matches [ErrCircuitInUse] does so for the moment. It
	// must not wait. Nil: all of the types that there are
	// in V3 are taken as they come.
	Pseudowire func(Call) (*PseudowireConfig, error)
	// RawPPP tells of a call whether its PPP is to pass as it is, to be switched to
	// another session ([Switch]); [Endpoint.Accept] gives such a session as soon as the
	// call stands. It must not wait. Calls for which it says no are refused where there
	// is no Authenticate or Pool. Nil: PPP ends here.
	RawPPP func(Call) bool
	// StaticOnly answers no calls: it is for [StaticConfig.PPPServer] alone.
	StaticOnly bool
	// PlacesCalls takes outgoing calls too (OCRQ, RFC 2661 §7.5): whatever the
	// number, this endpoint is at its end, and PPP's server.
	PlacesCalls bool
	// NoIPv6 turns IPV6CP off: sessions carry IPv4 alone.
	NoIPv6 bool
	// MPPE is whether packets are encrypted.
	MPPE MPPE
	// MRU is the largest PPP packet that we ask callers to send, in bytes,
	// and the largest that we send. Zero: 1400.
	MRU int
	// Limits are what peers may cost.
	Limits Limits
	// HelloInterval is the peer's silence after which a Hello probes it, less up to
	// a tenth; when data goes one way for 5 s a Hello does so at once. Zero: 60 s;
	// negative: never, in either case.
	HelloInterval time.Duration
	// HideAVPs hides what may be hidden of control messages (RFC 2661 §4.3), with
	// the secret. Some peers do not understand that.
	HideAVPs bool
	// Retries is as in [TunnelConfig], for tunnels of peers: RFC 3931 §4.2 has the number
	// "MUST be configurable". Zero: 5, or 10 in L2TPv3; negative: never.
	Retries int
}

// TunnelConfig is what [Endpoint.Dial] may need to know. Nil is the zero value.
type TunnelConfig struct {
	// Secret is the tunnel secret: the LNS must prove that it has it, and we
	// prove it to the LNS. Empty: no tunnel authentication.
	Secret Secret
	// HelloInterval is the peer's silence after which a Hello probes it, less up to
	// a tenth; when data goes one way for 5 s a Hello does so at once. Zero: 60 s;
	// negative: never, in either case.
	HelloInterval time.Duration
	// HideAVPs hides what may be hidden of control messages (RFC 2661 §4.3), with
	// the secret. Some peers do not understand that.
	HideAVPs bool
	// V3 dials by L2TPv3 (RFC 3931). Nil: by L2TPv2.
	V3 *V3Config
	// Fallback, with V3, dials peers of either version: who does not speak L2TPv3 goes on
	// in L2TPv2 (§4.7.3). The tunnel is then of the version that the peer has answered in.
	Fallback bool
	// Retries is how often a message is sent again before the peer is given up. Zero: 5,
	// or 10 with V3; negative: never.
	Retries int
}

// PPPConfig is how [Tunnel.OpenPPP] introduces itself.
type PPPConfig struct {
	// User and Password are for whichever of the methods the peer asks for.
	User     string
	Password Secret
	// Methods are the authentications that we are ready to use, best first.
	// Nil: MS-CHAPv2, CHAP, and EAP with MS-CHAPv2. PAP shows the password to everybody on the way,
	// and to whoever answers in the peer's place: it must be named.
	Methods []AuthMethod
	// Outgoing asks the peer to place a call to a number, as an LNS asks a LAC
	// (OCRQ, RFC 2661 §7.5), for peers that have told that they can. Nil: we tell
	// it of a call, as a LAC does (ICRQ). Either way we are PPP's client.
	Outgoing *OutgoingCall
	// NoIPv6 turns IPV6CP off: the session carries IPv4 alone.
	NoIPv6 bool
	// MPPE is whether packets are encrypted.
	MPPE MPPE
	// MRU is the largest PPP packet that we ask the peer to send, in bytes,
	// and the largest that we send. Zero: 1400.
	MRU int
	// Address is the one that we ask for. The zero value: any.
	Address netip.Addr
	// Sequenced has both ends number their frames (Sequencing Required AVP, RFC 2661
	// §4.4.6), for peers that want to know what is lost or out of order. Only a LAC may
	// demand it: with Outgoing that is the peer. In L2TPv3 the peer is asked to number its
	// own, which are then kept in order, and ours have numbers if it asks for them.
	Sequenced bool
}

// Validate tells what no peer could agree to.
func (c *PPPConfig) Validate() error {
	return errors.Join(checkMRU(orDefault(c.MRU, defaultMRU)), checkMPPE(c.MPPE, c.Methods))
}

// An OutgoingCall is what a LAC is asked to dial (RFC 2661 §6.9).
type OutgoingCall struct {
	Number, SubAddress     string // Called Number and Sub-Address AVPs
	MinimumBPS, MaximumBPS uint32 // bits per second; 0: any speed
}

// An AuthMethod is a way for a PPP peer to prove who it is.
type AuthMethod uint8

const (
	PAP         = AuthMethod(ppp.PAP)         // RFC 1334: the password in clear
	CHAP        = AuthMethod(ppp.CHAPMD5)     // RFC 1994, with MD5
	MSCHAPv2    = AuthMethod(ppp.MSCHAPv2)    // RFC 2759: both sides prove the password
	EAPMD5      = AuthMethod(ppp.EAPMD5)      // RFC 3748 §5.4: as CHAP
	EAPMSCHAPv2 = AuthMethod(ppp.EAPMSCHAPv2) // EAP type 26: as MSCHAPv2
)

var authMethods = [...]string{PAP: "pap", CHAP: "chap", MSCHAPv2: "mschapv2", EAPMD5: "eap-md5", EAPMSCHAPv2: "eap-mschapv2"}

func (m AuthMethod) String() string {
	if int(m) < len(authMethods) && m != 0 {
		return authMethods[m]
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// ParseAuthMethods reads names of methods, separated by commas: "mschapv2,chap,pap".
func ParseAuthMethods(list string) ([]AuthMethod, error) {
	var methods []AuthMethod
next:
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		for m, n := range authMethods {
			if name == n && m != 0 {
				methods = append(methods, AuthMethod(m))
				continue next
			}
		}
		return nil, fmt.Errorf("expected authentication methods out of mschapv2, chap, pap, eap-mschapv2 and eap-md5, separated by commas, found %q", name)
	}
	return methods, nil
}

// MPPE says whether PPP is encrypted by Microsoft's protocol (RFC 3078), with keys
// that MS-CHAPv2 gives: stateless, 128 bit, or 56 or 40 when the peer asks for them.
// It is RC4 without authenticity, for peers that insist on it; it protects nothing
// that matters.
type MPPE uint8

const (
	MPPEOff      = MPPE(ppp.MPPEOff)      // it is refused
	MPPEAllowed  = MPPE(ppp.MPPEAllowed)  // if the peer agrees to it
	MPPERequired = MPPE(ppp.MPPERequired) // no session without it
)

// ParseMPPE reads "off", "allowed" or "required".
func ParseMPPE(s string) (MPPE, error) {
	switch s {
	case "off":
		return MPPEOff, nil
	case "allowed":
		return MPPEAllowed, nil
	case "required":
		return MPPERequired, nil
	}
	return 0, fmt.Errorf("expected off, allowed or required, found %q", s)
}

// An AuthRequest is a caller's claim to be somebody.
type AuthRequest struct {
	User   string         // as the peer sent it
	Method AuthMethod     // how it is going to prove it
	Peer   netip.AddrPort // where the tunnel comes from
}

// A Credential is what a claim is checked against: the password, or its NT
// hash (RFC 2759 §8.3), which serves for PAP and MS-CHAPv2.
type Credential struct {
	Password Secret
	NTHash   *[16]byte
	Account  any // the Authenticator's own note on the user, for the [AddressPool]
}

// An Authenticator finds a user's credential; it may take its time, until ctx
// ends with the call. Its error refuses the user and is logged; the peer cannot
// tell it from a wrong password.
type Authenticator func(ctx context.Context, r AuthRequest) (Credential, error)

const (
	defaultHostName = "l2tpnet"
	defaultMRU      = 1400 // leaves room for the headers of L2TP, and of another tunnel around it
)

func (c *Config) withDefaults() (Config, error) {
	var full Config
	if c != nil {
		full = *c
	}
	if full.Logger == nil {
		full.Logger = slog.New(slog.DiscardHandler)
	}
	if full.Rand == nil {
		full.Rand = rand.Reader
	}
	if full.HostName == "" {
		full.HostName = defaultHostName
	}
	if err := full.checkSockets(); err != nil || full.Answer == nil {
		return full, err
	}
	answer := *full.Answer
	if answer.RawPPP == nil && answer.V3 == nil && !answer.endsPPP() {
		return full, fmt.Errorf("expected an Authenticator and an AddressPool to answer calls with, found none")
	}
	answer.MRU = orDefault(answer.MRU, defaultMRU)
	answer.Limits = answer.Limits.withDefaults()
	full.Answer = &answer
	return full, errors.Join(checkMRU(answer.MRU), checkMPPE(answer.MPPE, answer.Methods), answer.V3.Validate(answer.Secret))
}

// endsPPP tells whether PPP can end here.
func (a *AnswerConfig) endsPPP() bool { return a != nil && a.Authenticate != nil && a.Pool != nil }

// checkMPPE refuses encryption without a method that gives keys for it.
func checkMPPE(m MPPE, methods []AuthMethod) error {
	if m != MPPERequired || methods == nil || slices.Contains(methods, MSCHAPv2) || slices.Contains(methods, EAPMSCHAPv2) {
		return nil
	}
	return fmt.Errorf("expected MS-CHAPv2, which alone gives keys for MPPE, among the methods, found %v", methods)
}

// checkMRU bounds the MRU by what every IPv4 host takes (RFC 791) and what a
// datagram holds.
func checkMRU(mru int) error {
	if mru < 576 || mru > 65000 {
		return fmt.Errorf("expected an MRU of 576 to 65000 bytes, found %d", mru)
	}
	return nil
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
