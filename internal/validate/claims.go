package validate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/plexus-cni/plexus/types"
)

// podClaim is a claim that a pod has, by the pod's own name for it and by that of the object.
type podClaim struct {
	name     string // "" of the claim for extended resources
	object   string // "" if it is made from a template and its name is not known
	template string
}

func (c podClaim) String() string {
	switch {
	case c.name == "":
		return "ResourceClaim " + c.object
	case c.template != "":
		return c.name + " (ResourceClaimTemplate " + c.template + ")"
	case c.object != "":
		return c.name + " (ResourceClaim " + c.object + ")"
	}
	return c.name
}

// claimsOf reads the claims of a pod, with the names that its status gives to those made for it.
func claimsOf(spec, status *yaml.Node) []podClaim {
	made := map[string]string{}
	for _, s := range items(get(status, "resourceClaimStatuses")) {
		made[scalar(get(s, "name"))] = scalar(get(s, "resourceClaimName"))
	}
	var all []podClaim
	for _, c := range items(get(spec, "resourceClaims")) {
		name := scalar(get(c, "name"))
		all = append(all, podClaim{
			name: name, object: cmp.Or(scalar(get(c, "resourceClaimName")), made[name]), template: scalar(get(c, "resourceClaimTemplateName")),
		})
	}
	if extended := scalar(get(status, "extendedResourceClaimStatus", "resourceClaimName")); extended != "" {
		all = append(all, podClaim{object: extended})
	}
	return all
}

// items gives the elements of a list, none of anything else.
func items(n *yaml.Node) []*yaml.Node {
	if n = deref(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// claimKey names a ResourceClaim or a ResourceClaimTemplate.
type claimKey struct {
	kind string
	ref  types.Ref
}

const (
	kindClaim         = "ResourceClaim"
	kindClaimTemplate = "ResourceClaimTemplate"
)

// readClaim notes the requests of a claim or of a template.
func (r *run) readClaim(o *object) {
	if !r.name(o) {
		return
	}
	spec := get(o.node, "spec")
	if o.kind == kindClaimTemplate {
		spec = get(spec, "spec")
	}
	requests := []string{}
	for _, request := range items(get(spec, "devices", "requests")) {
		name := scalar(get(request, "name"))
		requests = append(requests, name)
		for _, alternative := range items(get(request, "firstAvailable")) {
			requests = append(requests, name+"/"+scalar(get(alternative, "name")))
		}
	}
	r.claims[claimKey{o.kind, o.ref}] = requests
}

// requestsOf gives the requests of a pod's claim; nil if it is in none of the files.
func (r *run) requestsOf(p *pod, c podClaim) []string {
	if c.template != "" {
		return r.claims[claimKey{kindClaimTemplate, types.Ref{Namespace: p.ref.Namespace, Name: c.template}}]
	}
	return r.claims[claimKey{kindClaim, types.Ref{Namespace: p.ref.Namespace, Name: c.object}}]
}

// readNetworkClaim reads the claim that a network names.
func (r *run) readNetworkClaim(n *network) {
	const path = "metadata.annotations." + types.AnnotationClaim
	value := get(n.node, "metadata", "annotations", types.AnnotationClaim)
	r.checkString(n.object, "metadata", "annotations", types.AnnotationClaim)
	if value == nil || value.Kind != yaml.ScalarNode || value.Tag != "!!str" || value.Value == "" {
		return
	}
	t := n.doc.text(value, "."+path)
	if _, err := types.ParseClaimRequest(t.value); err != nil {
		r.add(ruleClaim, n.object, t.place(0), path, "annotation "+types.AnnotationClaim+": "+err.Error())
		return
	}
	n.claim = t.value
}

// checkClaim finds a claim or a request that an element or its network names, and the pod has not.
func (r *run) checkClaim(p *pod, e *element) {
	text, path, of := e.Claim, types.AnnotationClaim, ""
	if n := r.lookup(e.Ref()); text == "" && e.DeviceID == "" && n != nil {
		text, path, of = n.claim, "", ", which network "+e.Ref().String()+" names"
	}
	named, err := types.ParseClaimRequest(text)
	if err != nil {
		return // it names none, or is reported where it stands
	}
	what := fmt.Sprintf("%s %s%s: ", types.AnnotationClaim, named, of)
	i := indexOfClaim(p.claims, named.Claim)
	if i < 0 {
		r.add(ruleClaim, p.object, e.place(path), p.field(e, path), what+"the pod has no such claim; its spec.resourceClaims has: "+list(p.claims))
		return
	}
	requests := r.requestsOf(p, p.claims[i])
	if requests == nil || named.Request == "" || slices.Contains(requests, named.Request) {
		return
	}
	r.add(ruleClaim, p.object, e.place(path), p.field(e, path), what+"claim "+p.claims[i].String()+" has no such request; it has: "+list(requests))
}

// indexOfClaim gives the claim of a name, -1 if there is none. The pod's own name for one counts
// before the name of another's object.
func indexOfClaim(all []podClaim, name string) int {
	if i := slices.IndexFunc(all, func(c podClaim) bool { return c.name == name }); i >= 0 {
		return i
	}
	return slices.IndexFunc(all, func(c podClaim) bool { return c.object == name })
}

// list joins the names of what a message lists.
func list[T any](all []T) string {
	const most = 16
	var names []string
	for _, one := range all[:min(len(all), most)] {
		names = append(names, fmt.Sprint(one))
	}
	switch more := len(all) - most; {
	case len(all) == 0:
		return "none"
	case more > 0:
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// assumedDevices gives a device to each network that names a claim, so that the planner goes on to
// what else is wrong. What the pod really has, nobody has allocated yet.
func assumedDevices(facts *types.Facts, multusNamespace string) []types.ClaimedDevice {
	var named []string
	for i := range facts.Networks {
		named = append(named, facts.Networks[i].Claim)
	}
	for _, s := range facts.Pod.Selections(multusNamespace) {
		claim := s.Claim
		if n, err := facts.Network(s.Ref()); err == nil && claim == "" {
			claim = n.Claim
		}
		named = append(named, claim)
	}
	var devices []types.ClaimedDevice
	for i, text := range named {
		if request, err := types.ParseClaimRequest(text); err == nil {
			name := fmt.Sprintf("DEVICE-%d-OF-%s", i+1, request.Claim)
			devices = append(devices, types.ClaimedDevice{Claim: request.Claim, Request: request.Request, Name: name, ID: name})
		}
	}
	// The planner takes the first that fits, and REQUEST fits REQUEST/SUBREQUEST too.
	slices.SortStableFunc(devices, func(a, b types.ClaimedDevice) int { return len(a.Request) - len(b.Request) })
	return devices
}
