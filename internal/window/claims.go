package window

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/plexus-cni/plexus/k8sclient/claims"
	"github.com/plexus-cni/plexus/types"
)

// claimKind is where the requests of a pod's claim stand.
type claimKind string

const (
	claimObject   claimKind = "ResourceClaim"
	claimTemplate claimKind = "ResourceClaimTemplate"

	claimGroup = "resource.k8s.io"
)

// claimSpec is the part of the spec of a claim that says how many devices it asks for.
type claimSpec struct {
	Devices struct {
		Requests []struct {
			Name           string      `json:"name"`
			Exactly        deviceCount `json:"exactly"`
			FirstAvailable []struct {
				Name string `json:"name"`
				deviceCount
			} `json:"firstAvailable"`
		} `json:"requests"`
	} `json:"devices"`
}

type deviceCount struct {
	Count int `json:"count"` // 0 is one, or all that there are
}

// What stands for the driver and the pool of a made-up device.
const (
	assumedDriver = "DRIVER"
	assumedPool   = "POOL"
)

// maxAssumed bounds how many devices are made up for a claim: the API server takes no more.
const maxAssumed = 32

// requested gives the request of each device that a claim asks for.
func (s *claimSpec) requested() []string {
	var all []string
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		name, count := r.Name, r.Exactly.Count
		if len(r.FirstAvailable) > 0 {
			name, count = r.Name+"/"+r.FirstAvailable[0].Name, r.FirstAvailable[0].Count
		}
		all = append(all, slices.Repeat([]string{name}, min(max(count, 1), maxAssumed))...)
	}
	return all[:min(len(all), maxAssumed)]
}

// claimManifest is a ResourceClaim or a ResourceClaimTemplate, or a list of them.
type claimManifest struct {
	Kind     claimKind `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec  json.RawMessage   `json:"spec"`
	Items []json.RawMessage `json:"items"`
}

// claim reads the spec, which in a template is one level deeper.
func (m *claimManifest) claim() (*claimSpec, error) {
	var template struct {
		Spec json.RawMessage `json:"spec"`
	}
	spec := m.Spec
	if m.Kind == claimTemplate {
		if err := json.Unmarshal(spec, &template); err != nil {
			return nil, err
		}
		spec = template.Spec
	}
	var read claimSpec
	return &read, json.Unmarshal(spec, &read)
}

// claimOf gives where the requests of a pod's claim stand.
func claimOf(namespace string, c *corev1.PodResourceClaim) (claimKind, types.Ref) {
	if c.ResourceClaimName != nil {
		return claimObject, types.Ref{Namespace: namespace, Name: *c.ResourceClaimName}
	}
	if c.ResourceClaimTemplateName != nil {
		return claimTemplate, types.Ref{Namespace: namespace, Name: *c.ResourceClaimTemplateName}
	}
	return claimObject, types.Ref{Namespace: namespace, Name: c.Name}
}

// addClaims keeps the claims and templates of a manifest.
func (s *fileSource) addClaims(data []byte) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var m claimManifest
		if err := decoder.Decode(&m); err != nil {
			return // of what is no manifest, objects.Add says so
		}
		s.addClaim(&m)
		for _, item := range m.Items {
			var inner claimManifest
			if json.Unmarshal(item, &inner) == nil {
				s.addClaim(&inner)
			}
		}
	}
}

func (s *fileSource) addClaim(m *claimManifest) {
	if m.Kind != claimObject && m.Kind != claimTemplate {
		return
	}
	if spec, err := m.claim(); err == nil {
		s.claims[m.Kind][types.Ref{Namespace: cmp.Or(m.Metadata.Namespace, "default"), Name: m.Metadata.Name}] = spec
	}
}

// Claims gives the files: what they have of allocations counts.
func (s *fileSource) Claims(string) (claims.Reader, error) { return s.objects, nil }

func (s *fileSource) ClaimSpec(_ context.Context, kind claimKind, ref types.Ref) (*claimSpec, error) {
	if spec := s.claims[kind][ref]; spec != nil {
		return spec, nil
	}
	return nil, fmt.Errorf("%s %s is in none of the files", kind, ref)
}

// Claims gives the API server. A pod that has no node yet has no devices.
func (s *clusterSource) Claims(node string) (claims.Reader, error) {
	if node == "" {
		return nil, nil //nolint:nilnil // nobody knows
	}
	return s.onNode(node)
}

func (s *clusterSource) ClaimSpec(ctx context.Context, kind claimKind, ref types.Ref) (*claimSpec, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	data, err := s.core.RESTClient().Get().
		AbsPath("apis", claimGroup, "v1", "namespaces", ref.Namespace, strings.ToLower(string(kind))+"s", ref.Name).Do(ctx).Raw()
	m := claimManifest{}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("the right to get %ss is missing; the ClusterRole plexus-window has it", strings.ToLower(string(kind)))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, ref, err)
	}
	m.Kind = kind
	return m.claim()
}

// addClaimed adds the devices of the pod's claims: those that are allocated, and made-up ones for
// the claims of which none is. It says what is assumed.
func addClaimed(ctx context.Context, n *node, source podSource, facts *types.Facts) ([]string, error) {
	pod := types.Ref{Namespace: facts.Pod.Namespace, Name: facts.Pod.Name}
	spec, err := source.Spec(ctx, pod)
	if err != nil {
		return nil, err
	}
	reader, err := source.Claims(spec.NodeName)
	if err == nil && reader != nil {
		err = claims.Complete(ctx, reader, n.factsRequest(pod), facts)
	}
	if err != nil || isByKubelet(facts.Claimed) {
		return nil, err
	}
	if facts.Claimed == nil {
		facts.Claimed = []types.ClaimedDevice{} // the pod's spec says which claims it has
	}
	var assumed, without []string
	for i := range spec.ResourceClaims {
		claim := &spec.ResourceClaims[i]
		if slices.ContainsFunc(facts.Claimed, func(d types.ClaimedDevice) bool { return d.PodClaim == claim.Name }) {
			continue
		}
		kind, ref := claimOf(facts.Pod.Namespace, claim)
		requests := namedRequests(facts, spec.ResourceClaims, i)
		if found, err := source.ClaimSpec(ctx, kind, ref); err != nil {
			without = append(without, "claim "+claim.Name+" asks for what the networks name of it, or else for one device: "+err.Error())
		} else {
			requests = found.requested()
		}
		facts.Claimed = append(facts.Claimed, madeUp(claim, requests)...)
		assumed = append(assumed, claim.Name)
	}
	if len(assumed) == 0 {
		return nil, nil
	}
	return append([]string{"the claims of the pod allocate as many devices as they ask for, each of the resource that a network takes and that is lacking; " +
		"which ones is not known, for which DEVICE-1-OF-… stands: " + strings.Join(assumed, ", ")}, without...), nil
}

// namedRequests gives the requests of one of the pod's claims that the pod or its networks name,
// each once; where none does, one without a name.
func namedRequests(facts *types.Facts, all []corev1.PodResourceClaim, of int) []string {
	var one []types.ClaimedDevice // of each claim
	for i := range all {
		one = append(one, madeUp(&all[i], []string{""})...)
	}
	var texts []string
	for i := range facts.Networks {
		texts = append(texts, facts.Networks[i].Claim)
	}
	for _, s := range facts.Pod.Selections("") {
		texts = append(texts, s.Claim)
	}
	var requests []string
	for _, text := range texts {
		named, err := types.ParseClaimRequest(text)
		isClaim := types.ClaimRequest{Claim: named.Claim}.Among(one)
		if err == nil && isClaim(&one[of]) && !slices.Contains(requests, named.Request) {
			requests = append(requests, named.Request)
		}
	}
	if len(requests) == 0 {
		return []string{""}
	}
	return requests
}

// isByKubelet reports whether the kubelet alone said which devices the pod has by claims, since
// that is enough: it says no pod's name for a claim.
func isByKubelet(devices []types.ClaimedDevice) bool {
	return len(devices) > 0 && !slices.ContainsFunc(devices, func(d types.ClaimedDevice) bool { return d.PodClaim != "" || d.Request != "" })
}

// madeUp gives a device for each request of a claim.
func madeUp(claim *corev1.PodResourceClaim, requests []string) []types.ClaimedDevice {
	object := claim.Name
	if claim.ResourceClaimName != nil {
		object = *claim.ResourceClaimName
	}
	var devices []types.ClaimedDevice
	for i, request := range requests {
		name := fmt.Sprintf("DEVICE-%d-OF-%s", i+1, claim.Name)
		devices = append(devices, types.ClaimedDevice{
			Claim: object, PodClaim: claim.Name, Request: request, Driver: assumedDriver, Pool: assumedPool, Name: name, ID: name,
		})
	}
	return devices
}

// assignResources gives made-up devices the resources that networks take and that nothing else
// has, in the order of the networks. Those that a network names by their claim are left alone.
func assignResources(facts *types.Facts, multusNamespace string) {
	lacking, named := lackingResources(facts, multusNamespace)
	var free []*types.ClaimedDevice
	for i := range facts.Claimed {
		if d := &facts.Claimed[i]; d.Driver == assumedDriver && d.Resource == "" {
			free = append(free, d)
		}
	}
	for _, request := range named {
		if i := slices.IndexFunc(free, request.Among(facts.Claimed)); i >= 0 {
			free = slices.Delete(free, i, i+1)
		}
	}
	for i := range min(len(free), len(lacking)) {
		free[i].Resource = lacking[i]
	}
}

// lackingResources gives the resources of the networks that would get no device, and the claims
// that networks name, those with a request first.
func lackingResources(facts *types.Facts, multusNamespace string) (lacking []string, named []types.ClaimRequest) {
	have := map[string]int{}
	for resource, ids := range facts.Devices {
		have[resource] += len(ids)
	}
	for i := range facts.Claimed {
		have[facts.Claimed[i].Resource]++
	}
	for _, s := range wantedNetworks(facts, multusNamespace) {
		network, err := facts.Network(s.Ref())
		if err != nil {
			continue
		}
		request, err := types.ParseClaimRequest(cmp.Or(s.Claim, network.Claim))
		switch resource := network.ResourceName; {
		case s.DeviceID != "":
			have[resource]--
		case err == nil:
			named = append(named, request)
		case resource == "":
		case have[resource] > 0:
			have[resource]--
		default:
			lacking = append(lacking, resource)
		}
	}
	slices.SortStableFunc(named, func(a, b types.ClaimRequest) int { return len(b.Request) - len(a.Request) })
	return lacking, named
}

// wantedNetworks gives an element for each attachment: of the networks that no annotation selects,
// and of both annotations.
func wantedNetworks(facts *types.Facts, multusNamespace string) []types.Selection {
	selected := facts.Pod.Selections(multusNamespace)
	var all []types.Selection
	for i := range facts.Networks {
		ref := facts.Networks[i].Ref
		if !slices.ContainsFunc(selected, func(s types.Selection) bool { return s.Ref() == ref }) {
			all = append(all, types.Selection{Namespace: ref.Namespace, Name: ref.Name})
		}
	}
	return append(all, selected...)
}
