package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/node"
	"github.com/l2tpnet/l2tpnet/netstack"
)

type pingCmd struct {
	Server string `arg:"" placeholder:"SERVER[:PORT]" help:"The L2TP server's name or address; the port is 1701 when there is none. Of several, separated by commas, the next one is dialled when one fails."`
	dialFlags
	Host     string `arg:"" help:"Whom to ping, by address or by a name that the tunnel's DNS knows."`
	Count    int    `short:"c" placeholder:"N" help:"Stop after N packets. Default: at Ctrl-C."`
	Interval span   `short:"i" default:"1s" placeholder:"TIME" help:"From one packet to the next: 0.2 or 200ms. Default: ${default}."`
	Size     int    `short:"s" default:"56" placeholder:"BYTES" help:"Payload of a packet. Default: ${default}."`
	Timeout  span   `short:"W" default:"3s" placeholder:"TIME" help:"How long to wait for a reply. Default: ${default}."`
}

func (cmd *pingCmd) Run(p *program) (err error) {
	if cmd.Size < 0 || cmd.Size > 65000 {
		return usage(fmt.Errorf("-s: expected 0 to 65000 bytes, found %d", cmd.Size), "")
	}
	if cmd.Interval <= 0 || cmd.Timeout <= 0 || cmd.Count < 0 {
		return usage(fmt.Errorf("expected -c, -i and -W to be positive"), "")
	}
	c, err := cmd.client(p, cmd.Server)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, c.close()) }()
	ctx := p.ctx
	if cmd.Retry {
		err, ctx = c.start(), node.WithWait(ctx)
	} else {
		err = c.dial(ctx)
	}
	if err != nil {
		return err
	}
	addrs, err := c.LookupHost(ctx, cmd.Host)
	if err != nil {
		return explainLookup(err)
	}
	target, err := netip.ParseAddr(addrs[0])
	if err != nil {
		return err
	}
	var s pingStatistics
	p.printf("PING %s (%v): %d data bytes through %v\n", cmd.Host, target, cmd.Size, c.Status().Current.Peer)
	lost := cmd.ping(p, c, target, &s)
	p.printf("\n--- %s ping statistics ---\n%s", cmd.Host, s.String())
	if lost != nil {
		return lost
	}
	if s.received == 0 {
		return &failure{fmt.Errorf("no reply from %v", target), "", 1}
	}
	return nil
}

// ping sends until the count is reached, the user ends it, or the client has ended,
// which is its error. It does not wait for one reply to send the next packet.
func (cmd *pingCmd) ping(p *program, c *client, target netip.Addr, s *pingStatistics) error {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	type outcome struct {
		seq   int
		reply *netstack.PingReply
		err   error
	}
	outcomes := make(chan outcome)
	send := func(seq int) {
		s.sent++
		go func() {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(cmd.Timeout))
			defer cancel()
			reply, err := c.Ping(ctx, target, &netstack.PingOptions{Seq: uint16(seq), Size: cmd.Size})
			select {
			case outcomes <- outcome{seq, reply, err}:
			case <-p.ctx.Done():
			}
		}()
	}
	tick := time.NewTicker(time.Duration(cmd.Interval))
	defer tick.Stop()
	send(1)
	for answered := 0; cmd.Count == 0 || answered < cmd.Count; {
		select {
		case o := <-outcomes:
			answered++
			switch {
			case o.err == nil:
				s.add(o.reply.RTT)
				p.printf("%d bytes from %v: icmp_seq=%d ttl=%d time=%.3f ms\n", cmd.Size+8, target, o.seq, o.reply.TTL, milliseconds(o.reply.RTT))
			case errors.Is(o.err, context.DeadlineExceeded):
				p.printf("no answer for icmp_seq=%d\n", o.seq)
			default:
				if op, ok := o.err.(*net.OpError); ok {
					o.err = op.Err // what it says besides is in every line, or in the first
				}
				p.printf("icmp_seq=%d: %v\n", o.seq, o.err)
			}
		case <-tick.C:
			if cmd.Count == 0 || s.sent < cmd.Count {
				send(s.sent + 1)
			}
		case <-p.ctx.Done():
			return nil
		case <-c.Done():
			return c.ended()
		}
	}
	return nil
}

// A span is a time on the command line: "0.2" seconds, as ping has it, or "200ms".
type span time.Duration

func (s *span) UnmarshalText(text []byte) error {
	if seconds, err := strconv.ParseFloat(string(text), 64); err == nil && !math.IsNaN(seconds) && math.Abs(seconds) < 1e9 {
		*s = span(seconds * float64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("expected a time such as 0.2 or 200ms, found %q", text)
	}
	*s = span(d)
	return nil
}

// pingStatistics are what ping prints at its end.
type pingStatistics struct {
	sent, received  int
	least, most     float64 // milliseconds, as the sums
	sum, sumSquared float64
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *pingStatistics) add(rtt time.Duration) {
	ms := milliseconds(rtt)
	if s.received == 0 || ms < s.least {
		s.least = ms
	}
	s.most = max(s.most, ms)
	s.received++
	s.sum += ms
	s.sumSquared += ms * ms
}

func (s *pingStatistics) String() string {
	loss := 0.0
	if s.sent > 0 {
		loss = 100 * float64(s.sent-s.received) / float64(s.sent)
	}
	text := fmt.Sprintf("%d packets transmitted, %d received, %.3g%% packet loss\n", s.sent, s.received, loss)
	if s.received == 0 {
		return text
	}
	mean := s.sum / float64(s.received)
	deviation := math.Sqrt(max(0, s.sumSquared/float64(s.received)-mean*mean))
	return text + fmt.Sprintf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", s.least, mean, s.most, deviation)
}
