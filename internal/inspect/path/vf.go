package path

import (
	"fmt"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// pf gives the PF of a VF, if the node's own namespace has it, and the VLAN that the NIC puts the
// VF's frames into.
func (t *tracer) pf(vf point) (pf point, vlan int, found bool) {
	device, host := t.world.link(vf).Device, t.world.machines[vf.machine].graph.Host()
	if host == nil || host.LinkNamed(device.PF) == nil {
		return vf, 0, false
	}
	link := host.LinkNamed(device.PF)
	if settings := settingsOf(link, *device.VF); settings != nil {
		vlan = settings.VLAN
	}
	return point{vf.machine, inspect.Ref{Namespace: host.Inode, Index: link.Index}}, vlan, true
}

// settingsOf gives how a PF treats a VF, nil if it is not known.
func settingsOf(pf *inspect.Link, index int) *inspect.VF {
	i := slices.IndexFunc(pf.VFs, func(vf inspect.VF) bool { return vf.Index == index })
	if i < 0 {
		return nil
	}
	return &pf.VFs[i]
}

// sendVF gives the frame to the switch of the NIC, which knows the other VFs of its PF.
func (t *tracer) sendVF(from point, link *inspect.Link) error {
	pf, vlan, found := t.pf(from)
	if !found {
		return t.wire(from)
	}
	t.step = Step{Child, "VF " + vfText(link) + ", by the NIC's own switch"}
	if vlan != 0 {
		t.tags = append(t.tags, vlan)
		t.step.Text += fmt.Sprintf(", which tags it with VLAN %d", vlan)
	}
	t.hop(pf)
	if err := t.vfMaySend(link, t.world.link(pf)); err != nil {
		return err
	}
	for _, sibling := range t.vfs(pf) {
		if sibling != from && t.isFor(sibling) {
			_, other, _ := t.pf(sibling)
			if other != vlan {
				return lost("Look at ip link show "+t.world.link(pf).Name+".", "the NIC keeps %s and %s apart: VF %s is in VLAN %d, VF %s in VLAN %d", link.Name, t.world.link(sibling).Name, vfText(link), vlan, vfText(t.world.link(sibling)), other)
			}
			t.untag(vlan)
			t.step = Step{Child, "VF " + vfText(t.world.link(sibling)) + ": the frame does not leave the NIC"}
			return t.receive(sibling)
		}
	}
	return t.wire(pf)
}

// vfMaySend reports what the PF's settings of a VF drop.
func (t *tracer) vfMaySend(link, pf *inspect.Link) error {
	settings := settingsOf(pf, *link.Device.VF)
	switch {
	case settings == nil:
	case settings.State == "disable":
		return lost(fmt.Sprintf("Set it: ip link set %s vf %d state auto.", pf.Name, settings.Index), "the PF %s has the link of VF %d disabled", pf.Name, settings.Index)
	case settings.Spoofchk && settings.MAC != "" && settings.MAC != "00:00:00:00:00:00" && settings.MAC != link.MAC:
		return lost(fmt.Sprintf("Give the interface that MAC, or set it: ip link set %s vf %d mac %s.", pf.Name, settings.Index, link.MAC), "the NIC drops frames of VF %d as spoofed: the PF %s has the MAC %s for it, and %s has %s", settings.Index, pf.Name, settings.MAC, link.Name, link.MAC)
	}
	return nil
}

// vfs gives the VFs of a PF, in whichever namespace they are.
func (t *tracer) vfs(pf point) (all []point) {
	name := t.world.link(pf).Name
	t.world.each(func(p point, link *inspect.Link) {
		if p.machine == pf.machine && link.Device != nil && link.Device.VF != nil && link.Device.PF == name {
			all = append(all, p)
		}
	})
	return all
}

// isFor reports whether an interface takes the frame: by its MAC, or by the address if that is not resolved.
func (t *tracer) isFor(p point) bool {
	link := t.world.link(p)
	return t.mac != "" && link.MAC == t.mac || t.mac == "" && hasAddress(link, t.next)
}

func (t *tracer) untag(vlan int) {
	if vlan != 0 && len(t.tags) > 0 {
		t.tags = t.tags[:len(t.tags)-1]
	}
}

// vfOf finds the VF of a PF that a frame off the wire is for. A frame for the PF itself is for none.
func (t *tracer) vfOf(pf point) (point, bool) {
	if !t.world.namespace(pf).Host || t.isFor(pf) {
		return point{}, false
	}
	for _, vf := range t.vfs(pf) {
		_, vlan, _ := t.pf(vf)
		tagged := len(t.tags) > 0 && t.tags[len(t.tags)-1] == vlan
		if t.isFor(vf) && (vlan == 0 || tagged) {
			t.untag(vlan)
			t.step = Step{Child, "VF " + vfText(t.world.link(vf))}
			return vf, true
		}
	}
	return point{}, false
}
