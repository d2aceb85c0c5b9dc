package endpoint

import (
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// discard is a socket that nothing comes from, and which swallows all.
type discard struct {
	done chan struct{}
	sent int
}

func (d *discard) ReadFrom([]byte) (int, net.Addr, error) {
	<-d.done
	return 0, nil, net.ErrClosed
}
func (d *discard) WriteTo(b []byte, _ net.Addr) (int, error) { d.sent++; return len(b), nil }
func (d *discard) Close() error                              { close(d.done); return nil }
func (d *discard) LocalAddr() net.Addr                       { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1701} }
func (d *discard) SetDeadline(time.Time) error               { return nil }
func (d *discard) SetReadDeadline(time.Time) error           { return nil }
func (d *discard) SetWriteDeadline(time.Time) error          { return nil }

// besieged is an endpoint whose datagrams are handed to receive.
func besieged(t testing.TB, l Limits) (*Endpoint, *discard) {
	t.Helper()
	d := &discard{done: make(chan struct{})}
	e, err := New(d, &Config{Rand: random(1, 's'), Logger: testLogger(t, "lns"), Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t), Limits: l}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, d
}

// An asker is a peer that asks for a tunnel, in its own name or another's.
func asker(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1701)
}

func asks(id uint16) []byte {
	m := sccrq(uint32(id))
	m.Set(wire.AVPChallenge)
	m.Challenge = make([]byte, 16)
	b := m.Append(wire.AppendControlHeader(nil, 0, 0, 0, 0))
	wire.SetLength(b)
	return b
}

func BenchmarkSCCRQ(b *testing.B) {
	to := netip.MustParseAddr("192.0.2.2")
	flood := func(b *testing.B, l Limits, repeat int) {
		e, d := besieged(b, l)
		datagram := asks(1)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			e.receive(asker(i/repeat), to, datagram, nil)
		}
		b.ReportMetric(float64(d.sent)/float64(b.N), "replies/op")
	}
	b.Run("remembered", func(b *testing.B) { flood(b, Limits{HalfOpen: 1}, 1) })
	b.Run("answered", func(b *testing.B) { flood(b, Limits{HalfOpen: -1}, 1) })
	b.Run("answered again", func(b *testing.B) {
		flood(b, Limits{HalfOpen: -1, RatePerSource: -1, ReplyFactor: -1}, recordMessagesMax)
	})
	b.Run("above the rate", func(b *testing.B) { flood(b, Limits{HalfOpen: -1}, 1<<30) })
}

func TestAHalfOpenTunnelCostsNoMoreThanItsRecord(t *testing.T) {
	// "compact records of at most 512 bytes, 4,096 at most": with their places in three
	// maps, which are filled by 7/16 at worst.
	var h halfOpenTable
	record, entries := unsafe.Sizeof(halfOpenRecord{}), 0
	for _, m := range []any{h.byKey, h.byID, h.sources} {
		m := reflect.TypeOf(m)
		entries += int(reflect.StructOf([]reflect.StructField{{Name: "K", Type: m.Key()}, {Name: "V", Type: m.Elem()}}).Size()) + 1
	}
	if size := int(record) + entries*16/7 + 2; size > 512 {
		t.Errorf("a half-open tunnel costs %d bytes, %d of them its record", size, record)
	}
}
