package delegate

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespaceInode gives the inode that identifies the network namespace at path, and
// whether there is one: a file that is left over where a namespace was mounted is none.
func namespaceInode(path string) (uint64, bool) {
	if path == "" {
		return 0, false
	}
	var fs unix.Statfs_t
	var stat unix.Stat_t
	err := unix.Statfs(path, &fs)
	if err == nil && fs.Type != unix.NSFS_MAGIC {
		return 0, false
	}
	if err == nil {
		err = unix.Stat(path, &stat)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESRCH) {
		return 0, false
	}
	// Any other error says nothing: what may live is not released.
	return stat.Ino, true
}

// namespaceLives tells whether the namespace at path is still the one of the inode.
// An inode of 0 is not known, and then any namespace at the path will do.
func namespaceLives(path string, inode uint64) bool {
	now, exists := namespaceInode(path)
	return exists && (inode == 0 || now == 0 || now == inode)
}

// sandboxNet is the view into a pod's network namespace. Its sockets are made inside;
// no thread of this process stays there.
type sandboxNet struct{ handle *netlink.Handle }

func openSandbox(path string) (*sandboxNet, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return &sandboxNet{handle: handle}, nil
}

func (s *sandboxNet) close() { _ = s.handle.Close() }

// seenInterface is what is really there.
type seenInterface struct {
	mac string
	mtu int
	ips []string // global addresses, without prefix
}

// look gives the interface of a name, nil if there is none.
func (s *sandboxNet) look(name string) (*seenInterface, error) {
	link, err := s.handle.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	addrs, err := s.handle.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("interface %s: addresses: %w", name, err)
	}
	seen := &seenInterface{mac: link.Attrs().HardwareAddr.String(), mtu: link.Attrs().MTU}
	for _, addr := range addrs {
		if addr.Scope == int(netlink.SCOPE_UNIVERSE) {
			seen.ips = append(seen.ips, addr.IP.String())
		}
	}
	return seen, nil
}

// family is an address family, with what differs between the two.
type family struct {
	number  int
	name    string
	any     *net.IPNet
	metrics int // of the first default route: the kernel's own default
}

var (
	ipv4 = family{netlink.FAMILY_V4, "IPv4", &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, 0}
	ipv6 = family{netlink.FAMILY_V6, "IPv6", &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}, 1024}
)

func familyOf(ip net.IP) family {
	if ip.To4() != nil {
		return ipv4
	}
	return ipv6
}
