package path

import (
	"cmp"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// driven is an attachment that no kernel has an interface of: a program of the pod drives it.
type driven struct {
	kind  string // "vhost-user", or "device"
	about []string
	to    string // what the packets are handed to
}

// drivenBy gives what a program drives in the place of an interface, nil if there is no such attachment.
func (e *end) drivenBy(name string) (*driven, string) {
	i := slices.IndexFunc(e.networks, func(a *inspect.Attachment) bool { return a.Interface == name })
	if name == "" || i < 0 {
		return nil, ""
	}
	a := e.networks[i]
	d := &driven{kind: "device", to: "its device " + a.DeviceID + ", and what that is wired to"}
	socket := slices.IndexFunc(a.Interfaces, func(i inspect.RecordedInterface) bool { return i.Socket != "" })
	switch {
	case socket >= 0:
		d.kind, d.to = "vhost-user", "the switch in user space at the socket "+a.Interfaces[socket].Socket
	case a.DeviceID == "":
		return nil, ""
	}
	address := ""
	for _, recorded := range a.Addresses {
		if cmp.Or(recorded.Interface, name) == name {
			d.about = append(d.about, recorded.Address)
			address = cmp.Or(address, inspect.ParseIP(recorded.Address).String())
		}
	}
	return d, address
}

// way gives the way from what a program drives: it is not known further than that.
func (d *driven) way(from, to *end) *Way {
	return &Way{
		From: from.Address, To: to.Address, Outcome: Unknown,
		Hops:   []Hop{{Node: from.Node, In: from.Subject, Place: InPod, Name: from.Interface, Kind: d.kind, About: d.about, State: IsUnknown}},
		Reason: "a program of " + from.Subject + " drives " + from.Interface + ", and hands its packets to " + d.to,
		Do:     "Look for it there, or at the far end: no kernel can be asked what becomes of it.",
	}
}
