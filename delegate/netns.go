package delegate

import (
	"errors"
	"fmt"
	"net"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// sandboxNet is the view into a pod's network namespace. Its sockets are made inside;
// the few threads that enter it end there.
type sandboxNet struct {
	ns     netns.NsHandle
	handle *netlink.Handle
	routes routeTable // the handle
}

// routeTable is what moving default routes needs of the pod's namespace. Somebody else may
// write it meanwhile: the tests do.
type routeTable interface {
	LinkByName(name string) (netlink.Link, error)
	LinkByIndex(index int) (netlink.Link, error)
	RouteGetWithOptions(destination net.IP, options *netlink.RouteGetOptions) ([]netlink.Route, error)
	RouteListFiltered(family int, filter *netlink.Route, filterMask uint64) ([]netlink.Route, error)
	RouteAdd(route *netlink.Route) error
	RouteDel(route *netlink.Route) error
}

func openSandbox(path string) (*sandboxNet, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return &sandboxNet{ns: ns, handle: handle, routes: handle}, nil
}

func (s *sandboxNet) close() {
	_ = s.handle.Close()
	_ = s.ns.Close()
}

// inside runs a function on a thread in the pod's network namespace, for what is only to be
// had there. The thread ends with it.
func (s *sandboxNet) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := netns.Set(s.ns)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// seenInterface is an interface as the namespace has it.
type seenInterface struct {
	mac string
	mtu int
	ips []string // global addresses, without prefix
	all []net.IP // these and those of the link
}

// inspect gives the interface of a name, nil if there is none.
func (s *sandboxNet) inspect(name string) (*seenInterface, error) {
	link, err := s.handle.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	addrs, err := s.addresses(link)
	if err != nil {
		return nil, err
	}
	seen := &seenInterface{mac: link.Attrs().HardwareAddr.String(), mtu: link.Attrs().MTU}
	for _, addr := range addrs {
		seen.all = append(seen.all, addr.IP)
		if addr.Scope == int(netlink.SCOPE_UNIVERSE) {
			seen.ips = append(seen.ips, addr.IP.String())
		}
	}
	return seen, nil
}

// ownInterfaces names the interfaces of a sandbox that are up, but for lo: those that the
// kernel puts into every namespace are down. A namespace that is gone has none.
func ownInterfaces(path string) []string {
	if path == "" {
		return nil
	}
	sandbox, err := openSandbox(path)
	if err != nil {
		return nil
	}
	defer sandbox.close()
	links, err := host.Retried(netlink.ErrDumpInterrupted, sandbox.handle.LinkList)
	if err != nil {
		return nil
	}
	var names []string
	for _, link := range links {
		if attrs := link.Attrs(); attrs.Flags&net.FlagUp != 0 && attrs.Flags&net.FlagLoopback == 0 {
			names = append(names, attrs.Name)
		}
	}
	return names
}

func (s *sandboxNet) addresses(link netlink.Link) ([]netlink.Addr, error) {
	addrs, err := host.Retried(netlink.ErrDumpInterrupted, func() ([]netlink.Addr, error) { return s.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("interface %s: addresses: %w", link.Attrs().Name, err)
	}
	return addrs, nil
}

// family is an address family, with what differs between the two.
type family struct {
	number int
	name   string
	any    *net.IPNet
}

var (
	ipv4 = family{netlink.FAMILY_V4, "IPv4", &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}}
	ipv6 = family{netlink.FAMILY_V6, "IPv6", &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
)

func familyOf(ip net.IP) family {
	if ip.To4() != nil {
		return ipv4
	}
	return ipv6
}
