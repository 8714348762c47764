package plan

import (
	"fmt"

	"github.com/plexus-cni/plexus/types"
)

// maxSelected bounds what the plugins of the networks that a pod selects are given, in bytes:
// their configurations, and for each plugin of a list all that the pod asks of the network. An
// annotation of 256 kB could otherwise make a hundred megabytes of it.
const maxSelected = 1 << 20

// count adds to what the pod's selections make, and refuses what is too much.
func (b *builder) count(size int) error {
	b.selected += size
	if b.selected > maxSelected {
		return fmt.Errorf("with this network, the plugins of the pod get more than %d bytes, its configuration and what the annotation asks, for each plugin of a list", maxSelected)
	}
	return nil
}

// asked is about how many bytes of a selection each plugin gets.
func asked(s *types.Selection) int {
	const portMapping = 64
	size := 2*len(s.DeviceID) + len(s.IPAMClaim) + len(s.InfinibandGUID) + portMapping*len(s.PortMappings) // the device under two keys
	for _, ip := range s.IPs {
		size += len(ip)
	}
	for key, value := range s.CNIArgs {
		size += len(key) + len(value)
	}
	return size
}
