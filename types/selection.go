package types

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Annotations of the multi-network specification and of Multus.
const (
	AnnotationNetworks       = "k8s.v1.cni.cncf.io/networks"
	AnnotationDefaultNetwork = "v1.multus-cni.io/default-network"
	AnnotationNetworkStatus  = "k8s.v1.cni.cncf.io/network-status"
	AnnotationResourceName   = "k8s.v1.cni.cncf.io/resourceName" // on a NetworkAttachmentDefinition
)

// Selection is one element of the networks annotation: a network and what the pod
// asks of it (multi-network specification 1.3, section 4.1.2.1). Both forms of the
// annotation give it.
type Selection struct {
	Name           string                     `json:"name"`
	Namespace      string                     `json:"namespace,omitempty"`
	IPs            []string                   `json:"ips,omitempty"` // addresses, with or without prefix length
	MAC            string                     `json:"mac,omitempty"`
	InfinibandGUID string                     `json:"infiniband-guid,omitempty"`
	Interface      string                     `json:"interface,omitempty"`
	PortMappings   []PortMapping              `json:"portMappings,omitempty"`
	Bandwidth      *Bandwidth                 `json:"bandwidth,omitempty"`
	DeviceID       string                     `json:"deviceID,omitempty"` // as Multus takes it
	Claim          string                     `json:"plexus-cni.io/claim,omitempty"`
	CNIArgs        map[string]json.RawMessage `json:"cni-args,omitempty"`
	DefaultRoute   []string                   `json:"default-route,omitempty"` // gateways
	IPAMClaim      string                     `json:"ipam-claim-reference,omitempty"`
}

// Ref names the network that is selected.
func (s *Selection) Ref() Ref { return Ref{Namespace: s.Namespace, Name: s.Name} }

// MaxNetworks bounds the networks of one pod. An annotation has room for a hundred
// thousand, whose definitions alone would fill a node's memory.
const MaxNetworks = 128

// MaxValues bounds each list of an element, and its cni-args. An annotation has room for
// ten thousands, each of which a plugin would set as root.
const MaxValues = 1024

// checkCount refuses more values of a field than MaxValues, and reports whether it did.
func (o *object) checkCount(key string, n int) bool {
	if n > MaxValues {
		o.fault(key, fmt.Sprintf("has %d values, at most %d are taken", n, MaxValues))
	}
	return n > MaxValues
}

func tooMany(n int) error {
	return fmt.Errorf("names %d networks, a pod may have at most %d", n, MaxNetworks)
}

// PortMapping is one element of the runtime configuration "portMappings".
type PortMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"` // tcp, udp or sctp
	HostIP        string `json:"hostIP,omitempty"`
}

// Bandwidth is the runtime configuration "bandwidth": rates in bits per second,
// bursts in bits.
type Bandwidth struct {
	IngressRate  int64 `json:"ingressRate,omitempty"`
	IngressBurst int64 `json:"ingressBurst,omitempty"`
	EgressRate   int64 `json:"egressRate,omitempty"`
	EgressBurst  int64 `json:"egressBurst,omitempty"`
}

// ParseSelections reads the value of the networks annotation, in the comma-separated
// or the JSON form (sections 4.1.1 and 4.1.2). A network without a namespace is in
// namespace. It gives the keys it does not know, each with its element, and an error
// that joins every fault. An empty value selects nothing.
//
// The specification has an implementation ignore an invalid annotation; a pod that
// silently lacks its networks is of no use, so here that is an error.
func ParseSelections(value, namespace string) ([]Selection, []string, error) {
	return parseSelections(AnnotationNetworks, value, namespace)
}

// ParseDefaultNetwork reads the annotation by which a pod chooses what makes its
// first interface: exactly one element. The caller, which knows how the runtime names
// that interface, checks the name that the element may have.
func ParseDefaultNetwork(value, namespace string) (*Selection, []string, error) {
	selections, unknown, err := parseSelections(AnnotationDefaultNetwork, value, namespace)
	if err != nil || len(selections) == 0 {
		return nil, nil, err
	}
	if len(selections) != 1 {
		return nil, nil, annotationError(AnnotationDefaultNetwork, fmt.Errorf("must name exactly one network, got %d", len(selections)))
	}
	return &selections[0], unknown, nil
}

func parseSelections(annotation, value, namespace string) ([]Selection, []string, error) {
	if strings.TrimSpace(value) == "" {
		return nil, nil, nil
	}
	if !utf8.ValidString(value) {
		return nil, nil, annotationError(annotation, errors.New("is not valid UTF-8"))
	}
	parse := parseShortForm
	if strings.ContainsAny(value, `[{"`) {
		parse = parseJSONForm
	}
	selections, unknown, err := parse(value, namespace)
	if err == nil {
		err = checkTogether(selections)
	}
	if err != nil {
		return nil, nil, annotationError(annotation, err)
	}
	return selections, unknown, nil
}

func annotationError(annotation string, err error) error {
	return WithCode(CodeInvalidConfig, &AnnotationError{Annotation: annotation, Err: err})
}

// parseShortForm reads [namespace/]name[@interface],… Space around each part is dropped,
// as in Multus.
func parseShortForm(value, namespace string) ([]Selection, []string, error) {
	var selections []Selection
	var faults []error
	if n := strings.Count(value, ",") + 1; n > MaxNetworks {
		return nil, nil, tooMany(n)
	}
	for i, element := range strings.Split(value, ",") {
		s, err := parseShort(strings.TrimSpace(element), namespace)
		if err != nil {
			faults = append(faults, &ElementError{Index: i, Err: err})
			continue
		}
		selections = append(selections, s)
	}
	return selections, nil, Join(faults...)
}

func parseShort(element, namespace string) (Selection, error) {
	if element == "" {
		return Selection{}, errors.New("is empty: a comma too many")
	}
	network, ifname, named := strings.Cut(element, "@")
	ifname = strings.TrimSpace(ifname)
	ref, err := ParseRef(trimAround(network, "/"), namespace)
	if err != nil {
		return Selection{}, fmt.Errorf("%q: %w", brief(element), err)
	}
	if named {
		if err := checkRequestedName(ifname); err != nil {
			return Selection{}, fmt.Errorf("%q: %w", brief(element), err)
		}
	}
	return Selection{Name: ref.Name, Namespace: ref.Namespace, Interface: ifname}, nil
}

// trimAround drops the space around s, and around the first separator in it.
func trimAround(s, separator string) string {
	before, after, found := strings.Cut(s, separator)
	if !found {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(before) + separator + strings.TrimSpace(after)
}

// checkTogether finds what no element shows alone: only one may have the default
// route (4.1.2.1.9), and no interface name may be asked for twice (4.1.2.1.5).
func checkTogether(selections []Selection) error {
	var faults []error
	gateways := ""
	interfaces := map[string]string{}
	for i := range selections {
		s := &selections[i]
		me := fmt.Sprintf("element %d (%s)", i+1, s.Ref())
		if len(s.DefaultRoute) > 0 {
			if gateways != "" {
				problem := gateways + " asks for it already, only one network may"
				faults = append(faults, &ElementError{Index: i, Network: s.Ref().String(), Err: &FieldError{Field: "default-route", Problem: problem}})
			}
			gateways = me
		}
		if s.Interface == "" {
			continue
		}
		if other, taken := interfaces[s.Interface]; taken {
			problem := fmt.Sprintf("%q is taken by %s", s.Interface, other)
			faults = append(faults, &ElementError{Index: i, Network: s.Ref().String(), Err: &FieldError{Field: "interface", Problem: problem}})
		}
		interfaces[s.Interface] = me
	}
	return Join(faults...)
}
