//go:build linux

package collect

import (
	"path/filepath"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// readVFs reads the virtual functions of the node.
func (c *collector) readVFs() {
	if c.options.Sysfs == "" {
		return
	}
	links, err := filepath.Glob(filepath.Join(string(c.options.Sysfs), "bus", "pci", "devices", "*", "physfn"))
	if err != nil {
		return
	}
	for _, link := range links {
		id := filepath.Base(filepath.Dir(link))
		device, err := c.options.Sysfs.Device(id)
		if err != nil {
			c.note("device "+id, err)
			continue
		}
		vf := inspect.NodeVF{ID: id, Index: device.Index, Driver: device.Driver, Netdev: device.Netdev, User: device.UserSpace()}
		if device.PF != nil {
			vf.PF = device.PF.Netdev
			if vf.PF == "" {
				vf.PF = device.PF.PCIAddress
			}
		}
		c.snapshot.CNI.VFs = append(c.snapshot.CNI.VFs, vf)
	}
}
