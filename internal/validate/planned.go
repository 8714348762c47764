package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/types"
)

// fault is one thing that an ADD would be refused for, with all that its error knows of its place.
type fault struct {
	network    string // "" if it is of no network
	annotation string // "" if it is of none
	element    int    // of the annotation; -1 if it is of none
	key        string // of the element, asked for by the pod
	capability string // that is not declared
	field      string // path in the configuration, or in the element
	message    string
}

// faultsOf takes the tree of an error apart, down to the single faults.
func faultsOf(err error) []fault { return split(err, fault{element: -1}) }

func split(err error, f fault) []fault {
	switch e := err.(type) { //nolint:errorlint // every error of the tree is visited
	case nil:
		return nil
	case *plan.NetworkError:
		f.network = e.Network
	case *types.AnnotationError:
		f.annotation = e.Annotation
	case *types.ElementError:
		f.element = e.Index
	case *plan.AskedError:
		f.key, f.capability, f.message = e.Key, e.Capability, e.Error()
		return []fault{f}
	case *types.FieldError:
		f.field, f.message = e.Field, e.Error()
		return []fault{f}
	case *types.CodedError, *types.FaultError:
	case interface{ Unwrap() []error }:
		var all []fault
		for _, inner := range e.Unwrap() {
			all = append(all, split(inner, f)...)
		}
		return all
	default:
		if inner := errors.Unwrap(err); inner != nil && knowsPlace(inner) {
			return split(inner, f)
		}
		f.message = err.Error()
		return []fault{f}
	}
	return split(errors.Unwrap(err), f)
}

// knowsPlace reports whether an error says more of its place than its text.
func knowsPlace(err error) bool {
	var (
		network    *plan.NetworkError
		annotation *types.AnnotationError
		element    *types.ElementError
		asked      *plan.AskedError
		field      *types.FieldError
		many       interface{ Unwrap() []error }
	)
	return errors.As(err, &network) || errors.As(err, &annotation) || errors.As(err, &element) ||
		errors.As(err, &asked) || errors.As(err, &field) || errors.As(err, &many)
}

// sandbox stands for one of the runtime's, whose container IDs have this length.
var sandbox = types.Sandbox{ContainerID: strings.Repeat("0", 64), NetNS: "/run/netns/any", IfName: "eth0"}

// plan gives the faults of a pod, as the planner sees them.
func (r *run) plan(ctx context.Context, p types.Pod, node plan.Node) []fault {
	config := *r.config
	facts := &types.Facts{Pod: p}
	refs := p.SelectedRefs(config.MultusNamespace)
	r.assumeNodeNetworks(&config)
	for _, ref := range types.UniqueRefs(append(refs, plan.ConfiguredRefs(&config)...)) {
		facts.Networks = append(facts.Networks, r.fact(ref))
	}
	facts.Claimed = assumedDevices(facts, config.MultusNamespace)
	planner := &plan.Planner{Config: &config, Node: node}
	_, err := planner.Plan(ctx, facts, sandbox)
	if inner := errors.Unwrap(errors.Unwrap(err)); inner != nil {
		err = inner // without the pod, which the finding names
	}
	return faultsOf(err)
}

// fact gives what is known of a network. Which devices of a resource a pod has only the kubelet
// knows, so no network asks for any.
func (r *run) fact(ref types.Ref) types.Network {
	n := r.lookup(ref)
	switch {
	case n == nil:
		return types.Network{Ref: ref, Config: assumedConfig}
	case n.broken || n.config == nil:
		return types.Network{Ref: ref, Config: assumedConfig, Claim: n.claim}
	}
	return types.Network{Ref: ref, Config: n.config.value, Claim: n.claim}
}

// assumeNodeNetworks replaces the networks that are files of the node: they are not here.
func (r *run) assumeNodeNetworks(config *types.Config) {
	if strings.Contains(config.ClusterNetwork, "/") {
		config.AuxiliaryCNIChainName = "" // a folder beside that file
	}
	if strings.Contains(config.ClusterNetwork, "/") || config.ClusterNetwork == "" && len(config.Delegates) == 0 {
		config.ClusterNetwork = "assumed"
	}
	config.DefaultNetworks = slices.Clone(config.DefaultNetworks)
	for i, name := range config.DefaultNetworks {
		if _, err := types.ParseRef(name, config.MultusNamespace); err != nil || strings.Contains(name, "/") {
			config.DefaultNetworks[i] = fmt.Sprintf("assumed-%d", i)
		}
	}
}

// isAssumed reports whether a network of this label is one that the planner was given a stand-in
// for. A network of the node's own has a label without a namespace.
func (r *run) isAssumed(label string) bool {
	n := r.lookup(refOf(label))
	return strings.Contains(label, "/") && (n == nil || n.broken || n.config == nil)
}

// checkConfig finds the faults that every pod has.
func (r *run) checkConfig(ctx context.Context) {
	if r.options.Config == nil {
		return
	}
	o := &object{doc: &document{src: newSource(File{Name: r.options.ConfigFile})}}
	for _, f := range r.plan(ctx, types.Pod{Namespace: "default", Name: "any"}, r.options.files()) {
		isElsewhere := r.lookup(refOf(f.network)) != nil || f.field != "" && r.isAssumed(f.network)
		if f.network == "" || !isElsewhere {
			r.everyPod[f.message] = true
			r.add(ruleNodeConfig, o, 0, f.field, f.message)
		}
	}
}

func refOf(label string) types.Ref {
	ref, _ := types.ParseRef(label, "")
	return ref
}
