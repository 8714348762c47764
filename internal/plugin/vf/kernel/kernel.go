// Package kernel is what the engine of package vf works on: interfaces, namespaces and
// PFs of the running machine.
package kernel

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin/vf"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/sriov/pf"
)

// PF is vf.PF on the running machine.
type PF struct{}

var _ vf.PF = PF{}

// Read gives what the PF keeps of a VF.
func (PF) Read(netdev string, n int) (*sriov.VFSettings, error) { return pf.Read(netdev, n) }

// MTU gives the MTU of the PF's own interface.
func (PF) MTU(netdev string) (int, error) {
	l, err := netlink.LinkByName(netdev)
	if err != nil {
		return 0, fmt.Errorf("PF %s: %w", netdev, err)
	}
	return l.Attrs().MTU, nil
}

// SetMAC sets the administrative MAC.
func (PF) SetMAC(netdev string, n int, mac string) error { return pf.SetMAC(netdev, n, mac) }

// SetVLAN sets VLAN, priority and protocol.
func (PF) SetVLAN(netdev string, n int, s *sriov.VFSettings) error { return pf.SetVLAN(netdev, n, s) }

// SetRate sets both limits.
func (PF) SetRate(netdev string, n int, minimum, maximum uint32) error {
	return pf.SetRate(netdev, n, minimum, maximum)
}

// SetSpoofChk turns the check of the source MAC on or off.
func (PF) SetSpoofChk(netdev string, n int, on bool) error { return pf.SetSpoofChk(netdev, n, on) }

// SetTrust turns trust on or off.
func (PF) SetTrust(netdev string, n int, on bool) error { return pf.SetTrust(netdev, n, on) }

// SetLinkState sets the state that the VF sees.
func (PF) SetLinkState(netdev string, n int, state string) error {
	return pf.SetLinkState(netdev, n, state)
}

// SetGUIDs sets the Infiniband GUIDs.
func (PF) SetGUIDs(netdev string, n int, node, port string) error {
	return pf.SetGUIDs(netdev, n, node, port)
}

// Links is vf.Links on the running machine.
type Links struct{ Sysfs sriov.Sysfs }

var _ vf.Links = Links{}

// Namespace identifies a network namespace, and reports whether there is one: a file that
// is left over where a namespace was mounted is none.
func (Links) Namespace(path string) (host.NetNSID, bool) { return host.IdentifyNetNS(path) }

// MountNS is host.MountNS.
func (Links) MountNS() uint64 { return host.MountNS() }

// Hidden is host.NetNSHidden.
func (Links) Hidden(path string, id host.NetNSID, mountNS uint64) bool {
	return host.NetNSHidden(path, id, mountNS)
}

// open gives a namespace; "" is the host's own.
func open(ns string) (netns.NsHandle, error) {
	if ns == "" {
		return netns.Get()
	}
	handle, err := netns.GetFromPath(ns)
	if err != nil {
		return handle, fmt.Errorf("network namespace %s: %w", ns, err)
	}
	return handle, nil
}

// overNetlink uses a netlink socket of a namespace.
func overNetlink(ns string, do func(*netlink.Handle) error) error {
	fd, err := open(ns)
	if err != nil {
		return err
	}
	defer fd.Close()
	handle, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", ns, err)
	}
	defer handle.Close()
	return do(handle)
}

// onThreadIn runs do on a thread in a namespace ("" is the host's own): for sockets and
// sysctls, which are those of the thread.
func onThreadIn(path string, do func() error) error {
	if path == "" {
		return do()
	}
	return ns.WithNetNSPath(path, func(ns.NetNS) error { return do() })
}

// device is the handle by which a request names an interface.
func device(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func describe(l netlink.Link) *vf.Link {
	attrs := l.Attrs()
	return &vf.Link{
		Index: attrs.Index, Name: attrs.Name, AltNames: attrs.AltNames, MAC: attrs.HardwareAddr.String(), MTU: attrs.MTU,
		Up: attrs.RawFlags&unix.IFF_UP != 0, Infiniband: attrs.EncapType == "infiniband",
	}
}

// Find gives the interface of a device in a namespace, nil if it is not there.
func (k Links) Find(ns, dev string) (*vf.Link, error) {
	all, err := links(ns)
	if err != nil {
		return nil, err
	}
	return k.pick(ns, dev, all), nil
}

// pick finds a device's interface. Kernels before 5.14 do not say of an interface which
// device it is of: there its driver is asked.
func (k Links) pick(ns, dev string, links []netlink.Link) *vf.Link {
	named := false
	for _, l := range links {
		named = named || l.Attrs().ParentDev != ""
		if l.Attrs().ParentDev == dev {
			return describe(l)
		}
	}
	if named {
		return nil
	}
	var found *vf.Link
	_ = onThreadIn(ns, func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		for _, l := range links {
			info, err := unix.IoctlGetEthtoolDrvinfo(socket, l.Attrs().Name)
			if err == nil && unix.ByteSliceToString(info.Bus_info[:]) == dev {
				found = describe(l)
			}
		}
		return nil
	})
	return found
}

// Search finds the interface of a device in any namespace that is mounted where
// namespaces are, or that a process is in.
func (k Links) Search(dev string) (string, *vf.Link, error) {
	own, _ := host.NetNS("/proc/self/ns/net")
	seen := map[uint64]bool{own: true}
	for _, pattern := range []string{"/run/netns/*", "/run/docker/netns/*", "/proc/[0-9]*/ns/net"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return "", nil, err
		}
		for _, path := range paths {
			inode, exists := host.NetNS(path)
			if !exists || seen[inode] {
				continue
			}
			seen[inode] = true
			if link, err := k.Find(path, dev); err == nil && link != nil {
				return path, link, nil
			}
		}
	}
	return "", nil, nil
}

// Exists reports whether a name is taken, be it as an alternative name.
func (Links) Exists(ns, name string) (bool, error) {
	exists := false
	err := overNetlink(ns, func(handle *netlink.Handle) error {
		_, err := handle.LinkByName(name)
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return nil
		}
		exists = err == nil
		return err
	})
	return exists, err
}

// Rename gives an interface, which must be down, another name.
func (Links) Rename(ns string, index int, name string) error {
	return overNetlink(ns, func(handle *netlink.Handle) error { return handle.LinkSetName(device(index), name) })
}

// AddAltName gives an interface one more alternative name.
func (Links) AddAltName(ns string, index int, name string) error {
	return overNetlink(ns, func(handle *netlink.Handle) error { return handle.LinkAddAltName(device(index), name) })
}

// RemoveAltName removes an alternative name of an interface.
func (Links) RemoveAltName(ns string, index int, name string) error {
	return overNetlink(ns, func(handle *netlink.Handle) error { return handle.LinkDelAltName(device(index), name) })
}

// Move moves an interface from one namespace to another.
func (Links) Move(ns string, index int, to string) error {
	target, err := open(to)
	if err != nil {
		return err
	}
	defer target.Close()
	return overNetlink(ns, func(handle *netlink.Handle) error { return handle.LinkSetNsFd(device(index), int(target)) })
}

// SetUp brings an interface up or takes it down.
func (Links) SetUp(ns string, index int, up bool) error {
	return overNetlink(ns, func(handle *netlink.Handle) error {
		if up {
			return handle.LinkSetUp(device(index))
		}
		return handle.LinkSetDown(device(index))
	})
}

// SetMAC sets the address of an interface itself.
func (Links) SetMAC(ns string, index int, mac string) error {
	address, err := parseMAC(mac)
	if err != nil {
		return err
	}
	return overNetlink(ns, func(handle *netlink.Handle) error { return handle.LinkSetHardwareAddr(device(index), address) })
}

// SetMTU sets the MTU of an interface.
func (Links) SetMTU(ns string, index, mtu int) error {
	return overNetlink(ns, func(handle *netlink.Handle) error { return handle.LinkSetMTU(device(index), mtu) })
}
