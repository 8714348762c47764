package vf

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin/statefile"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// stateFormat is the format of the states that are written.
const stateFormat = 1

// Errors of an ADD for a VF that is in use, for errors.Is.
var (
	ErrTaken    = errors.New("another sandbox has it")
	ErrAttached = errors.New("is attached already")
)

// Key names a state: the device, and the attachment that has it.
type Key struct {
	Device      string `json:"device"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// String names the attachment for errors.
func (k Key) String() string {
	return fmt.Sprintf("device %s of container %s, interface %s", k.Device, k.ContainerID, k.IfName)
}

const keySeparator = "@"

// name gives the name of the state's file, without its suffix.
func (k Key) name() string {
	return k.Device + keySeparator + k.ContainerID + keySeparator + k.IfName
}

// check reports why a key cannot name a file, or not so that parseKey finds its parts.
func (k Key) check() error {
	for _, part := range []string{k.Device, k.ContainerID, k.IfName, k.name()} {
		if err := statefile.CheckName(part); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	if strings.Contains(k.Device+k.ContainerID, keySeparator) {
		return fmt.Errorf("%s: has %q in it", k, keySeparator)
	}
	return nil
}

func parseKey(name string) (Key, bool) {
	parts := strings.SplitN(name, keySeparator, 3)
	if len(parts) != 3 {
		return Key{}, false
	}
	key := Key{Device: parts[0], ContainerID: parts[1], IfName: parts[2]}
	return key, key.check() == nil
}

// State is what is known of a VF before it was touched, and what was asked of it:
// enough to undo everything.
type State struct {
	Format int `json:"format"`
	Key
	Network string `json:"network"`
	NetNS   string `json:"netNS"`
	// What identifies the namespace at NetNS, as in a record of plexus.
	NetNSInode   uint64 `json:"netNSInode"`
	NetNSChanged int64  `json:"netNSChanged,omitempty"`
	NetNSCookie  uint64 `json:"netNSCookie,omitempty"`
	MountNSInode uint64 `json:"mountNSInode,omitempty"` // in which NetNS was seen
	BootID       string `json:"bootID"`

	PF      *sriov.PF         `json:"pf,omitempty"`
	VFIndex int               `json:"vf"`
	Before  *sriov.VFSettings `json:"before,omitempty"` // what the PF kept; nil if it could not be asked
	Link    *Link             `json:"link,omitempty"`   // the VF's interface on the host; nil with a driver of user space
	Traits  *Traits           `json:"traits,omitempty"` // of the interface; nil if they are not known
	Want    Settings          `json:"want"`

	IPAM           string          `json:"ipam,omitempty"` // the plugin that was asked for addresses
	Config         json.RawMessage `json:"config"`         // its configuration
	CNIArgs        string          `json:"cniArgs,omitempty"`
	DeviceInfoFile string          `json:"deviceInfoFile,omitempty"` // if it is ours

	// Attached is false until the ADD has come to its end.
	Attached bool `json:"attached"`
}

// Link is an interface of a VF.
type Link struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	MAC   string `json:"mac"`
	MTU   int    `json:"mtu"`
	Up    bool   `json:"up"`
	// AltNames are alternative names, each of which is taken as Name is.
	AltNames []string `json:"altNames,omitempty"`
	// Infiniband is true for an interface whose address is not its own to choose.
	Infiniband bool `json:"infiniband,omitempty"`
}

// check reports what of a state cannot be.
func (s *State) check() error {
	if s.VFIndex < 0 || s.BootID == "" {
		return errors.New("it is no state")
	}
	if s.PF != nil && !sriov.IsPCIAddress(s.PF.PCIAddress) {
		return fmt.Errorf("pf: %.60q is no PCI address", s.PF.PCIAddress)
	}
	if s.Link != nil {
		if err := types.CheckInterfaceName(s.Link.Name); err != nil {
			return fmt.Errorf("link: %w", err)
		}
	}
	return s.Key.check()
}

func (s *State) netNSID() host.NetNSID {
	return host.NetNSID{Inode: s.NetNSInode, Changed: s.NetNSChanged, Cookie: s.NetNSCookie}
}

// whereabouts names VF and PF for errors, as far as they are known.
func (s *State) whereabouts() string {
	if s.PF == nil {
		return "device " + s.Device
	}
	return fmt.Sprintf("device %s (PF %s, VF %d)", s.Device, orUnnamed(s.PF), s.VFIndex)
}

func orUnnamed(pf *sriov.PF) string {
	if pf.Netdev == "" {
		return pf.PCIAddress
	}
	return pf.Netdev
}

var notInNames = regexp.MustCompile(`[^0-9a-z]`)

// TemporaryName is the name of the VF's interface while it moves: no other interface of
// the host or the pod has it, and whoever comes after a crash knows it.
func TemporaryName(device string) string {
	short := notInNames.ReplaceAllString(strings.ToLower(device), "")
	if sriov.IsPCIAddress(device) {
		return "vf" + short
	}
	return fmt.Sprintf("vf%08x", hash(device))
}

func hash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}
