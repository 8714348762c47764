package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// AttachedKind is in every list of what is attached.
const AttachedKind = "AttachmentList"

// State is how an attachment compares with the record of it.
type State string

// States. All but StateOK and StateUnpublished are faults; a status may be unpublished for a
// moment after every ADD. Where an agent publishes, the journal does not say whether it has.
const (
	StateOK          State = "ok"
	StateUnpublished State = "unpublished" // nobody has written the pod's status yet
	StateChanged     State = "changed"     // its addresses or its MAC are not those of the record
	StateGone        State = "gone"        // its interface is not in the sandbox any more
	StateUnfinished  State = "unfinished"  // its ADD did not come to its end
	StateDead        State = "dead"        // the sandbox is gone, and the record is not released yet
	StateReleased    State = "released"    // its record is gone; only a list of changes has it
)

// Attached is one attachment of a pod or container, as the journal and the kernel have it.
type Attached struct {
	Node        string   `json:"node,omitempty"` // its name in the cluster
	Pod         string   `json:"pod,omitempty"`  // namespace/name
	ContainerID string   `json:"containerID"`
	Interface   string   `json:"interface"`
	Network     string   `json:"network"`
	Plugins     []string `json:"plugins,omitempty"`
	Addresses   []string `json:"addresses,omitempty"` // of the interface; where there is none, of the record
	MAC         string   `json:"mac,omitempty"`
	MTU         int      `json:"mtu,omitempty"`
	Device      string   `json:"device,omitempty"`
	HostSide    string   `json:"hostSide,omitempty"` // the peer and its bridge, the parent, the VF and its PF, or the socket
	State       State    `json:"state"`
	Why         string   `json:"why,omitempty"` // for a state that is not ok
	recorded    *Attachment
}

// AttachedList is what get says of a node.
type AttachedList struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Items      []Attached `json:"items"`
	Notes      []Note     `json:"notes,omitempty"` // what it could not compare
}

// MergeAttached makes one list of those of several nodes, in their order.
func MergeAttached(lists ...*AttachedList) *AttachedList {
	merged := &AttachedList{APIVersion: APIVersion, Kind: AttachedKind, Items: []Attached{}}
	for _, list := range lists {
		if list != nil { // a node that could not be read
			merged.Items, merged.Notes = append(merged.Items, list.Items...), append(merged.Notes, list.Notes...)
		}
	}
	return merged
}

// NewAttachedList gives the attachments that the journal of a Snapshot has, by pod and
// container, each in the order of the plan, as far as they are asked for.
func NewAttachedList(s *Snapshot, wanted func(*Attached) bool) *AttachedList {
	graph := NewGraph(s)
	list := &AttachedList{APIVersion: APIVersion, Kind: AttachedKind, Items: []Attached{}}
	for i := range s.Records {
		for j := range s.Records[i].Attachments {
			one := graph.attached(&s.Records[i], &s.Records[i].Attachments[j])
			one.Node = s.Machine.Node
			if wanted(&one) {
				list.Items = append(list.Items, one)
			}
		}
	}
	slices.SortStableFunc(list.Items, func(a, b Attached) int {
		return cmp.Or(cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.ContainerID, b.ContainerID))
	})
	return list
}

// Wrong reports whether an attachment has a fault.
func (l *AttachedList) Wrong() bool {
	return slices.ContainsFunc(l.Items, func(a Attached) bool { return a.State.IsFault() })
}

// IsFault reports whether something has to be done about an attachment.
func (s State) IsFault() bool {
	return s != StateOK && s != StateUnpublished && s != StateReleased
}

func (g *Graph) attached(r *Record, a *Attachment) Attached {
	one := Attached{
		Pod: r.Pod, ContainerID: r.ContainerID, Interface: a.Interface, Network: a.Network, Plugins: a.Plugins, Device: a.DeviceID,
		recorded: a,
	}
	ns := g.namespaces[r.Inode]
	if !r.Live {
		ns = nil // another namespace may have its inode
	}
	one.State, one.Why = stateOf(ns, r, a)
	if one.State == StateUnpublished && g.snapshot.Agent {
		one.State, one.Why = StateOK, "" // only the API server has what an agent publishes
	}
	one.HostSide = socketOf(a)
	var link *Link
	if ns != nil {
		link = ns.LinkNamed(a.Interface)
	}
	if link == nil {
		for _, recorded := range a.Addresses {
			one.Addresses = append(one.Addresses, recorded.Address)
		}
		return one
	}
	for _, address := range link.Addresses {
		if address.Scope != "link" {
			one.Addresses = append(one.Addresses, address.Address)
		}
	}
	one.MAC, one.MTU, one.HostSide = link.MAC, link.MTU, cmp.Or(g.hostSide(Ref{ns.Inode, link.Index}), one.HostSide)
	return one
}

// stateOf compares a record with the namespace that it is of, nil if that is not seen.
func stateOf(ns *Namespace, r *Record, a *Attachment) (state State, why string) {
	switch {
	case !r.Live:
		return StateDead, "its sandbox is gone; the next call of Plexus releases it"
	case !r.Complete:
		return StateUnfinished, "its ADD is under way, or was cut short"
	case ns == nil:
		return StateGone, "its network namespace " + r.Path + " cannot be seen"
	}
	for _, recorded := range a.inSandbox() {
		link := ns.LinkNamed(recorded.Name)
		if link == nil && a.isOfTheKernel(recorded) {
			return StateGone, recorded.Name + " is not in the sandbox"
		}
		if link != nil && recorded.MAC != "" && !strings.EqualFold(link.MAC, recorded.MAC) {
			return StateChanged, fmt.Sprintf("%s has MAC %s, the record %s", recorded.Name, link.MAC, recorded.MAC)
		}
	}
	for _, recorded := range a.Addresses {
		name := cmp.Or(recorded.Interface, a.Interface)
		if link := ns.LinkNamed(name); link != nil && !link.has(recorded.Address) {
			return StateChanged, fmt.Sprintf("%s lacks %s", name, recorded.Address)
		}
	}
	if !r.Published {
		return StateUnpublished, "nobody has written the pod's status yet"
	}
	return StateOK, ""
}

// hostSide says where an interface leads to: its peer and that one's bridge, or its parent.
func (g *Graph) hostSide(ref Ref) string {
	if _, peer := g.PeerOf(ref); peer != nil {
		if _, bridge := g.BridgeOf(ref); bridge != nil {
			return peer.Name + " on " + bridge.Name
		}
		return peer.Name
	}
	if _, parent := g.ParentOf(ref); parent != nil {
		return parent.Name
	}
	return deviceSide(g.links[ref].Device)
}

// deviceSide names a VF and its PF.
func deviceSide(device *Device) string {
	switch {
	case device == nil || device.VF == nil:
		return ""
	case device.PF == "":
		return fmt.Sprintf("VF %d", *device.VF)
	}
	return fmt.Sprintf("VF %d of %s", *device.VF, device.PF)
}

// socketOf gives the socket of a vhost-user port, which is no interface of the kernel.
func socketOf(a *Attachment) string {
	for _, recorded := range a.Interfaces {
		if recorded.Socket != "" {
			return recorded.Socket
		}
	}
	return ""
}
