package endpoint

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A logbook is a log that may be read while it is written.
type logbook struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

// count is how many lines have these words.
func (l *logbook) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), words)
}

// acknowledge has a script say what it has heard, and waits until that has come.
func acknowledge(s *script3) {
	b := wire.AppendV3ControlHeader(nil, s.peer, s.ns, s.nr)
	wire.SetLength(b)
	s.conn.WriteTo(b, s.to)
	synctest.Wait()
}

// What a peer may do as often as it likes does not fill the log: sessions that are refused, and
// circuits that come and go, are told of once a second.
func TestV3PeersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		n := simnet.New(1)
		server := host(t, n, lnsAddr, &Config{HostName: "lns", Rand: random(1, 's'), Logger: slog.New(slog.NewTextHandler(log, nil)),
			Answer: &AnswerConfig{V3: &V3Config{}, Pseudowire: func(c Call) (*PseudowireConfig, error) {
				if c.RemoteEndID == "taken" {
					return nil, ErrCircuitInUse
				}
				return nil, nil
			}}})
		defer server.Close()
		s := scriptedV3(t, n)
		s.tunnel(7)
		refused := func(k uint32) {
			s.write(&wire.Message{Type: wire.ICRQ, AssignedSessionID: k, CallSerialNumber: 1, V3: wire.V3{PseudowireType: 5, RemoteEndID: []byte("taken"), CircuitStatus: 1}})
			s.wantMessage(wire.CDN)
			acknowledge(s)
		}
		for k := range uint32(200) {
			refused(100 + k)
		}
		if k := log.count("pseudowire refused"); k != 1 {
			t.Errorf("of 200 refused sessions %d are logged, want 1", k)
		}
		time.Sleep(2 * time.Second)
		refused(999)
		if k := log.count("pseudowire refused"); k != 2 {
			t.Errorf("2 s later %d are logged, want 2", k)
		}

		s.write(&wire.Message{Type: wire.ICRQ, AssignedSessionID: 9, CallSerialNumber: 1, V3: wire.V3{PseudowireType: 5, CircuitStatus: 1}})
		id := s.wantMessage(wire.ICRP).AssignedSessionID
		s.write(&wire.Message{Type: wire.ICCN, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: id}})
		synctest.Wait()
		time.Sleep(2 * time.Second)
		before := log.count("the peer's circuit")
		toggle := func(status uint16) {
			m := &wire.Message{Type: wire.SLI, AssignedSessionID: 9, V3: wire.V3{RemoteSessionID: id, CircuitStatus: status}}
			m.Set(wire.AVPCircuitStatus)
			s.write(m)
			synctest.Wait()
		}
		for k := range uint16(200) {
			toggle(k % 2) // beginning with inactive
		}
		if k := log.count("the peer's circuit") - before; k != 1 {
			t.Errorf("of 200 changes of a circuit %d are logged, want 1", k)
		}
		time.Sleep(2 * time.Second)
		toggle(0) // active before
		if k := log.count("the peer's circuit") - before; k != 2 {
			t.Errorf("2 s later %d are logged, want 2", k)
		}
	})
}
