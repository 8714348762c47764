package inspect

import (
	"fmt"
	"slices"
	"strings"
)

// Published is what the status of a pod, at the API server, says of an interface.
type Published struct {
	Network   string
	Interface string
	Addresses []string // with or without a prefix
	MAC       string
}

// OnlyPod gives the pod of a list that has only one.
func (l *AttachedList) OnlyPod() (string, bool) {
	for _, item := range l.Items {
		if item.Pod != l.Items[0].Pod {
			return "", false
		}
	}
	return l.Items[0].Pod, l.Items[0].Pod != ""
}

// ComparePublished compares the attachments of a pod with its status: where nothing else is wrong, one
// is unpublished whose status is missing, or says something else than the record.
func (l *AttachedList) ComparePublished(pod string, status []Published) {
	for i := range l.Items {
		item := &l.Items[i]
		if item.Pod != pod || item.State != StateOK && item.State != StateUnpublished {
			continue
		}
		item.State, item.Why = StateOK, ""
		if why := item.unpublished(status); why != "" {
			item.State, item.Why = StateUnpublished, why
		}
	}
}

func (a *Attached) unpublished(status []Published) string {
	if status == nil {
		return "the pod has no status of its networks"
	}
	at := slices.IndexFunc(status, func(p Published) bool { return p.Interface == a.Interface })
	if at < 0 {
		return "the pod's status lacks " + a.Interface
	}
	return a.differs(&status[at])
}

// differs says what the status has otherwise than the record.
func (a *Attached) differs(p *Published) string {
	if p.Network != a.Network {
		return fmt.Sprintf("the pod's status has network %s for %s", p.Network, a.Interface)
	}
	for _, recorded := range a.recorded.Addresses {
		isIt := func(address string) bool { return ParseIP(address) == ParseIP(recorded.Address) }
		if (recorded.Interface == "" || recorded.Interface == a.Interface) && !slices.ContainsFunc(p.Addresses, isIt) {
			return fmt.Sprintf("the pod's status lacks %s of %s", recorded.Address, a.Interface)
		}
	}
	if p.MAC != "" && a.MAC != "" && !strings.EqualFold(p.MAC, a.MAC) {
		return fmt.Sprintf("the pod's status has MAC %s for %s", p.MAC, a.Interface)
	}
	return ""
}

// key identifies an attachment in lists of one node.
func (a *Attached) key() string {
	return strings.Join([]string{a.Pod, a.ContainerID, a.Network, a.Interface}, "\x00")
}

// Changes gives the attachments that are not as they were in a list before, and those that are gone,
// as released.
func (l *AttachedList) Changes(before *AttachedList) *AttachedList {
	changes := &AttachedList{APIVersion: l.APIVersion, Kind: l.Kind, Items: []Attached{}, Notes: l.Notes}
	was := map[string]*Attached{}
	for i := range before.Items {
		was[before.Items[i].key()] = &before.Items[i]
	}
	for i := range l.Items {
		item := &l.Items[i]
		if old := was[item.key()]; old == nil || !item.equal(old) {
			changes.Items = append(changes.Items, *item)
		}
		delete(was, item.key())
	}
	for _, old := range before.Items {
		if was[old.key()] != nil {
			old.State, old.Why = StateReleased, ""
			changes.Items = append(changes.Items, old)
		}
	}
	return changes
}

func (a *Attached) equal(b *Attached) bool {
	return a.State == b.State && a.Why == b.Why && a.MAC == b.MAC && a.MTU == b.MTU && a.Device == b.Device && a.HostSide == b.HostSide &&
		slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Plugins, b.Plugins)
}
