// Package guest boots a small Linux machine in QEMU, so that tests meet real peers: xl2tpd, pppd and the kernel's own
// L2TP. It needs no privileges, no KVM and no modules on the host; everything inside comes from Debian packages.
//
//	go test ──► Guest ──► qemu (TCG, slirp network)
//	  │           ▲            │
//	  │           └─ console ──┤ ttyS0: what the guest says, one tagged line each
//	  └── 127.0.0.1:PORT ──────┤ hostfwd: UDP to a port inside
//	      127.0.0.1:* ◄────────┘ 10.0.2.2 in the guest is the host's loopback
//
// The image is an initramfs (newc cpio, uncompressed: unpacking it in an emulated processor costs more than reading
// it) of busybox, xl2tpd, pppd and their libraries, kernel modules in the order of their dependencies, and init.sh.
// The kernel is Debian's non-cloud one (the cloud one has no PPP); it is fetched once into the cache directory,
// $L2TPNET_GUEST_CACHE or l2tpnet-integration in the user's, and only the parts that are used stay there. To get a newer
// kernel, remove the cache. The image there is named by a digest of its inputs, so it is rebuilt when one of them changes.
//
// What a guest does is chosen by words on the kernel's command line, which init.sh reads:
//
//	lns=1701:pap,1702:mschapv2:secret      an xl2tpd per port, with pppd asking for that authentication; "secret" asks for
//	                                       the tunnel secret too. Behind it are a web server and a DNS server on 10.9.0.1.
//	lac=1701:chap:secret:10.77.0.1,...     xl2tpd calls 10.0.2.2 on that port, once per entry and in turn; pppd refuses
//	                                       every other authentication; then it pings the address and fetches /blob from it.
//
// The user is alice with the password s3cret, and the tunnel secret is tunsecret.
package guest
