package k8sclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/plexus-cni/plexus/types"
)

// slicesPerPage bounds an answer: a slice may have some hundred kilobytes.
const slicesPerPage = 20

// Slice is the part of a ResourceSlice that matters to networks.
type Slice struct {
	Driver, Pool string
	Generation   int64 // of the pool
	Count        int64 // of the pool's slices in this generation
	Devices      []SliceDevice
}

// SliceDevice is a device of a slice, and what it is to a network. ID is empty for one that is
// not for networks.
type SliceDevice struct{ Name, Resource, ID, PCIAddress string }

// UnmarshalJSON reads a ResourceSlice of resource.k8s.io/v1.
func (s *Slice) UnmarshalJSON(text []byte) error {
	var object struct {
		Spec struct {
			Driver string `json:"driver"`
			Pool   struct {
				Name       string `json:"name"`
				Generation int64  `json:"generation"`
				Count      int64  `json:"resourceSliceCount"`
			} `json:"pool"`
			Devices []struct {
				Name       string                     `json:"name"`
				Attributes map[string]json.RawMessage `json:"attributes"`
			} `json:"devices"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	spec := &object.Spec
	*s = Slice{Driver: spec.Driver, Pool: spec.Pool.Name, Generation: spec.Pool.Generation, Count: spec.Pool.Count}
	for _, d := range spec.Devices {
		s.Devices = append(s.Devices, NewSliceDevice(d.Name, func(name string) string { return attributeText(d.Attributes[name]) }))
	}
	return nil
}

// attributeText gives the value of an attribute that is a text, else "".
func attributeText(attribute json.RawMessage) string {
	var value struct {
		String string `json:"string"`
	}
	_ = json.Unmarshal(attribute, &value) // one of another type is none of ours
	return value.String
}

// NewSliceDevice gives what a device is to a network, by the attributes that its driver publishes.
func NewSliceDevice(name string, attribute func(name string) string) SliceDevice {
	d := SliceDevice{Name: name, Resource: attribute(types.AttributeResourceName), ID: attribute(types.AttributeDeviceID), PCIAddress: attribute(types.AttributePCIAddress)}
	if d.ID == "" {
		d.ID = d.PCIAddress
	}
	return d
}

// Describe fills Resource, ID and PCIAddress of a device from the slices of its pool, and reports
// whether it is in one. A device is in the newest generation of its pool or nowhere: while its
// driver publishes a new one, the error says so.
func Describe(device *types.ClaimedDevice, all []Slice) (found bool, err error) {
	newest, seen := newestOf(device, all)
	for i := range all {
		s := &all[i]
		if s.Driver != device.Driver || s.Pool != device.Pool || s.Generation != newest.Generation {
			continue
		}
		for _, d := range s.Devices {
			if d.Name == device.Name {
				device.Resource, device.ID, device.PCIAddress = d.Resource, d.ID, d.PCIAddress
				return true, nil
			}
		}
	}
	if seen > 0 && seen < newest.Count {
		return false, types.Errorf(types.CodeTryAgainLater, "%s: the driver is publishing the pool anew: generation %d has %d of %d slices",
			device, newest.Generation, seen, newest.Count)
	}
	return false, nil
}

// newestOf gives a slice of the newest generation of a device's pool, and how many it has.
func newestOf(device *types.ClaimedDevice, all []Slice) (newest Slice, seen int64) {
	for i := range all {
		s := &all[i]
		switch {
		case s.Driver != device.Driver || s.Pool != device.Pool:
		case seen == 0 || s.Generation > newest.Generation:
			newest, seen = *s, 1
		case s.Generation == newest.Generation:
			seen++
		}
	}
	return newest, seen
}

// Describe lists the slices of the drivers in parallel: of each those of this node, or those of
// no one node, which are found by the name of the pool, and the others only for a device that is
// not among them.
func (c *Client) Describe(ctx context.Context, devices []types.ClaimedDevice) error {
	byDriver := map[string][]*types.ClaimedDevice{}
	for i := range devices {
		byDriver[devices[i].Driver] = append(byDriver[devices[i].Driver], &devices[i])
	}
	var mu sync.Mutex
	var faults []error
	var all sync.WaitGroup
	for driver, own := range byDriver {
		all.Go(func() {
			if err := c.describe(ctx, driver, own); err != nil {
				mu.Lock()
				defer mu.Unlock()
				faults = append(faults, err)
			}
		})
	}
	all.Wait()
	return coded(types.Join(faults...))
}

// describe describes the devices of one driver.
func (c *Client) describe(ctx context.Context, driver string, devices []*types.ClaimedDevice) error {
	var listed []Slice
	var refused, behind error
	for _, selector := range c.selectors(driver, devices) {
		more, err := c.listSlices(ctx, driver, selector)
		if apierrors.IsForbidden(err) { // a node may list its own
			refused = err
			continue
		}
		if err != nil {
			return err
		}
		listed = append(listed, more...)
		if devices, behind = missing(devices, listed); len(devices) == 0 {
			return nil
		}
	}
	switch {
	case refused != nil:
		return refused
	case behind != nil:
		return behind
	}
	return ErrNotPublished(devices[0], c.nodeName, len(listed))
}

// selectors give the lists in which a driver's devices may be, the likely one first. That of the
// driver on all nodes is long: it is asked for only where the name of the node is a guess.
func (c *Client) selectors(driver string, devices []*types.ClaimedDevice) []fields.Selector {
	of := fields.OneTermEqualSelector("spec.driver", driver)
	here := fields.AndSelectors(of, fields.OneTermEqualSelector("spec.nodeName", c.nodeName))
	nowhere := fields.AndSelectors(of, fields.OneTermEqualSelector("spec.nodeName", "")) // slices of no one node have no name there
	all := []fields.Selector{nowhere, here}
	if slices.ContainsFunc(devices, func(d *types.ClaimedDevice) bool { return d.Pool == c.nodeName }) {
		all = []fields.Selector{here, nowhere}
	}
	if c.guessed {
		all = append(all, of)
	}
	return all
}

// missing describes devices, and gives those that no slice has. The error is for one whose pool is
// not whole yet: the rest of it may be in another list.
func missing(devices []*types.ClaimedDevice, all []Slice) (left []*types.ClaimedDevice, behind error) {
	for _, d := range devices {
		found, err := Describe(d, all)
		if err != nil {
			behind = err
		}
		if !found {
			left = append(left, d)
		}
	}
	return left, behind
}

// ErrNotPublished is the error for a device that no slice has: its driver may be starting.
func ErrNotPublished(device *types.ClaimedDevice, node string, listed int) error {
	return types.Errorf(types.CodeTryAgainLater, "%s: its driver publishes no such device: none of %d slices of the driver has it, "+
		"of node %s and of no one node; is the driver running there?", device, listed, node)
}

// sliceList is a page of slices.
type sliceList struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []Slice `json:"items"`
}

// listSlices gives slices of a driver.
func (c *Client) listSlices(ctx context.Context, driver string, selector fields.Selector) ([]Slice, error) {
	query := url.Values{"fieldSelector": {selector.String()}, "limit": {strconv.Itoa(slicesPerPage)}}
	var all []Slice
	for {
		body, err := c.do(ctx, &call{
			what: "list the slices of driver " + driver, method: http.MethodGet, path: []string{"apis", groupResources, "v1", "resourceslices"}, query: query,
		})
		if err != nil {
			return nil, ErrSlices(err)
		}
		var page sliceList
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("list the slices of driver %s at %s: %w", driver, c.server.Redacted(), err)
		}
		all = append(all, page.Items...)
		if page.Metadata.Continue == "" {
			return all, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// ErrSlices says what to do about slices that cannot be read.
func ErrSlices(err error) error {
	switch {
	case kindIsMissing(err):
		return fmt.Errorf("%w: %w", err, errNoResources)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: these credentials may not list ResourceSlices; set dra.enabled of the chart for the agent, and see docs/dra.md for others", err)
	}
	return err
}

var errNoResources = errors.New("the API server does not serve " + groupResources + "/v1, which Kubernetes has since 1.34")
