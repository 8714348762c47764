package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin/vf"
	"github.com/plexus-cni/plexus/types"
)

// How long carrier and the search for duplicates of an IPv6 address are waited for. A
// port without a cable has neither, and its pod starts all the same. The search for one of an
// optimistic address, which begins at once, takes dadTime; the address serves also if it takes longer.
const (
	carrierPatience    = 1 * time.Second
	dadPatience        = 5 * time.Second
	optimisticPatience = 3 * dadTime
	dadTime            = 100 * time.Millisecond
	waitPause          = 10 * time.Millisecond
)

func parseMAC(s string) (net.HardwareAddr, error) { return net.ParseMAC(s) }

// Configure puts addresses and routes onto an interface, and waits for addresses to
// become usable.
func (Links) Configure(ctx context.Context, ns string, link *vf.Link, result *current.Result) error {
	if len(result.IPs) == 0 {
		return nil
	}
	if hasIPv6(result) {
		if err := enableIPv6(ns, link.Name); err != nil {
			return fmt.Errorf("allow IPv6: %w", err)
		}
		defer hastenDAD(ns, link.Name)()
	}
	return overNetlink(ns, func(handle *netlink.Handle) error {
		for _, ip := range result.IPs {
			err := handle.AddrAdd(device(link.Index), toAddress(&ip.Address))
			if err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add address %s: %w", &ip.Address, err)
			}
		}
		if err := settle(ctx, handle, link, result); err != nil {
			return err
		}
		for _, route := range result.Routes {
			if err := handle.RouteAddEcmp(toRoute(link, route, result)); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add route to %s: %w", &route.Dst, err)
			}
		}
		return nil
	})
}

// toAddress makes an address of an interface. The kernel takes an optimistic one for an ordinary one
// where that is not allowed (Prepare), and in a pod that forwards.
func toAddress(ip *net.IPNet) *netlink.Addr {
	address := &netlink.Addr{IPNet: ip}
	if ip.IP.To4() == nil {
		address.Flags = unix.IFA_F_OPTIMISTIC
	}
	return address
}

func hasIPv6(result *current.Result) bool {
	for _, ip := range result.IPs {
		if ip.Address.IP.To4() == nil {
			return true
		}
	}
	return false
}

// settle waits for carrier, and for the end of the search for duplicates of the IPv6
// addresses.
func settle(ctx context.Context, handle *netlink.Handle, link *vf.Link, result *current.Result) error {
	if !waitFor(ctx, carrierPatience, func() bool { return hasCarrier(handle, link.Index) }) || !hasIPv6(result) {
		return nil
	}
	var duplicate net.IP
	start := time.Now()
	waitFor(ctx, dadPatience, func() bool {
		addrs, err := addressesOf(handle, device(link.Index), netlink.FAMILY_V6)
		if err != nil {
			return false
		}
		for _, addr := range addrs {
			switch {
			case addr.Flags&unix.IFA_F_DADFAILED != 0:
				duplicate = addr.IP
				return true
			case addr.Flags&unix.IFA_F_TENTATIVE == 0:
			case addr.Flags&unix.IFA_F_OPTIMISTIC == 0, isGiven(&addr, result) && time.Since(start) < optimisticPatience:
				return false
			}
		}
		return true
	})
	if duplicate != nil {
		return inUse(duplicate)
	}
	return nil
}

// isGiven reports whether an address is one of a result, and not one that the kernel made.
func isGiven(addr *netlink.Addr, result *current.Result) bool {
	return slices.ContainsFunc(result.IPs, func(ip *current.IPConfig) bool { return addr.IP.Equal(ip.Address.IP) })
}

func addressesOf(handle *netlink.Handle, link netlink.Link, family int) ([]netlink.Addr, error) {
	return host.Retried(netlink.ErrDumpInterrupted, func() ([]netlink.Addr, error) { return handle.AddrList(link, family) })
}

func hasCarrier(handle *netlink.Handle, index int) bool {
	l, err := handle.LinkByIndex(index)
	return err == nil && l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 && l.Attrs().RawFlags&unix.IFF_RUNNING != 0
}

// waitFor reports whether something became true in time.
func waitFor(ctx context.Context, patience time.Duration, happened func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !happened() {
		select {
		case <-ctx.Done():
			return happened()
		case <-time.After(waitPause):
		}
	}
	return true
}

// toRoute makes a route over the interface. One that names no gateway goes over that of
// the first address of its family, if it has one.
func toRoute(link *vf.Link, r *cnitypes.Route, result *current.Result) *netlink.Route {
	route := &netlink.Route{LinkIndex: link.Index, Dst: &r.Dst, Gw: r.GW, MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority}
	if r.Table != nil {
		route.Table = *r.Table
	}
	if r.Scope != nil {
		route.Scope = netlink.Scope(*r.Scope) //nolint:gosec // a byte in the kernel
	}
	for _, ip := range result.IPs {
		if route.Gw == nil && (ip.Address.IP.To4() == nil) == (r.Dst.IP.To4() == nil) {
			route.Gw = ip.Gateway
		}
	}
	if route.Gw == nil && r.Scope == nil && r.Dst.IP.To4() != nil {
		route.Scope = netlink.SCOPE_LINK
	}
	return route
}

// Verify reports which addresses and routes are not there.
func (Links) Verify(ns string, link *vf.Link, result *current.Result) error {
	return overNetlink(ns, func(handle *netlink.Handle) error {
		addrs, err := addressesOf(handle, device(link.Index), netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("interface %s: addresses: %w", link.Name, err)
		}
		var faults []error
		for _, ip := range result.IPs {
			if mine(ip, link, result) {
				faults = append(faults, verifyAddress(link, addrs, &ip.Address))
			}
		}
		for _, route := range result.Routes {
			if !hasRoute(handle, route) {
				faults = append(faults, fmt.Errorf("route to %s is not there", &route.Dst))
			}
		}
		return types.Join(faults...)
	})
}

// mine reports whether an address of a result is of the interface.
func mine(ip *current.IPConfig, link *vf.Link, result *current.Result) bool {
	if ip.Interface == nil || *ip.Interface < 0 || *ip.Interface >= len(result.Interfaces) {
		return ip.Interface == nil
	}
	return result.Interfaces[*ip.Interface].Name == link.Name
}

// verifyAddress reports an address that is not there, or that the kernel does not use because another
// on the link has it.
func verifyAddress(link *vf.Link, addrs []netlink.Addr, want *net.IPNet) error {
	for _, addr := range addrs {
		if !addr.IP.Equal(want.IP) || addr.IPNet.String() != want.String() {
			continue
		}
		if addr.Flags&unix.IFA_F_DADFAILED != 0 {
			return fmt.Errorf("interface %s: %w", link.Name, inUse(addr.IP))
		}
		return nil
	}
	return fmt.Errorf("interface %s: address %s is not there", link.Name, want)
}

func inUse(ip net.IP) error { return fmt.Errorf("address %s is in use by another on the link", ip) }

func hasRoute(handle *netlink.Handle, route *cnitypes.Route) bool {
	family := netlink.FAMILY_V6
	if route.Dst.IP.To4() != nil {
		family = netlink.FAMILY_V4
	}
	filter, mask := &netlink.Route{Dst: &route.Dst, Gw: route.GW}, netlink.RT_FILTER_DST
	if route.GW != nil {
		mask |= netlink.RT_FILTER_GW
	}
	if route.Table != nil {
		filter.Table = *route.Table
		mask |= netlink.RT_FILTER_TABLE
	}
	routes, err := host.Retried(netlink.ErrDumpInterrupted, func() ([]netlink.Route, error) { return handle.RouteListFiltered(family, filter, mask) })
	return err == nil && len(routes) > 0
}
