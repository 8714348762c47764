package types

import (
	"fmt"
)

// Pod is what Plexus knows of a pod. The zero value is a sandbox that no pod is
// known of (podman, plain containerd).
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// UID is the one that the runtime gave; empty if it gave none.
	UID string `json:"uid,omitempty"`
	// Annotations holds those that Plexus reads, and no others.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Static marks a pod that the kubelet made from a file: what the API server shows
	// is a mirror of it, under another UID.
	Static bool `json:"static,omitempty"`
}

// Known reports whether it is known which pod it is.
func (p *Pod) Known() bool { return p.Namespace != "" && p.Name != "" }

// IsHalfKnown reports whether only a name or only a namespace is known.
func (p *Pod) IsHalfKnown() bool { return (p.Namespace == "") != (p.Name == "") }

// String gives "namespace/name", or what is known of it.
func (p *Pod) String() string {
	switch {
	case p.Known():
		return p.Namespace + "/" + p.Name
	case p.Name != "":
		return p.Name
	case p.Namespace != "":
		return p.Namespace + "/(no name)"
	}
	return "(no pod)"
}

// Annotations by which the kubelet marks where a pod comes from.
const (
	AnnotationConfigSource = "kubernetes.io/config.source"
	AnnotationConfigHash   = "kubernetes.io/config.hash"
	AnnotationConfigMirror = "kubernetes.io/config.mirror"
)

// IsStatic reports, by the annotations, whether the kubelet made the pod from a file.
func IsStatic(annotations map[string]string) bool {
	if _, mirror := annotations[AnnotationConfigMirror]; mirror {
		return true
	}
	source, known := annotations[AnnotationConfigSource]
	return known && source != "api"
}

// ReadAnnotations are the annotations of a pod that Plexus reads.
var ReadAnnotations = []string{AnnotationNetworks, AnnotationDefaultNetwork}

// KeepAnnotations gives those of all that Plexus reads.
func KeepAnnotations(all map[string]string) map[string]string {
	kept := map[string]string{}
	for _, key := range ReadAnnotations {
		if value, ok := all[key]; ok {
			kept[key] = value
		}
	}
	return kept
}

// Network is a NetworkAttachmentDefinition, or the news that it cannot be had.
type Network struct {
	Ref
	Config       string `json:"config,omitempty"`       // spec.config, as it is
	ResourceName string `json:"resourceName,omitempty"` // of the annotation k8s.v1.cni.cncf.io/resourceName
	Claim        string `json:"claim,omitempty"`        // of the annotation plexus-cni.io/claim
	// Missing is true if there is no such object, and Problem may say what to do about
	// it; in any other case Problem says why the object could not be read.
	Missing bool   `json:"missing,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Code is the CNI code that goes with Problem, 0 for none in particular.
	Code uint `json:"code,omitempty"`
}

// Facts is what a source knows of one pod: the pod, every network that it or the
// asker's configuration names, and the devices that are allocated to it.
type Facts struct {
	Pod      Pod       `json:"pod"`
	Networks []Network `json:"networks,omitempty"`
	// Devices maps a resource name to the device IDs allocated to the pod, in order. It is
	// nil if no kubelet was asked: no network takes a device, or there is none to ask.
	Devices map[string][]string `json:"devices,omitzero"`
	// Claimed are the devices that the pod's ResourceClaims allocate to it: its claims in order,
	// of each the requests in order, of each the devices by name. It is nil if nobody was asked.
	Claimed []ClaimedDevice `json:"claimed,omitzero"`
}

// WantDevices reports whether the devices of the pod matter: a network takes one, or the
// pod names one.
func (f *Facts) WantDevices() bool { return len(f.DeviceUsers()) > 0 }

// DeviceUsers names the networks that take a device of the pod, each with its resource, or
// with the device that the pod names for it.
func (f *Facts) DeviceUsers() []string {
	if !f.Pod.Known() {
		return nil
	}
	var users []string
	for i := range f.Networks {
		switch n := &f.Networks[i]; {
		case n.ResourceName != "":
			users = append(users, fmt.Sprintf("network %s (resource %s)", n.Ref, n.ResourceName))
		case n.Claim != "":
			users = append(users, fmt.Sprintf("network %s (claim %q)", n.Ref, brief(n.Claim)))
		}
	}
	return append(users, f.Pod.namedDevices()...)
}

// namedDevices gives the networks for which an annotation has a deviceID or a claim. One that
// cannot be parsed has none here; planning refuses it by name.
func (p *Pod) namedDevices() []string {
	var users []string
	for _, s := range p.Selections("") {
		switch {
		case s.DeviceID != "":
			users = append(users, fmt.Sprintf("network %s (deviceID %q)", s.Ref(), brief(s.DeviceID)))
		case s.Claim != "":
			users = append(users, fmt.Sprintf("network %s (claim %s)", s.Ref(), s.Claim))
		}
	}
	return users
}

// Network gives the network that ref names. One that the source was not asked for,
// or did not answer, is an error of the source, not a missing network.
func (f *Facts) Network(ref Ref) (*Network, error) {
	for i := range f.Networks {
		if f.Networks[i].Ref == ref {
			return &f.Networks[i], nil
		}
	}
	return nil, fmt.Errorf("network %s: the source of facts said nothing about it", ref)
}

// SelectedRefs gives the networks that a pod's annotations name, in order: what a source has to
// look up.
func (p *Pod) SelectedRefs(multusNamespace string) []Ref {
	var refs []Ref
	for _, s := range p.Selections(multusNamespace) {
		refs = append(refs, s.Ref())
	}
	return refs
}

// Selections gives the elements of both annotations, the default network's first. An annotation that
// cannot be parsed has none here; planning refuses it by name. multusNamespace is where the
// default-network annotation looks for a network without a namespace.
func (p *Pod) Selections(multusNamespace string) []Selection {
	var all []Selection
	if chosen, _, err := ParseDefaultNetwork(p.Annotations[AnnotationDefaultNetwork], multusNamespace); err == nil && chosen != nil {
		all = append(all, *chosen)
	}
	selections, _, err := ParseSelections(p.Annotations[AnnotationNetworks], p.Namespace)
	if err != nil {
		return all
	}
	return append(all, selections...)
}

// UniqueRefs gives refs without repetitions, in order.
func UniqueRefs(refs []Ref) []Ref {
	seen := map[Ref]bool{}
	var unique []Ref
	for _, ref := range refs {
		if !seen[ref] {
			unique = append(unique, ref)
		}
		seen[ref] = true
	}
	return unique
}
