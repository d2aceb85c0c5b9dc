package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/l2tpnet/l2tpnet/endpoint/decode"
)

type decodeCmd struct {
	File       string   `arg:"" placeholder:"FILE" help:"A capture in pcap or pcapng format; - is standard input."`
	Port       []uint16 `placeholder:"PORT" help:"UDP port with L2TP besides 1701; may be repeated."`
	SecretFile string   `env:"L2TPNET_SECRET_FILE" placeholder:"FILE" help:"File with the tunnel secret alone, to unhide hidden AVPs and to check digests of L2TPv3; or set L2TPNET_SECRET to the secret itself."`
}

func (cmd *decodeCmd) Run(p *program) error {
	secret, err := readSecret("tunnel secret", cmd.SecretFile, "L2TPNET_SECRET")
	if err != nil {
		return err
	}
	in, name := io.Reader(nil), cmd.File
	if cmd.File == "-" {
		in, name = untilDone(p.ctx, os.Stdin), "standard input"
	} else {
		f, err := os.Open(cmd.File)
		if err != nil {
			return usage(fmt.Errorf("cannot read the capture: %w", err), "")
		}
		defer f.Close()
		in = f
	}
	err = decode.Print(p.stdout, in, &decode.Config{Ports: cmd.Port, Secret: []byte(secret)})
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE): // who closes the pipe has read enough
		return nil
	case errors.Is(err, decode.ErrFormat):
		return usage(fmt.Errorf("%s: %w", name, err), "captures are made by --pcap, tcpdump -w, dumpcap or Wireshark")
	case errors.Is(err, decode.ErrNothing):
		return usage(fmt.Errorf("%s: %w", name, err), "L2TP on another UDP port than 1701 is found with --port")
	}
	return usage(fmt.Errorf("%s: %w", name, err), "")
}

// untilDone reads from r, and ends when ctx does: what was read so far is worth a
// summary.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	context.AfterFunc(ctx, func() { in.Close() })
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	return out
}
