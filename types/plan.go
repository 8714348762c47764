package types

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Sandbox is what the runtime called Plexus for.
type Sandbox struct {
	ContainerID string      `json:"containerID"`
	NetNS       string      `json:"netns,omitempty"` // path of the network namespace
	IfName      string      `json:"ifname"`          // the runtime's name for the first interface
	Args        [][2]string `json:"args,omitempty"`  // CNI_ARGS, in order, as they came
}

// Attachment is one network to be attached, with nothing left to find out.
type Attachment struct {
	// Network names the attachment in status, events and errors: the CNI name of a
	// network of the node's own configuration, "namespace/name" of one from the API.
	Network string `json:"network"`
	// Name is the network's CNI name, by which its plugins know it.
	Name      string `json:"name"`
	Interface string `json:"interface"`
	Default   bool   `json:"default,omitempty"` // makes the pod's first interface
	// Selected is true if the pod selects the network, false if the node attaches every pod to it.
	// Only the ADD that planned it asks.
	Selected bool `json:"-"`
	// Origin is where it comes from. Only what explains a plan asks.
	Origin Origin `json:"-"`
	// Config is the configuration list, its exact bytes before libcni injects name,
	// prevResult and runtimeConfig. A single configuration was made a list.
	Config string `json:"config"`
	// CapabilityArgs is given to the plugins that declare the capability.
	CapabilityArgs map[string]json.RawMessage `json:"capabilityArgs,omitempty"`
	// Args are CNI_ARGS of this attachment alone: what the pod asks of it, as Multus hands it over.
	Args [][2]string `json:"args,omitempty"`
	// IPs and MAC are what the pod asks for. The ADD fails if the attachment has not got them.
	IPs []string `json:"ips,omitempty"`
	MAC string   `json:"mac,omitempty"`
	// Gateways are to get the pod's default routes, at most one of each family.
	Gateways []string `json:"gateways,omitempty"`
	DeviceID string   `json:"deviceID,omitempty"`
	// DeviceInfoFile is where the plugins may describe the device; "" if none does.
	DeviceInfoFile string `json:"deviceInfoFile,omitempty"`
	ResourceName   string `json:"resourceName,omitempty"`
	// Claimed is the device as a ResourceClaim allocates it, nil for one of a device plugin.
	Claimed *ClaimedDevice `json:"claimed,omitempty"`
}

// Origin says which input names a network, and where its configuration stands.
type Origin struct {
	// Field is a key of the node's configuration, as `delegates[1]`, or an annotation of the pod.
	Field   string
	Element int // of the annotation, counted from 1; 0 for a key of the node's configuration
	// Definition is the NetworkAttachmentDefinition, nil if there is none.
	Definition *Ref
	File       string // of the node that has the configuration; "" if it stands elsewhere
}

// CNIArgs gives the CNI_ARGS of the attachment: the runtime's, in which its own replace those
// of the same key. A plugin refuses a key that it does not know unless IgnoreUnknown is set:
// bridge knows MAC alone, and its IPAM plugin IP alone.
func (a *Attachment) CNIArgs(sandbox *Sandbox) [][2]string {
	if len(a.Args) == 0 {
		return sandbox.Args
	}
	own := append([][2]string{{"IgnoreUnknown", "1"}}, a.Args...)
	others := slices.DeleteFunc(slices.Clone(sandbox.Args), func(arg [2]string) bool {
		return slices.ContainsFunc(own, func(mine [2]string) bool { return mine[0] == arg[0] })
	})
	return slices.Concat(own[:1], others, own[1:])
}

// Plan is everything that an ADD will do, in order, the default network first.
type Plan struct {
	Pod         Pod          `json:"pod"`
	Sandbox     Sandbox      `json:"sandbox"`
	Attachments []Attachment `json:"attachments"`
}

// Device is one device. Resource is empty if it is not known.
type Device struct {
	Resource, ID string
	// PCIAddress is where the device is, if its driver says that and its ID is something else.
	PCIAddress string
}

// Is reports whether two devices may be the same one: they have an address on a bus of the node in
// common, which several resources may offer, or the ID of one resource.
func (d Device) Is(other Device) bool {
	theirs := other.addresses()
	if slices.ContainsFunc(d.addresses(), func(mine string) bool { return slices.Contains(theirs, mine) }) {
		return true
	}
	return d.ID == other.ID && (d.Resource == other.Resource || d.Resource == "" || other.Resource == "")
}

// addresses gives where the device is on a bus of the node, in one form for each place. A domain may
// be written with more digits than it needs.
func (d Device) addresses() []string {
	var all []string
	for _, text := range []string{d.ID, d.PCIAddress} {
		if isAddress(text) {
			text = strings.ToLower(text)
			for strings.HasPrefix(text, "0") && strings.IndexByte(text, ':') > len("0000") {
				text = text[1:]
			}
			all = append(all, text)
		}
	}
	return all
}

// address matches a PCI address, and the name of a subfunction on the auxiliary bus.
var address = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|[0-9a-z_]+\.sf\.[0-9]+)$`)
})

func isAddress(id string) bool { return address().MatchString(id) }

// String names the device for errors.
func (d Device) String() string {
	if d.Resource == "" {
		return fmt.Sprintf("device %q", d.ID)
	}
	return fmt.Sprintf("device %q of resource %s", d.ID, d.Resource)
}

// Device gives the device of the attachment, if it has one.
func (a *Attachment) Device() (Device, bool) {
	device := Device{Resource: a.ResourceName, ID: a.DeviceID}
	if a.Claimed != nil {
		device.PCIAddress = a.Claimed.PCIAddress
	}
	return device, a.DeviceID != ""
}

// HasDevices reports whether any attachment has a device.
func (p *Plan) HasDevices() bool {
	return slices.ContainsFunc(p.Attachments, func(a Attachment) bool { return a.DeviceID != "" })
}
