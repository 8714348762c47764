package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The networks between the nodes. They live in the tests' own network namespace, which is the
// control plane's machine too.
var (
	nodeNetwork  = netip.MustParsePrefix("10.199.0.0/24") // eth0 of the nodes
	otherNetwork = netip.MustParsePrefix("10.198.0.0/24") // eth1 of the nodes, for further networks of pods
	podNetwork   = netip.MustParsePrefix("10.244.0.0/16") // node N has 10.244.N.0/24
	// serviceIP is the address of the service "kubernetes", where the API server listens:
	// so containers find it, and no kube-proxy need run.
	serviceIP = netip.MustParseAddr("10.0.0.1")
)

// makeFabric makes the switches that the nodes are wired to, and the control plane's addresses.
func makeFabric() error {
	if _, err := netlink.LinkByName("br0"); err == nil {
		return nil // of the cluster before
	}
	for name, network := range map[string]netip.Prefix{"br0": nodeNetwork, "br1": otherNetwork} {
		// With a MAC of its own. Otherwise it has that of one of its ports, and changes it when nodes
		// come and go: those that stay would not find the API server for most of a minute.
		mac := append(net.HardwareAddr{2, 0}, network.Addr().AsSlice()...)
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: mac}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("make switch %s: %w", name, err)
		}
		if err := addAddress(name, netip.PrefixFrom(host(network, 1), network.Bits())); err != nil {
			return err
		}
	}
	return addAddress("lo", netip.PrefixFrom(serviceIP, 32))
}

// addAddress gives an interface an address and brings it up.
func addAddress(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		addr := &netlink.Addr{IPNet: ipNet(address)}
		if address.Addr().IsLoopback() {
			// Otherwise it is the source of what leaves by an interface without an address, as
			// Calico's are, and nobody answers.
			addr.Scope = unix.RT_SCOPE_HOST
		}
		err = netlink.AddrAdd(link, addr)
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, address, err)
	}
	return nil
}

// wire plugs a node's interfaces into the switches.
func (n *Node) wire() error {
	for i, network := range []netip.Prefix{nodeNetwork, otherNetwork} {
		if err := n.plug(i, netip.PrefixFrom(host(network, 10+n.Index), network.Bits())); err != nil {
			return fmt.Errorf("wire %s: %w", n.Name, err)
		}
	}
	return n.thread.Do(func() error {
		if err := addAddress("lo", netip.MustParsePrefix("127.0.0.1/8")); err != nil && !isExist(err) {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: host(nodeNetwork, 1).AsSlice()})
	})
}

func (n *Node) plug(i int, address netip.Prefix) error {
	port := fmt.Sprintf("%s.%d", n.Name, i)
	bridge, err := netlink.LinkByName(fmt.Sprintf("br%d", i))
	if err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index},
		PeerName:      fmt.Sprintf("eth%d", i),
		PeerNamespace: netlink.NsPid(n.init.PID()),
	}
	if old, err := netlink.LinkByName(port); err == nil {
		_ = netlink.LinkDel(old) // of before a reboot, which the kernel is about to remove
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return err
	}
	return n.thread.Do(func() error { return addAddress(veth.PeerName, address) })
}

// routePods makes the routes to the pods of the nodes, as flannel's host-gw does: for a cluster
// network that has nobody to make them.
func (c *Cluster) routePods() error {
	for _, to := range c.nodes {
		route := func() error {
			err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(to.podCIDR()), Gw: host(nodeNetwork, 10+to.Index).AsSlice()})
			if err != nil {
				return fmt.Errorf("make a route to the pods of %s: %w", to.Name, err)
			}
			return nil
		}
		if err := route(); err != nil { // the control plane's own
			return err
		}
		for _, from := range c.nodes {
			if from != to {
				if err := from.thread.Do(route); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// host gives an address of a network by its last byte.
func host(network netip.Prefix, last int) netip.Addr {
	b := network.Addr().As4()
	b[3] = byte(last)
	return netip.AddrFrom4(b)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

func isExist(err error) bool { return errors.Is(err, unix.EEXIST) }
