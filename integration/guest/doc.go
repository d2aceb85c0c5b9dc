// Package guest boots a small Linux machine in QEMU, so that tests meet real peers: xl2tpd, pppd and the kernel's own
// L2TP. It needs no privileges, no KVM and no modules on the host; everything inside comes from Debian packages.
//
//	go test ──► Guest ──► qemu (TCG, slirp network)
//	  │           ▲            │
//	  │           └─ console ──┤ ttyS0: a shell; everything that happens inside is said there
//	  └── 127.0.0.1:PORT ──────┤ hostfwd: UDP to a port inside
//	      127.0.0.1:* ◄────────┘ 10.0.2.2 in the guest is the host's loopback
//
// The image is an initramfs (newc cpio, uncompressed: unpacking it in an emulated processor costs more than reading
// it) of busybox, xl2tpd, pppd and their libraries, kernel modules in the order of their dependencies, and init.sh.
// The kernel is Debian's non-cloud one (the cloud one has no PPP); it is fetched once into the cache directory,
// $L2TPNET_GUEST_CACHE or l2tpnet-integration in the user's, and only the parts that are used stay there. To get a newer
// kernel, remove the cache. The image there is named by the digest of its contents.
//
// What a guest does is told it by lines on its console ([Guest.Run]), which its shell evaluates. Beside busybox's
// commands and /usr/sbin/ip there are functions, which init.sh defines:
//
//	lns PORT AUTH [OPTION…]    starts an xl2tpd whose pppd asks for AUTH: pap, chap, mschapv2, or eap (MD5, and MSCHAPv2 for who
//	                           wants that). Behind it are a web server, with /blob, and a DNS server, both on 10.9.0.1.
//	lac PORT AUTH [OPTION…]    starts an xl2tpd that calls 10.0.2.2 on that port, whose pppd refuses every other
//	                           authentication, and waits until ppp0 is up
//
//	    secret                 asks for the tunnel secret
//	    hidden                 sets xl2tpd's "hidden bit", which needs secret
//	    mppe, mppe40           insists on MPPE, stateless with 128 or 40 bit, which needs mschapv2
//	    ipv6                   has IPv6 too: fe80::1 is the server and fe80::2 the caller, and neither takes anything else.
//	                           Behind lns the servers are on 2001:db8:9::1, and only router advertisements say so.
//
//	fetch URL [SITE]           says "guest: sha256 DIGEST" of what is there
//	hangup PORT                ends the call, and then the tunnel, that lac has opened, and waits until ppp0 is gone
//
//	site NAME DEVICE           gives the device, one of [Config.Netdevs] for example, a network namespace of its own
//	at SITE PROGRAM…           runs it in there
//	lease SITE DEVICE          has the site get an address by DHCP, and says "guest: DEVICE leased ADDRESS/BITS, router ADDRESS, …"
//	web [SITE]                 starts the web server, which has /blob, the first 1 MiB of that as /megabyte, and /cgi-bin/sha256,
//	                           which answers a POST with the digest of what has come
//
//	l2tpstat TUNNEL SESSION    says "guest: session N: tx_packets N, …", all counters that the kernel has for an L2TP session
//
// The user is alice with the password s3cret, and the tunnel secret is tunsecret.
package guest
