package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DeviceAtHome reports whether the kernel shows that a device is not in the network
// namespace of a sandbox: its interface is in this one, or its driver makes no interface,
// or there is no such device.
func DeviceAtHome(id string) bool { return deviceAtHome("/sys", id) }

func deviceAtHome(sysfs, id string) bool {
	if strings.Contains(id, "/") || id == "." || id == ".." {
		return true // no name of the kernel's: a socket, for instance
	}
	devices := filepath.Join(sysfs, "bus", "*", "devices", escaped(id))
	for _, pattern := range []string{"net", "*/net"} { // of a virtio device, under its child
		folders, err := filepath.Glob(filepath.Join(devices, pattern))
		if err != nil || slices.ContainsFunc(folders, isEmpty) {
			return false
		}
	}
	return true
}

// isEmpty: sysfs shows the interfaces of its own network namespace alone. The folder of a
// device whose interface is elsewhere is there all the same.
func isEmpty(folder string) bool {
	interfaces, err := os.ReadDir(folder)
	return err != nil || len(interfaces) == 0
}

// escaped makes a name a pattern of nothing but itself.
func escaped(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
