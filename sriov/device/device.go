// Package device puts together all that a machine tells of a device: sysfs, what the PF
// keeps of it, and its representor as devlink knows it.
package device

import (
	"errors"

	"github.com/k8snetworkplumbingwg/sriovnet"

	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/sriov/pf"
)

// Read describes a device of this machine. Where the PF's driver, or devlink, does not
// answer, what they would have told is left out and problem says why; err is for a
// device that cannot be described at all.
func Read(id string) (d *sriov.Device, problem, err error) {
	d, err = sriov.DefaultSysfs.Device(id)
	if err != nil {
		return nil, nil, err
	}
	problem = errors.Join(addSettings(d), addRepresentor(d))
	return d, problem, nil
}

func addSettings(d *sriov.Device) error {
	if d.Kind != sriov.KindVF || d.Index == nil || d.PF == nil || d.PF.Netdev == "" {
		return nil
	}
	settings, err := pf.Read(d.PF.Netdev, *d.Index)
	d.Settings = settings
	return err
}

// addRepresentor asks devlink, which knows representors of drivers that do not name
// their ports. A device whose PF has no representors is no problem.
func addRepresentor(d *sriov.Device) error {
	if d.Representor != "" || d.PF == nil || d.Index == nil {
		return nil
	}
	find := sriovnet.GetVfRepresentor
	if d.Kind == sriov.KindSF {
		find = sriovnet.GetSfRepresentor
	}
	name, err := find(d.PF.PCIAddress, *d.Index)
	if errors.Is(err, sriovnet.ErrMultipleRepresentorsFound) {
		return err
	}
	d.Representor = name
	return nil
}
