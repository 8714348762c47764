package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// devices hands out the devices that are allocated to the pod, each once: to attachments
// that name one, or the claim of one, that one; to the others, in their order, the rest of their
// resource.
type devices struct {
	// allocated has the devices by resource, those of device plugins before those of claims; it is
	// nil if nobody was asked. Those of claims that have no resource are under "".
	allocated map[string][]types.Device
	claimed   map[types.Device]*types.ClaimedDevice
	all       []types.ClaimedDevice // of the pod's claims, also those that are for no network
	asked     bool                  // a kubelet was
	named     map[types.Device]bool
	reserved  map[*wanted]types.Device // what the attachments that name a claim get
	taken     map[types.Device]string  // the network that has it
}

func newDevices(facts *types.Facts) *devices {
	d := &devices{
		claimed: map[types.Device]*types.ClaimedDevice{}, all: facts.Claimed, asked: facts.Devices != nil,
		named: map[types.Device]bool{}, reserved: map[*wanted]types.Device{}, taken: map[types.Device]string{},
	}
	if facts.Devices == nil && len(facts.Claimed) == 0 {
		return d
	}
	d.allocated = map[string][]types.Device{}
	for resource, ids := range facts.Devices {
		for _, id := range ids {
			d.allocated[resource] = append(d.allocated[resource], types.Device{Resource: resource, ID: id})
		}
	}
	for i := range facts.Claimed {
		d.addClaimed(&facts.Claimed[i])
	}
	return d
}

// addClaimed adds a device of a claim, unless it is for no network. Partitions and shares of one
// device are that device.
func (d *devices) addClaimed(c *types.ClaimedDevice) {
	device := c.Device()
	known := slices.ContainsFunc(d.allocated[c.Resource], device.Is)
	if c.ID == "" || known {
		return
	}
	d.allocated[c.Resource] = append(d.allocated[c.Resource], device)
	d.claimed[device] = c
}

// request is what an attachment wants of devices.
type deviceRequest struct {
	resource, named, network string
	claim                    *types.ClaimRequest
}

func (w *wanted) deviceRequest() (deviceRequest, error) {
	r := deviceRequest{resource: w.resourceName, network: w.label}
	text := w.claim
	if w.selection != nil {
		r.named = w.selection.DeviceID
		text = cmp.Or(w.selection.Claim, text)
	}
	if text == "" || r.named != "" {
		return r, nil
	}
	claim, err := types.ParseClaimRequest(text)
	if err != nil {
		return r, fmt.Errorf("annotation %s: %w", types.AnnotationClaim, err)
	}
	r.claim = &claim
	return r, nil
}

// reserveDevices keeps the devices that attachments name from the attachments before them, the
// most particular first.
func (b *builder) reserveDevices() {
	type reservation struct {
		of      *wanted
		request deviceRequest
	}
	var all []reservation
	for i := range b.wanted {
		if r, err := b.wanted[i].deviceRequest(); err == nil && (r.named != "" || r.claim != nil) {
			all = append(all, reservation{&b.wanted[i], r})
		}
	}
	slices.SortStableFunc(all, func(a, z reservation) int { return cmp.Compare(z.request.particular(), a.request.particular()) })
	for _, r := range all {
		b.devices.reserve(r.of, r.request)
	}
}

// particular is larger the fewer devices a request fits: a device, a request of a claim, a claim,
// the last two with a resource or without.
func (r *deviceRequest) particular() (n int) {
	switch {
	case r.named != "":
		return 4
	case r.claim.Request != "":
		n = 2
	}
	if r.resource != "" {
		n++
	}
	return n
}

// reserve keeps the device that an attachment names, or one of the claim that it names.
func (d *devices) reserve(w *wanted, r deviceRequest) {
	if r.claim != nil {
		if device, found := d.ofClaim(r); found {
			d.reserved[w], d.named[device] = device, true
		}
		return
	}
	if device, err := d.find(r); err == nil {
		d.named[device] = true
	}
}

// ofClaim gives the first device of a claim, and of the network's resource if it has one, that
// nothing else has named.
func (d *devices) ofClaim(r deviceRequest) (types.Device, bool) {
	isMeant := r.claim.Among(d.all)
	for i := range d.all {
		c := &d.all[i]
		device := c.Device()
		fits := r.resource == "" || c.Resource == "" || r.resource == c.Resource
		if c.ID != "" && isMeant(c) && fits && !d.isNamed(device) && !d.isOfPlugin(device) {
			d.claimed[device] = c // of two shares of a device, the one that is named
			return device, true
		}
	}
	return types.Device{}, false
}

// isOfPlugin reports whether a device plugin has allocated the device to the pod too.
func (d *devices) isOfPlugin(device types.Device) bool {
	for _, list := range d.allocated {
		for _, other := range list {
			if d.claimed[other] == nil && device.Is(other) {
				return true
			}
		}
	}
	return false
}

// take gives an attachment its device; the zero Device if it wants none.
func (d *devices) take(w *wanted, r deviceRequest) (device types.Device, err error) {
	switch {
	case r.claim != nil:
		device, err = d.reservedFor(w, r)
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

// reservedFor gives the device that was kept for an attachment that names a claim.
func (d *devices) reservedFor(w *wanted, r deviceRequest) (types.Device, error) {
	device, found := d.reserved[w]
	switch {
	case found:
		return device, nil
	case !d.asked && d.all == nil:
		return types.Device{}, fmt.Errorf("%s %s: the devices of the pod's claims are not known: there is neither a kubelet nor an API server to ask "+
			"where the facts come from (keys manifests and podResourcesSocket)", types.AnnotationClaim, r.claim)
	}
	takes := ""
	if r.resource != "" {
		takes = ", whose network takes resource " + r.resource
	}
	return types.Device{}, fmt.Errorf("%s %s: no device of that claim is left for this attachment%s; by claims the pod has: %s",
		types.AnnotationClaim, r.claim, takes, d.claims())
}

// claims lists the devices of the pod's claims, with what each is to a network.
func (d *devices) claims() string {
	var all []string
	for i := range d.all[:min(len(d.all), maxListed)] {
		c := &d.all[i]
		what := "is not for networks: its driver publishes neither " + types.AttributeDeviceID + " nor " + types.AttributePCIAddress
		if c.ID != "" {
			what = "is " + d.describe(c.Device())
		}
		all = append(all, c.String()+" "+what)
	}
	if more := len(d.all) - maxListed; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
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
	for _, resource := range slices.Sorted(maps.Keys(d.allocated)) {
		if r.resource != "" && resource != "" && r.resource != resource {
			continue
		}
		named := types.Device{Resource: resource, ID: r.named}
		if i := slices.IndexFunc(d.allocated[resource], named.Is); i >= 0 {
			return d.allocated[resource][i], nil
		}
	}
	switch {
	case !d.asked && r.resource == "":
		return types.Device{ID: r.named}, nil
	case !d.asked:
		return types.Device{}, errNobodyAsked(r.resource)
	}
	device := types.Device{Resource: r.resource, ID: r.named}
	return types.Device{}, fmt.Errorf("deviceID: %s is not the pod's; allocated to the pod: %s", device, d.usage(r.resource))
}

// next gives the first device of a resource that is neither taken nor named.
func (d *devices) next(resource string) (types.Device, error) {
	for _, device := range d.allocated[resource] {
		if _, taken := d.takenBy(device); !taken && !d.isNamed(device) {
			return device, nil
		}
	}
	switch {
	case !d.asked && len(d.all) == 0:
		return types.Device{}, errNobodyAsked(resource)
	case !d.asked && len(d.allocated[resource]) == 0:
		return types.Device{}, fmt.Errorf("%w; by claims the pod has: %s", errNobodyAsked(resource), d.claims())
	}
	err := fmt.Errorf("resource %s: no device is left for this attachment; allocated to the pod: %s", resource, d.usage(resource))
	if len(d.all) > 0 {
		err = fmt.Errorf("%w; by claims: %s", err, d.claims())
	}
	return types.Device{}, err
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
	case own == "" && len(lists) == 0 && len(d.all) > 0:
		return "none"
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
	list := d.allocated[resource]
	var all []string
	for _, device := range list[:min(len(list), maxListed)] {
		all = append(all, d.describe(device))
	}
	if more := len(list) - maxListed; more > 0 {
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
