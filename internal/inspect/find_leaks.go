package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// How old something must be before it counts as left behind: a call may be at it.
const (
	youngReservation = 2 * time.Minute
	youngRecord      = 5 * time.Minute
)

// listed bounds how many names a text has.
const listed = 5

// list joins names, and says how many more there are.
func list(names []string) string {
	if len(names) <= listed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:listed], ", "), len(names)-listed)
}

// who names the sandbox of a record.
func (r *Record) who() string {
	if r.Pod != "" {
		return r.Pod + " (" + r.ContainerID + ")"
	}
	return r.ContainerID
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "x") {
		one += "e"
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// records gives a finding of the records that a test chooses, with their IDs as evidence.
func (v *nodeView) records(chosen func(*Record) bool, field, what string) []Finding {
	var names []string
	var evidence []Evidence
	for i := range v.s.Records {
		if r := &v.s.Records[i]; chosen(r) {
			names = append(names, r.who())
			evidence = append(evidence, v.seen("records["+r.ContainerID+"]."+field, false))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return v.finding(fmt.Sprintf("%s %s: %s", plural(len(names), "record"), what, list(names)), evidence[:min(len(evidence), listed)]...)
}

func staleRecords(v *nodeView) []Finding {
	return v.records(func(r *Record) bool { return !r.Live }, "live", "of sandboxes that are gone, with what their networks hold")
}

func unfinishedRecords(v *nodeView) []Finding {
	return v.records(func(r *Record) bool {
		return r.Live && !r.Complete && v.s.Machine.Taken.Sub(r.Created) > youngRecord
	}, "complete", "whose ADD was cut short")
}

func givenUp(v *nodeView) []Finding {
	if len(v.cni.GivenUp) == 0 {
		return nil
	}
	return v.finding(fmt.Sprintf("%s that nothing could release: %s", plural(len(v.cni.GivenUp), "sandbox"), list(v.cni.GivenUp)),
		v.seen("cni.givenUp", strings.Join(v.cni.GivenUp, ",")))
}

// heldBy says who has the address of a store: a live or dead record, the runtime's cache, or nobody ("").
func (v *nodeView) heldBy(r *Reservation) string {
	for i := range v.s.Records {
		if v.s.Records[i].ContainerID == r.ContainerID {
			return v.s.Records[i].who()
		}
	}
	isSandbox := v.cni.Runtime != nil && slices.Contains(v.cni.Runtime.Sandboxes, r.ContainerID)
	isIn := func(ns Namespace) bool { return ns.Sandbox != nil && ns.Sandbox.ContainerID == r.ContainerID }
	if r.Cached || isSandbox || slices.ContainsFunc(v.s.Namespaces, isIn) {
		return r.ContainerID
	}
	return ""
}

func addressesOfNobody(v *nodeView) (all []Finding) {
	for i := range v.cni.Stores {
		store := &v.cni.Stores[i]
		var files []string
		for j := range store.Reservations {
			r := &store.Reservations[j]
			if v.heldBy(r) == "" && v.s.Machine.Taken.Sub(r.Since) > youngReservation {
				files = append(files, store.Dir+"/"+r.Address)
			}
		}
		if len(files) == 0 {
			continue
		}
		found := v.finding(fmt.Sprintf("network %s: %s of no sandbox: %s", store.Network, plural(len(files), "reservation"), list(files)),
			v.seen("cni.stores["+store.Network+"].reservations", len(files)))
		found[0].Do = "Make sure that no container has the address, then `rm " + strings.Join(files[:min(len(files), listed)], " ") + "`."
		all = append(all, found...)
	}
	return all
}

func rangesFull(v *nodeView) (all []Finding) {
	for i := range v.cni.Stores {
		for _, r := range v.cni.Stores[i].Ranges {
			if r.Size == 0 || r.Taken*10 < r.Size*9 {
				continue
			}
			found := v.finding(fmt.Sprintf("network %s: %d of the %d addresses from %s to %s are taken", v.cni.Stores[i].Network, r.Taken, r.Size, r.Start, r.End),
				v.seen("cni.stores["+v.cni.Stores[i].Network+"].ranges["+r.Subnet+"].taken", r.Taken))
			if r.Taken >= r.Size {
				found[0].Severity = Error
			}
			all = append(all, found...)
		}
	}
	return all
}

// holderOf says who has a VF: a record, or a namespace that has its interface; "" if nobody is known.
func (v *nodeView) holderOf(vf *NodeVF) string {
	for i := range v.s.Records {
		for j := range v.s.Records[i].Attachments {
			if v.s.Records[i].Attachments[j].DeviceID == vf.ID {
				return v.s.Records[i].who()
			}
		}
	}
	for i := range v.s.Namespaces {
		ns := &v.s.Namespaces[i]
		has := func(l Link) bool { return l.Device != nil && l.Device.ID == vf.ID }
		if !ns.Host && slices.ContainsFunc(ns.Links, has) {
			return ns.Title()
		}
	}
	return ""
}

func vfsOfNobody(v *nodeView) (all []Finding) {
	for i := range v.cni.VFs {
		vf := &v.cni.VFs[i]
		if vf.Netdev != "" || vf.User || vf.Driver == "" || v.holderOf(vf) != "" {
			continue
		}
		all = append(all, v.finding(fmt.Sprintf("the VF %s of %s has its interface in no namespace that is known here, and no record has it", vf.ID, vf.PF),
			v.seen("cni.vfs["+vf.ID+"].netdev", ""))...)
	}
	return all
}

func runtimeNotReady(v *nodeView) []Finding {
	r := v.cni.Runtime
	switch {
	case r == nil:
		return nil
	case r.Error != "":
		return v.finding("the container runtime does not answer on "+r.Endpoint+": "+r.Error, v.seen("cni.runtime.error", r.Error))
	case r.NotReady != "":
		return v.finding("the container runtime says that its network is not ready: "+r.NotReady, v.seen("cni.runtime.notReady", r.NotReady))
	}
	return nil
}

func recordsWithoutSandbox(v *nodeView) []Finding {
	runtime := v.cni.Runtime
	if runtime == nil || runtime.Error != "" {
		return nil
	}
	return v.records(func(r *Record) bool {
		isOld := v.s.Machine.Taken.Sub(r.Created) > youngRecord
		return r.Live && isOld && !slices.Contains(runtime.Sandboxes, r.ContainerID)
	}, "sandbox", "of sandboxes whose namespace is there, and that the container runtime does not know")
}
