package validate

import (
	"fmt"
	"net/netip"
	"strings"
)

// whereaboutsRange is one range of whereabouts, as the plugin completes it.
type whereaboutsRange struct {
	addresses
	ipam    *value
	exclude []netip.Prefix
	ignored bool // a bound that does not fit: whereabouts does not refuse it
}

// whereaboutsRanges gives the ranges of whereabouts that can be read. The faults of the others are noted.
func (r *run) whereaboutsRanges(n *network) []whereaboutsRange {
	var all []whereaboutsRange
	for _, plugin := range n.plugins() {
		prefix, ipam := plugin.prefix+"ipam", plugin.get("ipam")
		if ipam.get("type").str() != "whereabouts" {
			continue
		}
		if ipam.get("range") != nil {
			all = r.appendWhereabouts(all, n, ipam, prefix)
		}
		for i, item := range itemsOf(ipam.get("ipRanges")) {
			all = r.appendWhereabouts(all, n, item, fmt.Sprintf("%s.ipRanges[%d]", prefix, i))
		}
		for i := range all {
			all[i].ipam = ipam
		}
	}
	return all
}

func (r *run) appendWhereabouts(all []whereaboutsRange, n *network, v *value, path string) []whereaboutsRange {
	w, bad, problem := readWhereabouts(v)
	switch path += "." + bad; {
	case w.ignored:
		r.addAs(Warning, ruleRange, n.object, n.place(path), field(path), problem+": whereabouts ignores it, and gives other addresses than are meant")
		return all
	case problem != "":
		r.addConfig(ruleRange, n, path, problem)
		return all
	}
	w.path = strings.TrimSuffix(path, ".")
	return append(all, w)
}

// readWhereabouts reads a range, which is a network, or "FIRST-LAST/LENGTH". Its gateway is that of ipam.
func readWhereabouts(v *value) (w whereaboutsRange, key, problem string) {
	text, first := v.get("range").str(), ""
	if from, to, found := strings.Cut(text, "-"); found {
		first, text = strings.TrimSpace(from), strings.TrimSpace(to)
	}
	given, err := netip.ParsePrefix(text)
	if err != nil {
		return w, "range", fmt.Sprintf("%s is no network with a prefix length", rawOf(v.get("range")))
	}
	w.subnet = given.Masked()
	w.start, w.end = w.subnet.Addr().Next(), last(w.subnet)
	if w.subnet.Addr().Is4() {
		w.end = w.end.Prev()
	}
	if first != "" {
		w.end = given.Addr()
		if w.start, err = netip.ParseAddr(first); err != nil {
			return w, "range", fmt.Sprintf("%s is no address", shorten(quote(first)))
		}
	}
	for key, into := range map[string]*netip.Addr{"range_start": &w.start, "range_end": &w.end} {
		if own := v.get(key); own != nil {
			if *into, err = netip.ParseAddr(own.str()); err != nil {
				w.ignored = true
				return w, key, fmt.Sprintf("%s is no address", rawOf(own))
			}
		}
	}
	for i, item := range itemsOf(v.get("exclude")) {
		excluded, err := netip.ParsePrefix(item.str())
		if err != nil {
			addr, err := netip.ParseAddr(item.str())
			if err != nil {
				return w, fmt.Sprintf("exclude[%d]", i), fmt.Sprintf("%s is no network with a prefix length", rawOf(item))
			}
			excluded = netip.PrefixFrom(addr, addr.BitLen())
		}
		w.exclude = append(w.exclude, excluded.Masked())
	}
	return w.checked(v)
}

// checked finds a range that is not in its network, or ends before it begins. The form "FIRST-LAST/LENGTH" is
// refused for that; of range_start and range_end whereabouts ignores what does not fit, in silence.
func (w whereaboutsRange) checked(v *value) (whereaboutsRange, string, string) {
	for _, own := range []struct {
		key  string
		addr netip.Addr
	}{{"range_start", w.start}, {"range_end", w.end}} {
		key := own.key
		if v.get(key) == nil {
			key = "range"
		}
		if !w.subnet.Contains(own.addr) {
			w.ignored = key != "range"
			return w, key, fmt.Sprintf("%s is not in %s", own.addr, w.subnet)
		}
	}
	if w.end.Less(w.start) {
		w.ignored = true
		return w, "range", fmt.Sprintf("%s is before %s, where the range begins", w.end, w.start)
	}
	return w, "", ""
}

// gives reports whether the range gives out an address.
func (w *whereaboutsRange) gives(addr netip.Addr) bool {
	for _, excluded := range w.exclude {
		if excluded.Contains(addr) {
			return false
		}
	}
	return w.has(addr)
}

// checkWhereabouts examines the ranges of one network.
func (r *run) checkWhereabouts(n *network) {
	ranges := r.whereaboutsRanges(n)
	for i := range ranges {
		w := &ranges[i]
		r.checkWhereaboutsReserved(n, w)
		for j := range ranges[:i] {
			if other := &ranges[j]; w.overlaps(&other.addresses) {
				r.addConfig(ruleRange, n, w.path+".range", fmt.Sprintf("range %s overlaps range %s of the same network", &w.addresses, &other.addresses))
			}
		}
	}
	n.whereabouts = ranges
}

// checkWhereaboutsReserved finds a range with its gateway in it: unlike host-local, whereabouts gives it out too,
// unless it is excluded. It never gives the address of the network itself, nor that for broadcasts.
func (r *run) checkWhereaboutsReserved(n *network, w *whereaboutsRange) {
	if gateway, err := netip.ParseAddr(w.ipam.get("gateway").str()); err == nil && w.gives(gateway) {
		r.addConfig(ruleReserved, n, w.path+".range", fmt.Sprintf("range %s has %s in it, which is the gateway: whereabouts gives it to a pod", &w.addresses, gateway))
	}
}

// checkWhereaboutsOverlap finds ranges of two networks that overlap and are counted apart: whereabouts
// counts by network_name and range, for the whole cluster.
func checkWhereaboutsOverlap(r *run, n, other *network) bool {
	if !goTogether(n, other) || !n.wire.same(other.wire) {
		return false
	}
	for i := range n.whereabouts {
		for j := range other.whereabouts {
			a, b := &n.whereabouts[i], &other.whereabouts[j]
			if !a.overlaps(&b.addresses) || a.isCountedWith(b) {
				continue
			}
			r.addConfig(ruleOverlap, n, a.path+".range", fmt.Sprintf("range %s overlaps range %s of network %s, both on %s", &a.addresses, &b.addresses, other.ref, n.wire))
			return true
		}
	}
	return false
}

// isCountedWith reports whether whereabouts gives no address of both ranges twice: they are one pool, or
// it looks for overlapping ones, which it does unless it is told not to. Either is so under one network_name only.
func (w *whereaboutsRange) isCountedWith(other *whereaboutsRange) bool {
	name, otherName := w.ipam.get("network_name").str(), other.ipam.get("network_name").str()
	checks := func(ipam *value) bool {
		v := ipam.get("enable_overlapping_ranges")
		return v == nil || v.raw != "false"
	}
	return name == otherName && (w.subnet == other.subnet || checks(w.ipam) && checks(other.ipam))
}
