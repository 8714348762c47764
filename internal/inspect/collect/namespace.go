//go:build linux

package collect

import (
	"errors"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/inspect"
)

// inside runs a function on a thread in a namespace. The thread ends with it.
func inside(handle netns.NsHandle, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := netns.Set(handle)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// reader reads one namespace, from inside.
type reader struct {
	*netlink.Handle
	ns    *inspect.Namespace
	links []netlink.Link
}

func (c *collector) namespace(ns *opened, isHost bool) (*inspect.Namespace, error) {
	read := &inspect.Namespace{Inode: ns.inode, Host: isHost, Paths: ns.paths, Links: []inspect.Link{}, Sysctls: map[string]string{}}
	err := inside(ns.handle, func() error {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer handle.Close()
		r := &reader{Handle: handle, ns: read}
		if err := r.all(); err != nil {
			return err
		}
		c.resolve(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.devices(read)
	return read, c.number(read, ns)
}

// all reads each part; one that this kernel does not have is empty.
func (r *reader) all() error {
	for _, part := range []func() error{r.readLinks, r.readPorts, r.readAddresses, r.readRoutes, r.readRules, r.readNeighbours, r.readFDB, r.readSysctls, r.readPacketSockets} {
		if err := part(); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) {
			return err
		}
	}
	r.readNetfilter()
	return nil
}

// dump asks for a list again if it changed while it was read.
func dump[T any](f func() ([]T, error)) ([]T, error) {
	return host.Retried(netlink.ErrDumpInterrupted, f)
}

// number gives the namespace the number by which the node knows it.
func (c *collector) number(read *inspect.Namespace, ns *opened) error {
	if read.Host {
		return nil
	}
	return inside(c.opened[0].handle, func() error {
		if id, err := netlink.GetNetNsIdByFd(int(ns.handle)); err == nil && id >= 0 {
			read.NSID = &id
		}
		return nil
	})
}

// resolve finds the namespaces that the links of one lead to: the kernel gives numbers, by
// which this namespace alone knows them.
func (c *collector) resolve(r *reader) {
	wanted := map[int]bool{}
	for _, link := range r.links {
		if id := link.Attrs().NetNsID; id >= 0 {
			wanted[id] = true
		}
	}
	found := map[int]uint64{-1: r.ns.Inode}
	for _, other := range c.opened {
		if len(found) > len(wanted) {
			break
		}
		if id, err := r.GetNetNsIdByFd(int(other.handle)); err == nil && wanted[id] {
			found[id] = other.inode
		}
	}
	for i, link := range r.links {
		if attrs := link.Attrs(); attrs.ParentIndex != 0 {
			r.ns.Links[i].Link = &inspect.Ref{Namespace: found[attrs.NetNsID], Index: attrs.ParentIndex}
		}
	}
}

// devices says of each VF which it is: the folder of the device is on the node.
func (c *collector) devices(ns *inspect.Namespace) {
	for i := range ns.Links {
		device := ns.Links[i].Device
		if device == nil || device.Bus != "pci" {
			continue
		}
		if described, err := c.options.Sysfs.Device(device.ID); err == nil && described.PF != nil {
			device.VF, device.PF = described.Index, described.PF.Netdev
		}
	}
}

// flags gives the names of the flags of an interface that ip shows.
func flags(raw uint32) []string {
	var names []string
	for _, flag := range []struct {
		bit  uint32
		name string
	}{
		{unix.IFF_LOOPBACK, "LOOPBACK"},
		{unix.IFF_BROADCAST, "BROADCAST"},
		{unix.IFF_POINTOPOINT, "POINTOPOINT"},
		{unix.IFF_MULTICAST, "MULTICAST"},
		{unix.IFF_NOARP, "NOARP"},
		{unix.IFF_ALLMULTI, "ALLMULTI"},
		{unix.IFF_PROMISC, "PROMISC"},
		{unix.IFF_MASTER, "MASTER"},
		{unix.IFF_SLAVE, "SLAVE"},
		{unix.IFF_UP, "UP"},
		{unix.IFF_LOWER_UP, "LOWER_UP"},
	} {
		if raw&flag.bit != 0 {
			names = append(names, flag.name)
		}
	}
	if raw&unix.IFF_UP != 0 && raw&unix.IFF_LOWER_UP == 0 {
		names = slices.Insert(names, 0, "NO-CARRIER")
	}
	return names
}
