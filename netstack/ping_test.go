package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestPing(t *testing.T) {
	p := newPair(t, nil, nil)
	for _, row := range []struct {
		name string
		opts *PingOptions
		size int
	}{
		{"the default", nil, 64},
		{"an id and a number of our own", &PingOptions{ID: 4711, Seq: 42, Size: 100}, 108},
		{"no payload", &PingOptions{Size: -1}, 8},
		{"in fragments", &PingOptions{Size: 5000}, 5008},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := p.a.Ping(patience(t), addrB, row.opts)
			if err != nil {
				t.Fatal(err)
			}
			if r.Size != row.size || r.TTL != 64 || r.RTT <= 0 || r.ID == 0 {
				t.Errorf("%+v, want %d bytes and a TTL of 64", *r, row.size)
			}
			if row.opts != nil && (r.Seq != row.opts.Seq || row.opts.ID != 0 && r.ID != row.opts.ID) {
				t.Errorf("%+v does not answer %+v", *r, *row.opts)
			}
		})
	}
}

func TestPingFails(t *testing.T) {
	p := newPair(t, nil, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	_, err := p.a.Ping(ctx, netip.MustParseAddr("10.0.0.9"), nil)
	want(t, "a ping that nobody answers", err, os.ErrDeadlineExceeded)
	_, err = p.a.Ping(patience(t), netip.MustParseAddr("2001:db8::1"), nil)
	want(t, "a ping over IPv6", err, syscall.ENETUNREACH)
	_, err = newStack(t, nil).Ping(patience(t), addrB, nil)
	want(t, "a ping without an interface", err, syscall.ENETUNREACH)
	_, err = p.a.Ping(patience(t), addrB, &PingOptions{Size: 65508})
	var op *net.OpError
	if !errors.As(err, &op) || p.nicA.Counters().PacketsOut != 1 {
		t.Errorf("a ping that is too long: %v", err)
	}
}

// Replies that are not to this request are not taken for it.
func TestPingIsParticular(t *testing.T) {
	p := newPair(t, nil, nil)
	for _, row := range []struct {
		name   string
		tamper func(icmp []byte)
	}{
		{"another number", func(icmp []byte) { icmp[7]++ }},
		{"another payload", func(icmp []byte) { icmp[20]++ }},
		{"another id", func(icmp []byte) { icmp[5]++ }},
	} {
		t.Run(row.name, func(t *testing.T) {
			p.ba.setTamper(func(f []byte) []byte {
				row.tamper(f[20:])
				f[22], f[23] = 0, 0
				s := ^checksumOf(f[20:])
				f[22], f[23] = byte(s>>8), byte(s)
				return f
			})
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			if r, err := p.a.Ping(ctx, addrB, nil); err == nil {
				t.Errorf("%+v", r)
			}
		})
	}
}
