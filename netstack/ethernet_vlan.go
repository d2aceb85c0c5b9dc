package netstack

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// maxVLAN is the last identifier that a VLAN can have (IEEE 802.1Q: 4095 is reserved, and
// 0 says that a tag has a priority only).
const maxVLAN = 4094

// AddVLAN adds a sub-interface for the frames that have the tag of an 802.1Q VLAN, from 1
// to 4094. It has addresses, routes and neighbors of its own; its MAC address is the
// interface's, and its MTU four octets less, for the tag, unless cfg says otherwise. It
// ends with the interface.
func (n *EthernetNIC) AddVLAN(id uint16, cfg *EthernetConfig) (*EthernetNIC, error) {
	if n.layer.vlan != 0 {
		return nil, fmt.Errorf("netstack: a VLAN in the VLAN %d is not supported", n.layer.vlan)
	}
	if id == 0 || id > maxVLAN {
		return nil, fmt.Errorf("netstack: the VLAN %d is not from 1 to %d", id, maxVLAN)
	}
	at, c := n.layer.mac, *cfg
	s := n.stack()
	if len(cfg.MAC) > 0 {
		var err error
		if at, err = s.chooseMAC(cfg.MAC); err != nil {
			return nil, fmt.Errorf("netstack: %w", err)
		}
	}
	if c.MTU == 0 {
		c.MTU = n.mtu() - tagLen
	}
	n.subs.Lock()
	defer n.subs.Unlock()
	if err := context.Cause(n.life()); err != nil {
		return nil, fmt.Errorf("netstack: %w", err)
	}
	if n.vlans[id] != nil {
		return nil, fmt.Errorf("netstack: the VLAN %d has a sub-interface already", id)
	}
	sub, err := s.addEthernet(n.layer.out, &c, at, id)
	if err != nil {
		return nil, err
	}
	sub.above = n
	if n.vlans == nil {
		n.vlans = make(map[uint16]*EthernetNIC)
	}
	n.vlans[id] = sub
	n.tell()
	return sub, nil
}

// tell tells the layer which VLANs there are, under n.subs.
func (n *EthernetNIC) tell() {
	layers := make(map[uint16]*etherLayer, len(n.vlans))
	for id, sub := range n.vlans {
		layers[id] = sub.layer
	}
	n.layer.vlans.Store(&layers)
}

// leave takes the sub-interface out of its interface.
func (n *EthernetNIC) leave() {
	if n.above == nil {
		return
	}
	n.above.subs.Lock()
	defer n.above.subs.Unlock()
	if n.above.vlans[n.layer.vlan] == n {
		delete(n.above.vlans, n.layer.vlan)
		n.above.tell()
	}
}

// children are the sub-interfaces, in the order of their VLANs.
func (n *EthernetNIC) children() (list []*EthernetNIC) {
	n.subs.Lock()
	defer n.subs.Unlock()
	for _, id := range slices.Sorted(maps.Keys(n.vlans)) {
		list = append(list, n.vlans[id])
	}
	return list
}

// mtu is what the interface was set up with.
func (n *EthernetNIC) mtu() int {
	if n.nic == nil {
		return int(n.port.given)
	}
	return int(n.nic.given)
}

func (n *EthernetNIC) stack() *Stack {
	if n.nic == nil {
		return n.router.stack
	}
	return n.nic.stack
}

// life is how long the interface lasts.
func (n *EthernetNIC) life() context.Context {
	if n.nic == nil {
		return n.router.life
	}
	return n.nic.life
}
