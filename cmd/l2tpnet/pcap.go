package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// captureFlag is for all commands that have tunnels.
type captureFlag struct {
	Pcap string `type:"path" placeholder:"FILE" help:"Write the datagrams and the packets inside to FILE, for Wireshark and for l2tpnet decode. Keep it secret: PAP's passwords are in it, and all that the tunnels carry."`
}

// A recording is a file that an endpoint's capture goes to. Nil: nobody wants one.
type recording struct {
	p    *program
	file *os.File
	stop func() error
}

// create makes the file that the flag names, which is its owner's alone, or says
// that it cannot be had, before anybody is called.
func (f *captureFlag) create(p *program) (*recording, error) {
	if f.Pcap == "" {
		return nil, nil
	}
	file, err := openUntil(p.ctx, f.Pcap)
	if err != nil {
		return nil, cannotCapture(err)
	}
	// One that was there before keeps its mode. A pipe's is not ours to change.
	if st, err := file.Stat(); err == nil && st.Mode().IsRegular() {
		if err := file.Chmod(0o600); err != nil {
			file.Close()
			return nil, cannotCapture(err)
		}
	}
	return &recording{p: p, file: file}, nil
}

// openUntil opens a file to write it anew, until ctx is done: a named pipe opens when
// somebody reads it.
func openUntil(ctx context.Context, name string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		opened <- result{file, err}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-ctx.Done(): // and the process is about to end
		return nil, ctx.Err()
	}
}

// captureGrace is how long the program's end waits for the reader of a pipe.
const captureGrace = time.Second

func cannotCapture(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return usage(fmt.Errorf("cannot write the capture: %w", err), "--pcap names the file to write; one that is there already is overwritten")
}

// begin has a node or an endpoint write what it sends and receives.
func (r *recording) begin(of interface {
	Capture(io.Writer) (func() error, error)
}) (err error) {
	if r == nil {
		return nil
	}
	if r.stop, err = of.Capture(r.file); err != nil {
		return cannotCapture(err)
	}
	return nil
}

// end completes the file, after the endpoint has said its goodbyes. Packets that
// are missing are worth a word; they are no failure.
func (r *recording) end() error {
	if r == nil {
		return nil
	}
	// Who reads a pipe may have stopped to do so, and must not keep us. A file has no
	// deadline, and needs none.
	r.file.SetWriteDeadline(time.Now().Add(captureGrace))
	var err error
	if r.stop != nil {
		err = r.stop()
	}
	var loss *endpoint.CaptureLossError
	if errors.As(err, &loss) {
		fmt.Fprintf(r.p.stderr, "l2tpnet: %s: %v\n", r.file.Name(), loss)
		err = nil
	}
	if err = cmp.Or(err, r.file.Close()); err != nil {
		return fmt.Errorf("the capture is not complete: %w", err)
	}
	return nil
}
