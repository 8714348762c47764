package delegate

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// parseResult reads a result, and gives its version. libcni has given one to every
// result that came without, as Weave's does.
func parseResult(data []byte) (*current.Result, string, error) {
	parsed, err := create.CreateFromBytes(data)
	if err != nil {
		return nil, "", fmt.Errorf("result: %w", err)
	}
	version := parsed.Version()
	result, err := current.NewResultFromResult(parsed)
	if err != nil {
		return nil, "", fmt.Errorf("result of version %s: %w", version, err)
	}
	return result, version, nil
}

// checkResult checks the result of a plugin with a configuration, in the version that libcni
// takes it for: that of the configuration if it says none.
func checkResult(result, conf []byte) error {
	version, err := resultVersion(result)
	if err == nil && version == "" {
		version, err = create.DecodeVersion(conf)
	}
	if err != nil {
		return nil //nolint:nilerr // libcni reads the same, and says so
	}
	return types.CheckResult(result, version)
}

// resultVersion gives the version that a result says, "" for none.
func resultVersion(result []byte) (string, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(result, &raw); err != nil {
		return "", err
	}
	var version string
	if err := json.Unmarshal(raw["cniVersion"], &version); err != nil {
		return "", nil //nolint:nilerr // as libcni takes what is no string
	}
	return version, nil
}

// withVersion gives a result that says its version.
func withVersion(result []byte, version string) ([]byte, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(result, &raw); err != nil {
		return nil, err
	}
	said, err := json.Marshal(version)
	if err != nil {
		return nil, err
	}
	raw["cniVersion"] = said
	return json.Marshal(raw)
}

// encodeResult writes a result in the version given.
func encodeResult(result *current.Result, version string) (json.RawMessage, error) {
	converted, err := result.GetAsVersion(version)
	if err != nil {
		return nil, fmt.Errorf("result as version %s: %w", version, err)
	}
	return json.Marshal(converted)
}

// moveDefaultRoutes makes the results say what the pod's namespace has after its default
// routes went to one attachment: it has those, the others have none of their families and
// tables. It gives, for each result, whether it changed.
func moveDefaultRoutes(results []*current.Result, chosen int, routes []*defaultRoute) []bool {
	changed := make([]bool, len(results))
	for i, result := range results {
		if result == nil {
			continue
		}
		before := len(result.Routes)
		result.Routes = slices.DeleteFunc(result.Routes, func(r *cnitypes.Route) bool { return r == nil || isReplaced(r, routes, i == chosen) })
		changed[i] = len(result.Routes) != before
		if i == chosen {
			result.Routes = append(result.Routes, resultRoutes(routes)...)
			changed[i] = true
		}
	}
	return changed
}

// isReplaced reports whether a route of a result is gone. One of the chosen attachment that
// is not of the main table has another gateway now.
func isReplaced(r *cnitypes.Route, routes []*defaultRoute, chosen bool) bool {
	for _, d := range routes {
		if !d.replaces(r) {
			continue
		}
		if chosen && tableOf(r) != unix.RT_TABLE_MAIN {
			*r = cnitypes.Route{Dst: *d.any, GW: d.gateway, Table: r.Table}
			return false
		}
		return true
	}
	return false
}

func resultRoutes(routes []*defaultRoute) []*cnitypes.Route {
	var all []*cnitypes.Route
	for _, d := range routes {
		all = append(all, &cnitypes.Route{Dst: *d.any, GW: d.gateway})
	}
	return all
}

// replaces reports whether the default route took the place of a route of a result.
func (d *defaultRoute) replaces(route *cnitypes.Route) bool {
	return isAnywhere(route) && familyOf(route.Dst.IP).number == d.number && d.isIn(tableOf(route))
}

// isAnywhere reports whether a route is a default route of some table.
func isAnywhere(route *cnitypes.Route) bool {
	ones, bits := route.Dst.Mask.Size()
	return bits > 0 && ones == 0
}

func tableOf(route *cnitypes.Route) int {
	if route.Table == nil {
		return unix.RT_TABLE_MAIN
	}
	return *route.Table
}

// isDefaultRoute reports whether a route is a default route of the main table.
func isDefaultRoute(route *cnitypes.Route) bool {
	return isAnywhere(route) && tableOf(route) == unix.RT_TABLE_MAIN
}

// mergeResults puts the results of all attachments into one, the default network's
// first, whose DNS it keeps.
func mergeResults(results []*current.Result) *current.Result {
	merged := &current.Result{CNIVersion: current.ImplementedSpecVersion}
	for i, result := range results {
		if result == nil {
			continue
		}
		if i == 0 {
			merged.DNS = result.DNS
		}
		offset := len(merged.Interfaces)
		merged.Interfaces = append(merged.Interfaces, result.Interfaces...)
		merged.Routes = append(merged.Routes, result.Routes...)
		for _, ip := range result.IPs {
			if ip == nil {
				continue
			}
			moved := *ip
			moved.Interface = nil
			if index, bound := interfaceOf(result, ip); bound {
				moved.Interface = current.Int(index + offset)
			}
			merged.IPs = append(merged.IPs, &moved)
		}
	}
	return merged
}

// inPod gives the results with the interfaces of this sandbox alone as the pod's: one that
// names another sandbox counts as the host's. What was recorded stays as it is, for DEL.
func (s *session) inPod(results []*current.Result) []*current.Result {
	views := slices.Clone(results)
	for i, result := range results {
		if result == nil {
			continue
		}
		view := *result
		view.Interfaces = slices.Clone(result.Interfaces)
		for j, iface := range view.Interfaces {
			if iface != nil && !s.isHere(iface.Sandbox) {
				ofHost := *iface
				ofHost.Sandbox = ""
				view.Interfaces[j] = &ofHost
			}
		}
		views[i] = &view
	}
	return views
}

// isHere reports whether a result's `sandbox` is this one: the path of its namespace, another
// path to it, or, as plugins for virtual machines may write it, the ID of the sandbox. Amazon's
// VPC plugin keeps a number there, of an interface that does not exist.
func (s *session) isHere(sandbox string) bool {
	own := &s.record.Plan.Sandbox
	if sandbox == own.NetNS || sandbox == own.ContainerID {
		return sandbox != ""
	}
	if !filepath.IsAbs(sandbox) {
		return false
	}
	inode, exists := host.NetNS(sandbox)
	return exists && inode != 0 && inode == s.record.NetNSInode
}

// networkStatus describes an attachment for the pod's annotation (section 5.3): one
// entry for its first sandbox interface, and one for each further one, as the readers
// of Multus's status know it. What the result does not say is read from the
// namespace.
func networkStatus(a *types.Attachment, result *current.Result, seen map[string]*seenInterface) []types.NetworkStatus {
	if result == nil {
		result = &current.Result{}
	}
	base := types.NetworkStatus{Name: a.Network, DNS: types.DNS{
		Nameservers: result.DNS.Nameservers, Domain: result.DNS.Domain, Search: result.DNS.Search, Options: result.DNS.Options,
	}}
	var entries []types.NetworkStatus
	for i, iface := range result.Interfaces {
		if iface == nil || iface.Sandbox == "" {
			continue
		}
		entry := base
		entry.Interface, entry.MAC, entry.MTU = iface.Name, iface.Mac, iface.Mtu
		entry.IPs = addressesOf(result, &i)
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		entries = []types.NetworkStatus{base}
	}
	first := &entries[0]
	first.Default = a.Default
	first.IPs = append(first.IPs, addressesOf(result, nil)...)
	first.DefaultRoute = a.Gateways
	first.Gateway = gatewaysIn(result)
	for i := range entries {
		complete(&entries[i], a.Interface, seen)
	}
	return entries
}

// addressesOf gives the addresses of the interface at an index, or for nil those of
// no interface (section 5.3.3.1).
func addressesOf(result *current.Result, index *int) []string {
	var ips []string
	for _, ip := range result.IPs {
		if ip == nil || ip.Address.IP == nil {
			continue
		}
		unbound := ip.Interface == nil || *ip.Interface < 0
		if index == nil && unbound || index != nil && !unbound && *ip.Interface == *index {
			ips = append(ips, ip.Address.IP.String())
		}
	}
	return ips
}

// interfaceOf gives the index of the interface that an address is of, if the result has it. A
// negative one once meant none, and one beyond the list can mean nothing else.
func interfaceOf(result *current.Result, ip *current.IPConfig) (index int, bound bool) {
	if ip.Interface == nil || *ip.Interface < 0 || *ip.Interface >= len(result.Interfaces) {
		return 0, false
	}
	return *ip.Interface, true
}

func gatewaysIn(result *current.Result) []string {
	var gateways []string
	for _, route := range result.Routes {
		if route == nil || !isDefaultRoute(route) {
			continue
		}
		if gateway := gatewayOf(route, result); gateway != nil {
			gateways = append(gateways, gateway.String())
		}
	}
	return gateways
}

// gatewayOf gives the gateway of a route: its own, or that of the addresses of its
// family (CNI specification: a route without gw).
func gatewayOf(route *cnitypes.Route, result *current.Result) net.IP {
	if route.GW != nil {
		return route.GW
	}
	for _, ip := range result.IPs {
		if ip != nil && ip.Gateway != nil && familyOf(ip.Gateway).number == familyOf(route.Dst.IP).number {
			return ip.Gateway
		}
	}
	return nil
}

// complete fills in from the namespace what the entry lacks.
func complete(entry *types.NetworkStatus, ifName string, seen map[string]*seenInterface) {
	if entry.Interface == "" && seen[ifName] != nil {
		entry.Interface = ifName
	}
	if entry.Interface == "" {
		entry.MAC = "" // without its interface it says nothing (section 5.3.4)
	}
	there := seen[entry.Interface]
	if there == nil {
		return
	}
	if entry.MAC == "" {
		entry.MAC = there.mac
	}
	if entry.MTU == 0 {
		entry.MTU = there.mtu
	}
	if len(entry.IPs) == 0 {
		entry.IPs = there.ips
	}
}
