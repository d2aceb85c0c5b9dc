package node

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// captureGrace is how long the end of a connection waits for the writer of a capture.
// One that takes longer, as a pipe that nobody reads, ends the capture.
const captureGrace = 2 * time.Second

var errStuckWriter = errors.New("the writer of the capture does not return")

// A recording is a capture that goes on from one endpoint to the next.
type recording struct {
	w io.Writer

	mu          sync.Mutex
	of          *endpoint.Endpoint // that is captured now
	stop        func() error       // of it
	over        bool
	err         error // the writer's
	lost, total uint64
}

// Capture writes what the Client sends and receives to w, as
// [endpoint.Endpoint.Capture] does, from now on and across redials: each attempt is a
// section of the pcapng file. It may begin before Start. There is one at a time
// ([endpoint.ErrCapturing]). Call stop after Close and close w then: it returns
// when all is written, with w's error or an [endpoint.CaptureLossError].
func (c *Client) Capture(w io.Writer) (stop func() error, err error) {
	r := &recording{w: w}
	c.mu.Lock()
	if c.recording != nil {
		c.mu.Unlock()
		return nil, endpoint.ErrCapturing
	}
	c.recording = r
	run := c.run
	c.mu.Unlock()
	if run != nil {
		run.mu.Lock()
		conn := run.conn
		run.mu.Unlock()
		if conn != nil {
			err = r.begin(conn.ep)
		}
	}
	end := func() error {
		err := r.end()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.recording == r {
			c.recording = nil
		}
		return err
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

func (c *Client) captures() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recording != nil
}

// capture begins to capture an endpoint, if somebody wants that.
func (c *Client) capture(ep *endpoint.Endpoint) error {
	c.mu.Lock()
	r := c.recording
	c.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.begin(ep)
}

// captured ends the capture of an endpoint that has closed.
func (c *Client) captured(ep *endpoint.Endpoint) {
	c.mu.Lock()
	r := c.recording
	c.mu.Unlock()
	if r != nil {
		r.closed(ep)
	}
}

// closed ends the capture of an endpoint that has closed.
func (r *recording) closed(ep *endpoint.Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == ep {
		r.leave(captureGrace)
	}
}

// begin captures one endpoint. That the writer has failed is no reason not to
// connect.
func (r *recording) begin(ep *endpoint.Endpoint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.err != nil || r.of == ep {
		return nil
	}
	stop, err := ep.Capture(r.w)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if err != nil {
		r.err = err
		return err
	}
	r.of, r.stop = ep, stop
	return nil
}

// leave completes the section of an endpoint, and waits for the writer as long as
// grace; negative: for ever. Under mu.
func (r *recording) leave(grace time.Duration) {
	done := make(chan error, 1)
	go func(stop func() error) { done <- stop() }(r.stop)
	r.of, r.stop = nil, nil
	var patience <-chan time.Time
	if grace >= 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		patience = timer.C
	}
	var err error
	select {
	case err = <-done:
	case <-patience:
		err = errStuckWriter
	}
	if loss, ok := errors.AsType[*endpoint.CaptureLossError](err); ok {
		r.lost, r.total = r.lost+loss.Lost, r.total+loss.Total
	} else if err != nil && r.err == nil {
		r.err = err
	}
}

func (r *recording) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.stop != nil {
		r.leave(-1)
	}
	if r.err == nil && r.lost > 0 {
		return &endpoint.CaptureLossError{Lost: r.lost, Total: r.total}
	}
	return r.err
}
