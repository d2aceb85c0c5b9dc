package endpoint_test

import (
	"context"
	"log"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// The other end is QEMU's
//
//	-netdev l2tpv3,id=n,src=127.0.0.1,dst=127.0.0.1,srcport=1702,dstport=1701,udp=on,txsession=1,rxsession=2,cookie64=on,txcookie=0x1122334455667788,rxcookie=0x8877665544332211
func ExampleEndpoint_Static() {
	ep, err := endpoint.Listen("udp", "127.0.0.1:1701", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer ep.Close()
	session, err := ep.Static(context.Background(), "127.0.0.1:1702", &endpoint.StaticConfig{
		SessionID: 1, PeerCookie: []byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88},
		PeerSessionID: 2, Cookie: []byte{0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11},
	})
	if err != nil {
		log.Fatal(err)
	}
	session.Attach(link.SinkFunc(func(frames *link.Batch) {
		for i := range frames.Frames {
			log.Printf("a frame of %d octets", frames.Frames[i].Len())
		}
	}))
}

// An aggregator: calls of a LAC go on to an LNS behind it, which has PPP end there.
func ExampleSwitch() {
	ctx := context.Background()
	ep, err := endpoint.Listen("udp", ":1701", &endpoint.Config{Answer: &endpoint.AnswerConfig{
		Secret: "between the LAC and us",
		RawPPP: func(endpoint.Call) bool { return true },
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer ep.Close()
	onward, err := ep.Dial(ctx, "lns.example.net", &endpoint.TunnelConfig{Secret: "between us and the LNS"})
	if err != nil {
		log.Fatal(err)
	}
	for {
		in, err := ep.Accept(ctx)
		if err != nil {
			return
		}
		go func() {
			out, err := onward.OpenRawPPP(ctx, in)
			if err != nil {
				in.Close()
				return
			}
			if err := endpoint.Switch(in, out); err != nil {
				in.Close()
				out.Close()
			}
		}()
	}
}
