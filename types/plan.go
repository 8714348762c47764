package types

import (
	"encoding/json"
	"fmt"
	"slices"
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
	// Config is the configuration list, its exact bytes before libcni injects name,
	// prevResult and runtimeConfig. A single configuration was made a list.
	Config string `json:"config"`
	// CapabilityArgs is given to the plugins that declare the capability.
	CapabilityArgs map[string]json.RawMessage `json:"capabilityArgs,omitempty"`
	// Gateways are to get the pod's default routes, at most one of each family.
	Gateways []string `json:"gateways,omitempty"`
	DeviceID string   `json:"deviceID,omitempty"`
	// DeviceInfoFile is where the plugins may describe the device; "" if none does.
	DeviceInfoFile string `json:"deviceInfoFile,omitempty"`
	ResourceName   string `json:"resourceName,omitempty"`
}

// Plan is everything that an ADD will do, in order, the default network first.
type Plan struct {
	Pod         Pod          `json:"pod"`
	Sandbox     Sandbox      `json:"sandbox"`
	Attachments []Attachment `json:"attachments"`
}

// Device is one device. Resource is empty if it is not known.
type Device struct{ Resource, ID string }

// Is reports whether two devices may be the same one.
func (d Device) Is(other Device) bool {
	return d.ID == other.ID && (d.Resource == other.Resource || d.Resource == "" || other.Resource == "")
}

// String names the device for errors.
func (d Device) String() string {
	if d.Resource == "" {
		return fmt.Sprintf("device %q", d.ID)
	}
	return fmt.Sprintf("device %q of resource %s", d.ID, d.Resource)
}

// Device gives the device of the attachment, if it has one.
func (a *Attachment) Device() (Device, bool) {
	return Device{Resource: a.ResourceName, ID: a.DeviceID}, a.DeviceID != ""
}

// HasDevices reports whether any attachment has a device.
func (p *Plan) HasDevices() bool {
	return slices.ContainsFunc(p.Attachments, func(a Attachment) bool { return a.DeviceID != "" })
}
