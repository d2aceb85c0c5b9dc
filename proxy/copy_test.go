package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// isReset tells whether an error is a connection's end that is not in order.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// A flow is a running splice between two real connections, whose far ends the
// test has.
type flow struct {
	client, target *net.TCPConn // the far ends
	cancel         context.CancelCauseFunc
	ended          chan struct{}
	up, down       int64
	err            error
}

func newFlow(t *testing.T, first string) *flow {
	t.Helper()
	pair := func() (far, near *net.TCPConn) {
		ln := listen(t)
		far = dial(t, ln.Addr().String())
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return far, c.(*net.TCPConn)
	}
	f := &flow{ended: make(chan struct{})}
	var client, target *net.TCPConn
	f.client, client = pair()
	f.target, target = pair()
	var ctx context.Context
	ctx, f.cancel = context.WithCancelCause(t.Context())
	go func() {
		defer close(f.ended)
		f.up, f.down, f.err = splice(ctx, client, target, []byte(first), nil)
	}()
	t.Cleanup(func() { f.cancel(nil); <-f.ended })
	return f
}

func (f *flow) wantEnded(t *testing.T, up, down int64) {
	t.Helper()
	<-f.ended
	if f.up != up || f.down != down || f.err != nil {
		t.Errorf("the flow ended with %d up, %d down, %v; want %d, %d and no error", f.up, f.down, f.err, up, down)
	}
}

// 8 MiB up, FIN, 1 MiB back: nothing lost, and the end is one in order.
func TestHalfClose(t *testing.T) {
	f := newFlow(t, "")
	up, down := noise(1, 8<<20), noise(2, 1<<20)
	var far sync.WaitGroup
	far.Go(func() {
		got, err := io.ReadAll(f.target)
		if err != nil || !bytes.Equal(got, up) {
			t.Errorf("the target got %d bytes, %v; want the %d that were sent", len(got), err, len(up))
		}
		f.target.Write(down)
		f.target.CloseWrite()
	})
	if _, err := f.client.Write(up); err != nil {
		t.Fatal(err)
	}
	f.client.CloseWrite()
	got, err := io.ReadAll(f.client)
	if err != nil || !bytes.Equal(got, down) {
		t.Errorf("the client got %d bytes, %v; want the %d that were sent", len(got), err, len(down))
	}
	far.Wait()
	f.wantEnded(t, int64(len(up)), int64(len(down)))
}

// The same with the other end closing first, and both directions at once.
func TestBothDirectionsAtOnce(t *testing.T) {
	f := newFlow(t, "")
	data := noise(3, 4<<20)
	f.target.CloseWrite()
	wantEnd(t, f.client, "")
	write(t, f.client, "still going")
	wantBytes(t, f.target, "still going")
	f.client.CloseWrite()
	wantEnd(t, f.target, "")
	f.wantEnded(t, int64(len("still going")), 0)

	f = newFlow(t, "")
	var far sync.WaitGroup
	for _, c := range []*net.TCPConn{f.client, f.target} {
		far.Go(func() {
			c.Write(data)
			c.CloseWrite()
		})
		far.Go(func() {
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came, %v; want the %d that were sent", len(got), err, len(data))
			}
		})
	}
	far.Wait()
	f.wantEnded(t, int64(len(data)), int64(len(data)))
}

func TestWhatWasSentAheadComesFirst(t *testing.T) {
	f := newFlow(t, "ahead, ")
	write(t, f.client, "and after")
	f.client.CloseWrite()
	wantEnd(t, f.target, "ahead, and after")
	f.target.Close()
	f.wantEnded(t, int64(len("ahead, and after")), 0)
}

// A stream that is cut short must not look like one that is complete.
func TestAResetIsPassedOn(t *testing.T) {
	for _, who := range []string{"client", "target"} {
		t.Run(who, func(t *testing.T) {
			f := newFlow(t, "")
			from, to := f.client, f.target
			if who == "target" {
				from, to = to, from
			}
			write(t, from, "the beginning")
			wantBytes(t, to, "the beginning")
			from.SetLinger(0)
			from.Close()
			if _, err := to.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("a read ended with %v, want a reset", err)
			}
			<-f.ended
			if !isReset(f.err) {
				t.Errorf("the flow ended with %v, want a reset", f.err)
			}
		})
	}
}

// A direction that has ended in order is not harmed by what happens later: the
// target resets after its answer, since the client goes on sending, and still
// the client gets the whole answer, late as it reads.
func TestWhatIsCompleteStaysComplete(t *testing.T) {
	ln := listen(t)
	far := dial(t, ln.Addr().String())
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// Most of the answer waits in our own socket for the slow client.
	far.SetReadBuffer(4 << 10)
	near.(*net.TCPConn).SetWriteBuffer(1 << 20)
	answer := noise(4, 64<<10)

	complete := make(chan struct{})
	client := finishing{near.(*net.TCPConn), complete}
	target := resetting{Conn: client, answer: bytes.NewReader(answer), after: complete}
	go func() {
		if _, _, err := splice(t.Context(), client, target, nil, nil); !isReset(err) {
			t.Errorf("the flow ended with %v, want the target's reset", err)
		}
		ln.Close()
	}()
	write(t, far, strings.Repeat("more than one read takes", 1000))
	far.CloseWrite()
	ln.Accept() // until the flow has ended
	wantEnd(t, far, string(answer))
}

// finishing tells when everything has been written to it.
type finishing struct {
	*net.TCPConn
	finished chan struct{}
}

func (c finishing) CloseWrite() error {
	select {
	case <-c.finished:
	default:
		close(c.finished)
	}
	return c.TCPConn.CloseWrite()
}

// resetting gives its answer, and writes to it fail afterwards.
type resetting struct {
	net.Conn
	answer io.Reader
	after  chan struct{}
}

func (c resetting) Read(p []byte) (int, error) { return c.answer.Read(p) }
func (c resetting) Write(p []byte) (int, error) {
	<-c.after
	return 0, syscall.ECONNRESET
}
func (c resetting) SetReadDeadline(time.Time) error { return nil }
func (c resetting) Close() error                    { return nil }

func TestTheEndOfTheContextResets(t *testing.T) {
	f := newFlow(t, "")
	write(t, f.client, "up")
	wantBytes(t, f.target, "up")
	// One direction has ended already: the other one must not keep the flow.
	f.client.CloseWrite()
	wantEnd(t, f.target, "")
	why := errors.New("the tunnel is down")
	f.cancel(why)
	<-f.ended
	if f.err != why || f.up != 2 {
		t.Errorf("the flow ended with %d up, %v; want 2, %v", f.up, f.err, why)
	}
	if _, err := f.client.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("the client's read ended with %v, want a reset", err)
	}
}

// A connection without CloseWrite is closed at the end of what it is sent.
func TestWithoutHalfClose(t *testing.T) {
	client, near := net.Pipe()
	far, target := net.Pipe()
	ended := make(chan error)
	go func() {
		_, _, err := splice(t.Context(), near, target, nil, nil)
		ended <- err
	}()
	go func() {
		io.WriteString(client, "request")
		client.Close()
	}()
	wantEnd(t, far, "request")
	<-ended
}

// pooled tells how many of the largest buffers are out.
func pooled() int { return int(busyOut.Load()) }

// A flow that proves busy gets larger buffers, and gives them back when it
// moves little or nothing. What it carries is the same all along.
func TestBuffersGrowAndGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := net.Pipe()
		far, target := net.Pipe()
		sizes := &sizes{Conn: near}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			splice(t.Context(), sizes, target, nil, nil)
		}()
		exchange := func(b []byte) {
			t.Helper()
			go client.Write(b)
			got := make([]byte, len(b))
			if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%v, or other bytes than were sent", err)
			}
			synctest.Wait()
		}
		want := func(size int, when string) {
			t.Helper()
			if n := int(sizes.last.Load()); n != size {
				t.Errorf("%s, a read waits with %d bytes, want %d", when, n, size)
			}
			if out := pooled(); out != 0 && size != busySize || out != 1 && size == busySize {
				t.Errorf("%s, %d of the largest buffers are out", when, out)
			}
		}
		synctest.Wait()
		want(waitSize, "at first")
		exchange(noise(6, 100))
		want(waitSize, "after a few bytes")
		exchange(noise(7, 3000))
		want(middleSize, "after more than the smallest holds")
		exchange(noise(8, 1<<20))
		want(busySize, "after a megabyte")
		time.Sleep(idle / 2)
		exchange(noise(9, 1<<20))
		want(busySize, "while it is busy")
		time.Sleep(idle)
		synctest.Wait()
		want(busySize, "in the second after that")
		time.Sleep(idle)
		synctest.Wait()
		want(waitSize, "after a second without anything")
		exchange(noise(10, 100))
		time.Sleep(time.Hour)
		exchange(noise(11, 1<<20))
		want(busySize, "busy again after an hour")

		// A trickle does not keep a large buffer.
		for range 30 {
			time.Sleep(idle / 10)
			exchange(noise(12, 10))
		}
		want(waitSize, "while it trickles")
		client.Close()
		<-ended
		if n := pooled(); n != 0 {
			t.Errorf("%d of the largest buffers are out after the end", n)
		}
	})
}

// sizes records what is read into.
type sizes struct {
	net.Conn
	last atomic.Int64
}

func (s *sizes) Read(p []byte) (int, error) {
	s.last.Store(int64(len(p)))
	return s.Conn.Read(p)
}

func TestTheLargestBuffersAreFew(t *testing.T) {
	var all []*buffer
	for range busyMax + 5 {
		b := newBuffer()
		for range 1 + busyAfter {
			b.read(len(b.bytes))
		}
		all = append(all, b)
	}
	if n := pooled(); n != busyMax {
		t.Errorf("%d of the largest buffers are out, want %d", n, busyMax)
	}
	if n := len(all[busyMax].bytes); n != middleSize {
		t.Errorf("the next one has %d bytes, want %d", n, middleSize)
	}
	all[0].release()
	if b := all[busyMax]; true {
		if b.read(len(b.bytes)); len(b.bytes) != busySize {
			t.Errorf("when one has been given back, the next one has %d bytes, want %d", len(b.bytes), busySize)
		}
	}
	for _, b := range all {
		b.release()
		b.release() // twice does nothing
	}
	if n := pooled(); n != 0 {
		t.Errorf("%d of the largest buffers are out at the end", n)
	}
}

// A target whose writes stop short is one that failed.
func TestAFailedWriteEndsTheFlow(t *testing.T) {
	f := newFlow(t, "")
	f.target.CloseRead()
	f.target.SetLinger(0)
	f.target.Close()
	io.Copy(f.client, strings.NewReader(strings.Repeat("x", 1<<20)))
	<-f.ended
	if f.err == nil {
		t.Error("the flow ended without an error")
	}
}
