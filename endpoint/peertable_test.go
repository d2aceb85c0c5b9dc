package endpoint

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/udp"
)

// Whatever tunnels come, are established, move, end and go, the table finds what one who
// looks at all of them would find.
func TestTunnelsByTheirPeers(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := &Endpoint{byAddr: map[netip.AddrPort]*peerTunnels{}}
		peers := make([]netip.AddrPort, 4)
		for i := range peers {
			peers[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1701)
		}
		var all []*Tunnel // in the order in which they came to their addresses
		of := func(peer netip.AddrPort) (list []*Tunnel) {
			for _, tun := range all {
				if tun.Peer() == peer {
					list = append(list, tun)
				}
			}
			return list
		}
		first := func(list []*Tunnel, want func(*Tunnel) bool) *Tunnel {
			if i := slices.IndexFunc(list, want); i >= 0 {
				return list[i]
			}
			return nil
		}
		down := func(tun *Tunnel) {
			if !tun.isDown() {
				close(tun.done)
			}
		}
		for step := range 400 {
			peer := peers[r.IntN(len(peers))]
			mine := of(peer)
			var tun *Tunnel
			if len(mine) > 0 {
				tun = mine[r.IntN(len(mine))]
			}
			switch what := r.IntN(7); {
			case what < 2 || tun == nil:
				tun = &Tunnel{ep: e, id: uint32(step), done: make(chan struct{}), contest: uint8(r.IntN(int(versions)))}
				if what != 1 {
					tun.caller = peerID{peer, uint32(step), false}
				}
				tun.path.Store(&udp.Path{Peer: peer})
				all = append(all, tun)
				e.index(tun)
			case what == 2 && tun.upAt.Load() == nil:
				at := time.Now()
				if r.IntN(2) == 0 {
					at = at.Add(-2 * rivalTime)
				}
				version := []uint8{ofV2: 2, ofV3: 3, ofEither: uint8(2 + r.IntN(2))}[tun.contest]
				tun.peerID, tun.version = uint32(step)+1, version
				tun.upAt.Store(&at)
				e.tellUp(tun)
			case what == 3:
				down(tun)
			case what == 4:
				down(tun)
				e.unindex(tun)
				all = slices.DeleteFunc(all, func(o *Tunnel) bool { return o == tun })
			case what == 5:
				e.move(tun, &udp.Path{Peer: peers[r.IntN(len(peers))]})
				all = append(slices.DeleteFunc(all, func(o *Tunnel) bool { return o == tun }), tun)
			}
			for _, peer := range peers {
				mine := of(peer)
				check := func(what string, got, want *Tunnel) {
					t.Helper()
					if got != want {
						t.Fatalf("seed %d, step %d: %s of %v is %s, want %s", seed, step, what, peer, shownTunnel(got), shownTunnel(want))
					}
				}
				for _, v3 := range []bool{false, true} {
					rivals := slices.DeleteFunc(slices.Clone(mine), func(tun *Tunnel) bool {
						return !tun.dialed() || !tun.contends() || tun.version != 0 && (tun.version == 3) != v3 || tun.version == 0 && tun.contest == map[bool]uint8{false: ofV3, true: ofV2}[v3]
					})
					if got := e.rival(peerID{addr: peer, v3: v3}); got == nil && len(rivals) > 0 || got != nil && !slices.Contains(rivals, got) {
						t.Fatalf("seed %d, step %d: the rival of %v, L2TPv3 %v, is %s, one of %d", seed, step, peer, v3, shownTunnel(got), len(rivals))
					}
				}
				var only *Tunnel
				if len(mine) == 1 {
					only = mine[0]
				}
				check("the only one", e.only(peer), only)
				nameless := first(mine, func(tun *Tunnel) bool { return tun.dialed() && tun.peerID == 0 })
				check("the one that nobody has named", e.stopped(peerID{addr: peer, id: 1 << 20}), nameless)
				for _, tun := range mine {
					if name := tun.givenName(); tun.dialed() && name.id != 0 {
						check("the one of a name", e.stopped(peerID{peer, name.id, name.v3}), tun)
						check("the one of no such name", e.stopped(peerID{peer, name.id, !name.v3}), nameless)
					}
					check("the one that is looked for", e.find(peer, func(o *Tunnel) bool { return o == tun }), tun)
				}
				n := 0
				e.find(peer, func(*Tunnel) bool { n++; return false })
				if n != len(mine) || (e.byAddr[peer] != nil) != (n > 0) {
					t.Fatalf("seed %d, step %d: %d tunnels of %v, want %d", seed, step, n, peer, len(mine))
				}
			}
		}
	}
}

func shownTunnel(t *Tunnel) string {
	if t == nil {
		return "none"
	}
	return fmt.Sprintf("tunnel %d", t.id)
}
