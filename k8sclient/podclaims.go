package k8sclient

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plexus-cni/plexus/types"
)

const groupResources = "resource.k8s.io"

// podClaims is the part of a pod that says which claims it has.
type podClaims struct {
	Metadata struct {
		UID string `json:"uid"`
	} `json:"metadata"`
	Spec struct {
		ResourceClaims []struct {
			Name              string `json:"name"`
			ResourceClaimName string `json:"resourceClaimName"` // of a claim that is named directly
		} `json:"resourceClaims"`
	} `json:"spec"`
	Status struct {
		ResourceClaimStatuses []struct {
			Name              string `json:"name"`
			ResourceClaimName string `json:"resourceClaimName"` // of one made from a template
		} `json:"resourceClaimStatuses"`
		ExtendedResourceClaimStatus *struct {
			ResourceClaimName string `json:"resourceClaimName"`
			RequestMappings   []struct {
				ResourceName string `json:"resourceName"`
				RequestName  string `json:"requestName"`
			} `json:"requestMappings"`
		} `json:"extendedResourceClaimStatus"`
	} `json:"status"`
}

// claimOfPod is a claim under the names by which a pod knows it.
type claimOfPod struct {
	name      string            // of the object
	own       string            // the pod's; "" of the claim for extended resources
	resources map[string]string // the extended resource that each request is for
}

// list gives the pod's claims in order, that for extended resources last. A claim of a template
// that is not made yet, or that the pod turned out not to need, is left out.
func (p *podClaims) list() []claimOfPod {
	made := map[string]string{}
	for _, s := range p.Status.ResourceClaimStatuses {
		made[s.Name] = s.ResourceClaimName
	}
	var all []claimOfPod
	for _, c := range p.Spec.ResourceClaims {
		if name := cmp.Or(c.ResourceClaimName, made[c.Name]); name != "" {
			all = append(all, claimOfPod{name: name, own: c.Name})
		}
	}
	if e := p.Status.ExtendedResourceClaimStatus; e != nil && e.ResourceClaimName != "" {
		extended := claimOfPod{name: e.ResourceClaimName, resources: map[string]string{}}
		for _, m := range e.RequestMappings {
			extended.resources[m.RequestName] = m.ResourceName
		}
		all = append(all, extended)
	}
	return all
}

// claimObject is the part of a ResourceClaim that is read.
type claimObject struct {
	Spec struct {
		Devices struct {
			Requests []struct {
				Name string `json:"name"`
			} `json:"requests"`
		} `json:"devices"`
	} `json:"spec"`
	Status struct {
		Allocation *struct {
			Devices struct {
				Results []claimResult `json:"results"`
			} `json:"devices"`
		} `json:"allocation"`
	} `json:"status"`
}

// claimResult is a device that a claim allocates.
type claimResult struct {
	Request     string `json:"request"` // or REQUEST/SUBREQUEST
	Driver      string `json:"driver"`
	Pool        string `json:"pool"`
	Device      string `json:"device"`
	ShareID     string `json:"shareID"`
	AdminAccess bool   `json:"adminAccess"` // to watch a device that another pod uses
}

// devices gives what a claim allocates to a pod: its requests in order, of each the devices by
// name.
func (o *claimObject) devices(as claimOfPod) []types.ClaimedDevice {
	if o.Status.Allocation == nil {
		return nil
	}
	var devices []types.ClaimedDevice
	for _, r := range o.Status.Allocation.Devices.Results {
		if r.AdminAccess {
			continue
		}
		devices = append(devices, types.ClaimedDevice{
			Claim: as.name, PodClaim: as.own, Request: r.Request, Driver: r.Driver, Pool: r.Pool, Name: r.Device, ShareID: r.ShareID,
			Resource: as.resources[r.Request],
		})
	}
	slices.SortStableFunc(devices, func(a, b types.ClaimedDevice) int {
		return cmp.Or(cmp.Compare(o.position(a.Request), o.position(b.Request)), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Driver, b.Driver), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.ShareID, b.ShareID))
	})
	return devices
}

// position gives the place of a request among those of the claim.
func (o *claimObject) position(request string) int {
	whole, _, _ := strings.Cut(request, "/")
	for i := range o.Spec.Devices.Requests {
		if o.Spec.Devices.Requests[i].Name == whole {
			return i
		}
	}
	return len(o.Spec.Devices.Requests)
}

// ReadPodClaims reads the pod, and then its claims in parallel.
func (c *Client) ReadPodClaims(ctx context.Context, pod *types.Pod) ([]types.ClaimedDevice, error) {
	found, err := c.readClaimsOf(ctx, pod)
	if err != nil {
		return nil, coded(err)
	}
	list := found.list()
	devices := make([][]types.ClaimedDevice, len(list))
	faults := make([]error, len(list))
	free := make(chan struct{}, maxParallel)
	var all sync.WaitGroup
	for i, claim := range list {
		free <- struct{}{}
		all.Go(func() {
			devices[i], faults[i] = c.readClaim(ctx, pod.Namespace, claim)
			<-free
		})
	}
	all.Wait()
	if err := types.Join(faults...); err != nil {
		return nil, coded(err)
	}
	return append([]types.ClaimedDevice{}, slices.Concat(devices...)...), nil
}

func (c *Client) readClaimsOf(ctx context.Context, pod *types.Pod) (*podClaims, error) {
	body, err := c.do(ctx, &call{
		what: "read the claims of pod " + pod.String(), method: http.MethodGet, path: podPath(pod), graphPatience: graphTimeout,
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, gone(fmt.Errorf("pod %s: %w: %w", pod, ErrPodNotFound, err))
	case err != nil:
		return nil, err
	}
	var found podClaims
	if err := json.Unmarshal(body, &found); err != nil {
		return nil, fmt.Errorf("read pod %s at %s: %w", pod, c.server.Redacted(), err)
	}
	return &found, checkUID(pod, found.Metadata.UID)
}

func (c *Client) readClaim(ctx context.Context, namespace string, claim claimOfPod) ([]types.ClaimedDevice, error) {
	ref := types.Ref{Namespace: namespace, Name: claim.name}
	body, err := c.do(ctx, &call{
		what: "read claim " + ref.String(), method: http.MethodGet,
		path: []string{"apis", groupResources, "v1", "namespaces", namespace, "resourceclaims", claim.name}, graphPatience: graphTimeout,
	})
	switch {
	case kindIsMissing(err):
		return nil, fmt.Errorf("%w: %w", err, errNoResources)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%w: these credentials may not read ResourceClaims; set dra.enabled of the chart for the agent, and see docs/dra.md for others", err)
	case err != nil:
		return nil, err
	}
	var object claimObject
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, fmt.Errorf("read claim %s at %s: %w", ref, c.server.Redacted(), err)
	}
	return object.devices(claim), nil
}
