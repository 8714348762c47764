package types

import (
	"fmt"
	"slices"
	"strings"
)

// AnnotationClaim names the claim of which a network takes its device, as ParseClaimRequest reads
// it: on a NetworkAttachmentDefinition, and as a key of an element of the networks annotation.
const AnnotationClaim = "plexus-cni.io/claim"

// Attributes of a device in a ResourceSlice that say what it is to a network.
const (
	AttributeDeviceID     = "k8s.cni.cncf.io/deviceID"     // its ID, as device plugins give it
	AttributeResourceName = "k8s.cni.cncf.io/resourceName" // the resource that a network names
	AttributePCIAddress   = "resource.kubernetes.io/pciBusID"
)

// ClaimedDevice is a device that a ResourceClaim allocates to a pod (resource.k8s.io/v1). Driver,
// Pool and Name identify it in the cluster, and ShareID its share of a device that several share.
type ClaimedDevice struct {
	Claim string `json:"claim"` // the name of the ResourceClaim, which is in the pod's namespace
	// PodClaim is the pod's own name for the claim, and Request the claim's name for the request
	// that got the device. Both are empty where only the kubelet was asked: it does not say them.
	PodClaim string `json:"podClaim,omitempty"`
	Request  string `json:"request,omitempty"`
	Driver   string `json:"driver"`
	Pool     string `json:"pool"`
	Name     string `json:"name"`
	ShareID  string `json:"shareID,omitempty"`
	// Resource and ID are what a network knows it by; ID is empty for a device that is not for a
	// network. PCIAddress is empty if its driver publishes none.
	Resource   string `json:"resource,omitempty"`
	ID         string `json:"id,omitempty"`
	PCIAddress string `json:"pciAddress,omitempty"`
}

// String names the device for errors.
func (c *ClaimedDevice) String() string {
	text := fmt.Sprintf("device %s of pool %s (driver %s, claim %s", c.Name, c.Pool, c.Driver, c.Claim)
	if c.Request != "" {
		text += ", request " + c.Request
	}
	return text + ")"
}

// Device gives the device as a network takes it.
func (c *ClaimedDevice) Device() Device {
	return Device{Resource: c.Resource, ID: c.ID, PCIAddress: c.PCIAddress}
}

// ClaimRequest names a claim, by the pod's name for it or by its own, and one of its requests.
// Without Request it means any.
type ClaimRequest struct{ Claim, Request string }

// ParseClaimRequest reads CLAIM or CLAIM/REQUEST, as in spec.resourceClaims of the pod and in
// spec.devices.requests of the claim. CLAIM/REQUEST/SUBREQUEST names one of the alternatives of a
// request (firstAvailable).
func ParseClaimRequest(text string) (ClaimRequest, error) {
	claim, request, given := strings.Cut(text, "/")
	if claim == "" || given && request == "" || strings.Count(request, "/") > 1 {
		return ClaimRequest{}, fmt.Errorf("%q is not CLAIM, CLAIM/REQUEST or CLAIM/REQUEST/SUBREQUEST", brief(text))
	}
	var faults []error
	for label := range strings.SplitSeq(claim, ".") {
		faults = append(faults, checkLabel("claim", label))
	}
	for part := range strings.SplitSeq(request, "/") {
		if given {
			faults = append(faults, checkLabel("request", part))
		}
	}
	if err := Join(faults...); err != nil {
		return ClaimRequest{}, fmt.Errorf("%q: %w", brief(text), err)
	}
	return ClaimRequest{claim, request}, nil
}

// String gives the text that ParseClaimRequest reads.
func (r ClaimRequest) String() string {
	if r.Request == "" {
		return r.Claim
	}
	return r.Claim + "/" + r.Request
}

// Among gives what tells, of the devices of a pod, those of this claim and request. The pod's own
// name for a claim counts before the name of another's object. A request that the claim has
// alternatives for is named with or without the alternative.
func (r ClaimRequest) Among(devices []ClaimedDevice) func(*ClaimedDevice) bool {
	byPod := slices.ContainsFunc(devices, func(d ClaimedDevice) bool { return d.PodClaim == r.Claim })
	return func(d *ClaimedDevice) bool {
		name := d.Claim
		if byPod {
			name = d.PodClaim
		}
		whole, _, _ := strings.Cut(d.Request, "/")
		return name == r.Claim && (r.Request == "" || r.Request == d.Request || r.Request == whole)
	}
}
