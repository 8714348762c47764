package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// devices hands out the devices that are allocated to the pod, each once: to attachments
// that name one, that one; to the others, in their order, the rest of their resource.
type devices struct {
	allocated map[string][]string // by resource; nil if no kubelet was asked
	named     map[types.Device]bool
	taken     map[types.Device]string // the network that has it
}

func newDevices(allocated map[string][]string) *devices {
	return &devices{allocated: allocated, named: map[types.Device]bool{}, taken: map[types.Device]string{}}
}

// request is what an attachment wants of devices.
type deviceRequest struct{ resource, named, network string }

func (w *wanted) deviceRequest() deviceRequest {
	r := deviceRequest{resource: w.resourceName, network: w.label}
	if w.selection != nil {
		r.named = w.selection.DeviceID
	}
	return r
}

// reserve keeps a device that an attachment names from the attachments before it.
func (d *devices) reserve(r deviceRequest) {
	if r.named == "" {
		return
	}
	if device, err := d.find(r); err == nil {
		d.named[device] = true
	}
}

// take gives an attachment its device; the zero Device if it wants none.
func (d *devices) take(r deviceRequest) (device types.Device, err error) {
	switch {
	case r.named != "":
		device, err = d.find(r)
	case r.resource != "":
		device, err = d.next(r.resource)
	default:
		return types.Device{}, nil
	}
	if err != nil {
		return types.Device{}, err
	}
	if network, taken := d.takenBy(device); taken {
		return types.Device{}, d.errTaken(device, network)
	}
	d.taken[device] = r.network
	return device, nil
}

// takenBy gives the network that has a device, of whatever resource it was taken.
func (d *devices) takenBy(device types.Device) (network string, taken bool) {
	for other, network := range d.taken {
		if device.Is(other) {
			return network, true
		}
	}
	return "", false
}

// isNamed reports whether an attachment names a device.
func (d *devices) isNamed(device types.Device) bool {
	for other := range d.named {
		if device.Is(other) {
			return true
		}
	}
	return false
}

// find finds the device that an attachment names: one of the pod's own. If
// no kubelet was asked, any will do.
func (d *devices) find(r deviceRequest) (types.Device, error) {
	if d.allocated == nil && r.resource == "" {
		return types.Device{ID: r.named}, nil
	}
	for _, resource := range slices.Sorted(maps.Keys(d.allocated)) {
		if (r.resource == "" || r.resource == resource) && slices.Contains(d.allocated[resource], r.named) {
			return types.Device{Resource: resource, ID: r.named}, nil
		}
	}
	if d.allocated == nil {
		return types.Device{}, errNobodyAsked(r.resource)
	}
	device := types.Device{Resource: r.resource, ID: r.named}
	return types.Device{}, fmt.Errorf("deviceID: %s is not the pod's; allocated to the pod: %s", device, d.usage(r.resource))
}

// next gives the first device of a resource that is neither taken nor named.
func (d *devices) next(resource string) (types.Device, error) {
	if d.allocated == nil {
		return types.Device{}, errNobodyAsked(resource)
	}
	for _, id := range d.allocated[resource] {
		device := types.Device{Resource: resource, ID: id}
		if _, taken := d.takenBy(device); !taken && !d.isNamed(device) {
			return device, nil
		}
	}
	return types.Device{}, fmt.Errorf("resource %s: no device is left for this attachment; allocated to the pod: %s", resource, d.usage(resource))
}

func (d *devices) errTaken(device types.Device, network string) error {
	err := fmt.Errorf("deviceID: %s is taken by network %s", device, network)
	if d.allocated == nil {
		return err
	}
	return fmt.Errorf("%w; allocated to the pod: %s", err, d.usage(device.Resource))
}

func errNobodyAsked(resource string) error {
	return fmt.Errorf("resource %s: its devices are not known: there is no kubelet to ask where the facts come from "+
		"(keys manifests and podResourcesSocket)", resource)
}

// maxListed is how many devices an error lists of one resource.
const maxListed = 16

// usage lists the pod's devices of all resources, each with the network that it is for,
// those of the resource in question first.
func (d *devices) usage(resource string) string {
	var lists []string
	for _, r := range slices.Sorted(maps.Keys(d.allocated)) {
		if r != resource && len(d.allocated[r]) > 0 {
			lists = append(lists, d.listOf(r))
		}
	}
	own := d.listOf(resource)
	switch {
	case own == "" && len(lists) == 0:
		return "none, since no container of it requests one"
	case own == "" && resource != "":
		return "none of resource " + resource + ", but " + strings.Join(lists, ", ")
	case own != "":
		lists = slices.Insert(lists, 0, own)
	}
	return strings.Join(lists, ", ")
}

// listOf lists the pod's devices of one resource.
func (d *devices) listOf(resource string) string {
	ids := d.allocated[resource]
	var all []string
	for _, id := range ids[:min(len(ids), maxListed)] {
		all = append(all, d.describe(types.Device{Resource: resource, ID: id}))
	}
	if more := len(ids) - maxListed; more > 0 {
		all = append(all, fmt.Sprintf("and %d more of resource %s", more, resource))
	}
	return strings.Join(all, ", ")
}

func (d *devices) describe(device types.Device) string {
	switch network, taken := d.takenBy(device); {
	case taken:
		return fmt.Sprintf("%s (for network %s)", device, network)
	case d.isNamed(device):
		return fmt.Sprintf("%s (named by another attachment)", device)
	}
	return device.String()
}
