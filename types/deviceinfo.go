package types

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// DefaultDeviceInfoDir is the folder of the files by which plugins describe devices.
const DefaultDeviceInfoDir = "/var/run/k8s.cni.cncf.io/devinfo/cni"

// maxFileName is the length of the longest file name that Linux accepts, in bytes.
const maxFileName = 255

// DeviceInfoName gives the name of the file that describes the device of an attachment, which is
// the one that Multus gives it too. What would be too long ends in a hash of the whole.
func DeviceInfoName(network, containerID, ifName string) string {
	name := strings.ReplaceAll(fmt.Sprintf("%s-%s_%s", network, containerID, ifName), "/", "-")
	if len(name) <= maxFileName {
		return name
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	sum := fmt.Sprintf("%016x", h.Sum64())
	return name[:maxFileName-len(sum)-1] + "-" + sum
}
