//go:build linux

package collect

import (
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// readQdiscs reads the queueing disciplines, and of those that have filters where these send packets
// and which BPF programs are among them.
func (r *reader) readQdiscs() error {
	qdiscs, err := dump(func() ([]netlink.Qdisc, error) { return r.handle.QdiscList(nil) })
	for _, qdisc := range qdiscs {
		attrs := qdisc.Attrs()
		link := r.link(attrs.LinkIndex)
		if link == nil {
			continue
		}
		described := inspect.Qdisc{Kind: qdisc.Type(), Parent: parentName(attrs.Parent)}
		if attrs.Handle != netlink.HANDLE_NONE {
			described.Handle = netlink.HandleStr(attrs.Handle)
		}
		if attrs.Statistics != nil && attrs.Statistics.Queue != nil {
			described.Dropped = uint64(attrs.Statistics.Queue.Drops)
		}
		if tbf, ok := qdisc.(*netlink.Tbf); ok {
			described.Rate = tbf.Rate
			described.Burst = uint32(float64(tbf.Rate) * float64(tbf.Buffer) / netlink.TickInUsec() / netlink.TIME_UNITS_PER_SEC)
		}
		for at, parent := range filterParents[described.Kind] {
			described.Redirects = append(described.Redirects, r.readFilters(link, at, parent)...)
		}
		link.Qdiscs = append(link.Qdiscs, described)
	}
	return err
}

// filterParents are where the filters are of a qdisc that shapes nothing itself.
var filterParents = map[string]map[string]uint32{
	"ingress": {"tc ingress": netlink.HANDLE_INGRESS + 1},
	"clsact":  {"tc ingress": netlink.HANDLE_MIN_INGRESS, "tc egress": netlink.HANDLE_MIN_EGRESS},
}

func parentName(parent uint32) string {
	switch parent {
	case netlink.HANDLE_ROOT:
		return "root"
	case netlink.HANDLE_INGRESS:
		return "ingress"
	}
	return netlink.HandleStr(parent)
}

// readFilters adds the BPF programs among filters, and gives the interfaces to which they send packets.
func (r *reader) readFilters(link *inspect.Link, at string, parent uint32) (redirects []int) {
	kernel := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: link.Index}}
	filters, _ := dump(func() ([]netlink.Filter, error) { return r.handle.FilterList(kernel, parent) })
	for _, filter := range filters {
		var actions []netlink.Action
		switch filter := filter.(type) {
		case *netlink.BpfFilter:
			link.Programs = append(link.Programs, inspect.Program{At: at, ID: filter.Id, Name: filter.Name})
		case *netlink.U32:
			actions = filter.Actions
		case *netlink.MatchAll:
			actions = filter.Actions
		case *netlink.Flower:
			actions = filter.Actions
		}
		for _, action := range actions {
			if mirred, ok := action.(*netlink.MirredAction); ok && !slices.Contains(redirects, mirred.Ifindex) {
				redirects = append(redirects, mirred.Ifindex)
			}
		}
	}
	return redirects
}
