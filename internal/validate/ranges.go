package validate

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// addresses is one range of host-local, as the plugin completes it.
type addresses struct {
	path       string // of the range in the configuration
	subnet     netip.Prefix
	start, end netip.Addr
	gateway    netip.Addr
	set        int // the range set that it is of
}

func (a *addresses) has(addr netip.Addr) bool {
	return addr.IsValid() && a.start.Compare(addr) <= 0 && addr.Compare(a.end) <= 0
}

func (a *addresses) overlaps(b *addresses) bool {
	return a.start.Is4() == b.start.Is4() && a.start.Compare(b.end) <= 0 && b.start.Compare(a.end) <= 0
}

func (a *addresses) String() string { return a.start.String() + " to " + a.end.String() }

// plugin is the configuration of one plugin, and the beginning of its fields' paths.
type plugin struct {
	prefix string
	*value
}

// plugins gives the plugins of a configuration: of one that is no list, itself.
func (n *network) plugins() []plugin {
	list := n.json.get("plugins")
	if list == nil {
		return []plugin{{"", n.json}}
	}
	var all []plugin
	for i, item := range list.items {
		all = append(all, plugin{fmt.Sprintf("plugins[%d].", i), item})
	}
	return all
}

// ranges gives the ranges of host-local that can be read. The faults of the others are noted.
func (r *run) ranges(n *network) []addresses {
	var all []addresses
	for _, plugin := range n.plugins() {
		prefix, ipam := plugin.prefix, plugin.get("ipam")
		if ipam.get("type").str() != "host-local" {
			continue
		}
		set := 0
		if ipam.get("subnet") != nil {
			all = r.appendRange(all, n, ipam, prefix+"ipam", set)
			set++
		}
		for i, ranges := range itemsOf(ipam.get("ranges")) {
			for j, item := range ranges.items {
				all = r.appendRange(all, n, item, fmt.Sprintf("%sipam.ranges[%d][%d]", prefix, i, j), set)
			}
			set++
		}
	}
	return all
}

func itemsOf(v *value) []*value {
	if v == nil {
		return nil
	}
	return v.items
}

func (r *run) appendRange(all []addresses, n *network, v *value, path string, set int) []addresses {
	a, bad, problem := readRange(v)
	if problem != "" {
		r.addConfig(ruleRange, n, path+"."+bad, problem)
		return all
	}
	a.path, a.set = path, set
	return append(all, a)
}

// readRange reads a range as host-local does, or says which key it would refuse.
func readRange(v *value) (a addresses, key, problem string) {
	var err error
	if a.subnet, err = netip.ParsePrefix(v.get("subnet").str()); err != nil {
		return a, "subnet", fmt.Sprintf("%s is no network with a prefix length", rawOf(v.get("subnet")))
	}
	switch {
	case a.subnet.Bits() > a.subnet.Addr().BitLen()-2:
		return a, "subnet", fmt.Sprintf("%s is too small to give out addresses of", a.subnet)
	case a.subnet.Masked() != a.subnet:
		return a, "subnet", fmt.Sprintf("%s has host bits: the network is %s", a.subnet, a.subnet.Masked())
	}
	a.start, a.end, a.gateway = a.subnet.Addr().Next(), last(a.subnet), a.subnet.Addr().Next()
	if a.subnet.Addr().Is4() {
		a.end = a.end.Prev()
	}
	for _, own := range []struct {
		key  string
		into *netip.Addr
	}{{"rangeStart", &a.start}, {"rangeEnd", &a.end}, {"gateway", &a.gateway}} {
		given := v.get(own.key)
		if given == nil {
			continue
		}
		if *own.into, err = netip.ParseAddr(given.str()); err != nil {
			return a, own.key, fmt.Sprintf("%s is no address", rawOf(given))
		}
		*own.into = own.into.Unmap()
		if own.key != "gateway" && !a.subnet.Contains(*own.into) {
			return a, own.key, fmt.Sprintf("%s is not in %s", own.into, a.subnet)
		}
	}
	if a.end.Less(a.start) {
		return a, "rangeEnd", fmt.Sprintf("%s is before %s, where the range begins", a.end, a.start)
	}
	return a, "", ""
}

func rawOf(v *value) string {
	if v == nil {
		return "nothing"
	}
	return shorten(v.raw)
}

// last gives the last address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// checkRanges examines the ranges of one network.
func (r *run) checkRanges(n *network) {
	n.wire, n.ranges = n.wireOf(), r.ranges(n)
	for i := range n.ranges {
		a := &n.ranges[i]
		r.checkReserved(n, a)
		for j := range n.ranges[:i] {
			if b := &n.ranges[j]; a.overlaps(b) {
				r.addConfig(ruleRange, n, a.path, fmt.Sprintf("range %s overlaps range %s of the same network", a, b))
			}
		}
	}
	if len(n.ranges) > 0 && n.wire.shared {
		r.addConfig(rulePerNode, n, n.ranges[0].path, fmt.Sprintf("each node gives out %s by itself, and the network reaches other nodes through %s", &n.ranges[0], n.wire))
	}
}

// checkReserved finds the addresses that no pod may have, as far as the configuration itself brings
// them into the range. The gateway is a note: host-local passes over it.
func (r *run) checkReserved(n *network, a *addresses) {
	v, _ := n.json.find(a.path)
	start, end := v.get("rangeStart") != nil, v.get("rangeEnd") != nil
	for _, reserved := range []struct {
		severity  Severity
		key, name string
		addr      netip.Addr
		given     bool
	}{
		{Warning, "rangeStart", "the address of the network itself", a.subnet.Addr(), start},
		{Warning, "rangeEnd", "the broadcast address", last(a.subnet), end && a.subnet.Addr().Is4()},
		{Note, "gateway", "the gateway, which host-local passes over", a.gateway, (start || end) && v.get("gateway") != nil},
	} {
		if reserved.given && a.has(reserved.addr) {
			path := a.path + "." + reserved.key
			message := fmt.Sprintf("range %s has %s in it, which is %s", a, reserved.addr, reserved.name)
			r.addAs(reserved.severity, ruleReserved, n.object, n.place(path), field(path), message)
		}
	}
}

func quote(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
