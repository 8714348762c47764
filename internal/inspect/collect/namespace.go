//go:build linux

package collect

import (
	"errors"
	"fmt"
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
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("to enter it takes the capability SYS_ADMIN: %w", err)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// reader reads one namespace.
type reader struct {
	*socket
	handle  *netlink.Handle // nil if the namespace was not entered
	ethtool *ethtool        // nil if the kernel has none
	ns      *inspect.Namespace
	links   []netlink.Link
}

// whole reads all of a namespace, from inside.
func (c *collector) whole(ns *opened) (*inspect.Namespace, error) {
	read := c.newNamespace(ns)
	read.Sysctls = map[string]string{}
	err := c.enter(ns, func(r *reader) error {
		var err error
		if r.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		defer r.handle.Close()
		r.ns, r.ethtool = read, c.ethtool
		err = r.all()
		c.resolve(r)
		return err
	})
	if errors.Is(err, errNoNetAdmin) {
		c.note(ns.title(), errNoNetAdmin)
	} else if err != nil {
		return nil, err
	}
	c.devices(read)
	return read, nil
}

func (c *collector) newNamespace(ns *opened) *inspect.Namespace {
	read := &inspect.Namespace{Inode: ns.inode, Host: ns == c.opened[0], Paths: ns.paths, Links: []inspect.Link{}}
	if ns.number != noNumber && !read.Host {
		read.NSID = &ns.number
	}
	return read
}

// enter runs a function inside a namespace, with a socket there. The node's own is not entered: the
// thread is there, and entering takes SYS_ADMIN.
func (c *collector) enter(ns *opened, f func(*reader) error) error {
	if ns == c.opened[0] {
		return f(&reader{socket: c.socket})
	}
	return inside(ns.handle, func() error {
		s, err := newSocket()
		if err != nil {
			return err
		}
		defer s.Close()
		return f(&reader{socket: s})
	})
}

// all reads each part; one that this kernel does not have is empty.
func (r *reader) all() error {
	for _, part := range []func() error{
		r.readLinks, r.readPorts, r.readAddresses, r.readRoutes, r.readRules, r.readNeighbours, r.readFDB, r.readSysctls, r.readPacketSockets,
		r.readCounters, r.readEthernet, r.readQdiscs,
	} {
		if err := part(); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) {
			return err
		}
	}
	return errors.Join(r.readNetfilter(), r.readPrograms())
}

// dump asks for a list again if it changed while it was read.
func dump[T any](f func() ([]T, error)) ([]T, error) {
	return host.Retried(netlink.ErrDumpInterrupted, f)
}

// resolve finds the namespaces that the links of one lead to: the kernel gives numbers, by
// which the namespace of the socket alone knows them.
func (c *collector) resolve(r *reader) {
	numbers := map[int]bool{}
	for _, link := range r.links {
		if id := link.Attrs().NetNsID; id >= 0 {
			numbers[id] = true
		}
	}
	found := c.numbers()
	if r.SocketHandle != c.socket.SocketHandle {
		found = c.numbered(r.socket, len(numbers))
	}
	for i, link := range r.links {
		if attrs := link.Attrs(); attrs.ParentIndex != 0 {
			inode := r.ns.Inode
			if attrs.NetNsID >= 0 {
				inode = found[attrs.NetNsID]
			}
			r.ns.Links[i].Link = &inspect.Ref{Namespace: inode, Index: attrs.ParentIndex}
		}
	}
}

// numbered gives the namespaces that the one of a socket has numbers for; so many at most.
func (c *collector) numbered(s *socket, most int) map[int]uint64 {
	found := map[int]uint64{}
	for _, ns := range c.opened {
		if len(found) == most {
			break
		}
		if number := s.number(int(ns.handle)); number != noNumber {
			found[number] = ns.inode
		}
	}
	return found
}

// devices says of each VF which it is: the folder of the device is on the node.
func (c *collector) devices(ns *inspect.Namespace) {
	for i := range ns.Links {
		device := ns.Links[i].Device
		if device == nil || device.Bus != "pci" {
			continue
		}
		if described, err := c.options.Sysfs.Device(device.ID); err == nil && described.PF != nil {
			device.VF, device.PF, device.Representor = described.Index, described.PF.Netdev, described.Representor
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
