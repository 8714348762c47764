package vf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// sriovCNIHolder gives the network namespace to which sriov-cni has given a device. It is "" if none has
// it that may live, or if it is that of our own sandbox. sriov-cni keeps a file for each device, whose
// content is the path of the namespace. The file stays if sriov-cni was never called for DEL, so one
// whose namespace is gone says nothing. It is empty while sriov-cni only holds its lock.
func (e *Engine) sriovCNIHolder(device, own string) (netns string, err error) {
	if e.SRIOVCNI == "" {
		return "", nil
	}
	data, err := host.ReadFile(filepath.Join(e.SRIOVCNI, "pci", device), unix.PathMax)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("state of sriov-cni: %w", err)
	}
	netns = strings.TrimSpace(string(data))
	if e.isSame(netns, own) || e.isSame(netns, hostNetNS) {
		return "", nil
	}
	if _, exists := e.Links.Namespace(netns); exists || e.Links.Hidden(netns, host.NetNSID{}, 0) {
		return netns, nil
	}
	return "", nil
}

// hostNetNS leads to the namespace of the plugin. A path in /proc leads there, too, once the number of
// the pod's process is another's.
const hostNetNS = "/proc/self/ns/net"

// isSame reports whether two paths lead to one network namespace.
func (e *Engine) isSame(a, b string) bool {
	first, exists := e.Links.Namespace(a)
	second, exists2 := e.Links.Namespace(b)
	return exists && exists2 && first.Inode != 0 && first.Inode == second.Inode
}

// checkSRIOVCNI refuses a device that a living pod has by sriov-cni.
func (e *Engine) checkSRIOVCNI(device string) error {
	netns, err := e.sriovCNIHolder(device, "")
	if err != nil {
		return types.WithCode(types.CodeIOFailure, err)
	}
	if netns != "" {
		return types.WithCode(types.CodeInvalidConfig, fmt.Errorf("device %s: %w: sriov-cni gave it to network namespace %s", device, ErrTaken, netns))
	}
	return nil
}
