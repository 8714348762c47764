// Package plan turns facts about a pod into a plan: which networks, with which
// configuration, on which interfaces. It is pure: it reads files and looks for
// executables through the interface [Node], changes nothing, and runs nothing itself.
package plan

import (
	"context"
	"fmt"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// Planner works out what an ADD will do.
type Planner struct {
	Config *types.Config
	Node   Node
	// DeviceInfoPath gives the file by which the plugins of an attachment describe its
	// device; nil if no such files are kept.
	DeviceInfoPath func(network, containerID, ifName string) string
	// Taken reports whether another attachment of the container has an interface of the name,
	// which a name that is made up then avoids; nil if there is no other.
	Taken func(ifName string) bool
	// Speak gives the versions of CNI that a plugin speaks, for networks that say none. It
	// runs the plugin's VERSION; nil where none may be run.
	Speak func(ctx context.Context, plugin string) ([]string, error)
	// Warn gets what deserves a line in the log and stops nothing; nil drops it.
	Warn func(format string, args ...any)
}

// ConfiguredRefs gives the networks that the node's own configuration names and that
// may be NetworkAttachmentDefinitions: what a source of facts is asked for besides
// those of the pod.
func ConfiguredRefs(config *types.Config) []types.Ref {
	var refs []types.Ref
	for _, name := range append([]string{config.ClusterNetwork}, config.DefaultNetworks...) {
		if name == "" || strings.Contains(name, "/") {
			continue
		}
		// A name that no object of the API can have can still be that of a file.
		if ref, err := types.ParseRef(name, config.MultusNamespace); err == nil {
			refs = append(refs, ref)
		}
	}
	return types.UniqueRefs(refs)
}

// Plan resolves everything: which networks, with which configuration, on which
// interfaces. It refuses whatever can be known to fail, in one error that names the
// pod and, for every fault, the network and the field. The end of ctx ends the planning
// after the network that it has come to.
func (p *Planner) Plan(ctx context.Context, facts *types.Facts, sandbox types.Sandbox) (*types.Plan, error) {
	b := p.newBuilder(facts, sandbox)
	b.collect(ctx)
	b.resolve(ctx)
	if err := ctx.Err(); err != nil {
		return nil, types.Errorf(types.CodeTryAgainLater, "pod %s: planning did not end in time: %w", &facts.Pod, err)
	}
	if err := types.Join(b.faults...); err != nil {
		return nil, types.Errorf(types.CodeOf(err, types.CodeInvalidConfig), "pod %s: %w", &facts.Pod, err)
	}
	return &types.Plan{Pod: facts.Pod, Sandbox: sandbox, Attachments: b.attachments}, nil
}

// FromFiles gives the configuration of a network from the node's files alone: at a path,
// if the name has a slash, else by its JSON name in confDir. It is nil if no file there has
// that name.
func (p *Planner) FromFiles(name string) (*types.NetConf, error) {
	if strings.Contains(name, "/") {
		return p.loader().fromPath(name)
	}
	return p.loader().byName(name)
}

// CheckExecutables reports every executable that a configuration of this node reaches and
// that the node cannot run.
func (p *Planner) CheckExecutables(conf *types.NetConf) error {
	return (&builder{Planner: p}).checkExecutables(&wanted{label: conf.Name, conf: conf})
}

func (p *Planner) newBuilder(facts *types.Facts, sandbox types.Sandbox) *builder {
	return &builder{Planner: p, facts: facts, sandbox: sandbox, devices: newDevices(facts), loader: p.loader()}
}

func (p *Planner) loader() *networkLoader {
	return &networkLoader{node: p.Node, confDir: p.Config.ConfDir, warn: p.warn}
}

func (p *Planner) warn(format string, args ...any) {
	if p.Warn != nil {
		p.Warn(format, args...)
	}
}

// wanted is a network that is to be attached, before it is resolved.
type wanted struct {
	label        string       // for status, events and errors
	origin       types.Origin // without its definition and file
	ref          *types.Ref
	conf         *types.NetConf
	selection    *types.Selection // what the pod asks of it; nil for the node's own
	resourceName string
	claim        string // of the definition, whose device it takes; the element's own comes first
	isDefault    bool
	chained      bool // its first plugin was given a result to follow
}

// builder is one planning under way. Every fault is collected; what has one is
// left out of the attachments, so that the others are examined too.
type builder struct {
	*Planner
	facts       *types.Facts
	sandbox     types.Sandbox
	devices     *devices
	loader      *networkLoader
	wanted      []wanted
	attachments []types.Attachment
	selected    int // bytes, as count counts them
	faults      []error
}

func (b *builder) fault(err error) {
	if err != nil {
		b.faults = append(b.faults, err)
	}
}

// nodeFault notes a fault of the node's own configuration.
func (b *builder) nodeFault(err error) { b.fault(types.WithFault(types.FaultNode, err)) }

// faultOf notes a fault of one network.
func (b *builder) faultOf(label string, err error) {
	if err != nil {
		b.fault(&NetworkError{Network: label, Err: err})
	}
}

// collect finds the networks, in the order of attaching: the default network, the
// further delegates, defaultNetworks, those of the annotation, the auxiliary chain.
func (b *builder) collect(ctx context.Context) {
	b.nodeFault(b.checkRecordName())
	b.collectDefault()
	b.addFurtherDelegates()
	if !b.inSystemNamespace() {
		for i, name := range b.Config.DefaultNetworks {
			b.addConfigured(fmt.Sprintf("defaultNetworks[%d]", i), name)
		}
	}
	b.collectSelected(ctx)
	if b.Config.AuxiliaryCNIChainName != "" {
		b.addAuxiliaryChain()
	}
}

func (b *builder) inSystemNamespace() bool {
	for _, namespace := range b.Config.SystemNamespaces {
		if b.facts.Pod.Known() && namespace == b.facts.Pod.Namespace {
			return true
		}
	}
	return false
}

// collectDefault chooses what makes the pod's first interface: the pod's own choice
// by annotation, else clusterNetwork, else the first delegate.
func (b *builder) collectDefault() {
	value := b.facts.Pod.Annotations[types.AnnotationDefaultNetwork]
	chosen, unknown, err := types.ParseDefaultNetwork(value, b.Config.MultusNamespace)
	b.warnUnknown(types.AnnotationDefaultNetwork, unknown)
	if err == nil && chosen != nil {
		err = b.checkFirstName(chosen)
	}
	switch {
	case err != nil:
		b.fault(err)
	case chosen != nil:
		if err := b.mayBeDefault(chosen.Namespace); err != nil {
			b.faultOf(chosen.Ref().String(), err)
			return
		}
		b.addSelected(chosen, types.Origin{Field: types.AnnotationDefaultNetwork, Element: 1})
	case b.Config.ClusterNetwork != "":
		b.addConfigured("clusterNetwork", b.Config.ClusterNetwork)
	default:
		b.addDelegate(0, true)
	}
}

// checkFirstName refuses to rename the pod's first interface. To name it as the runtime
// does is no renaming.
func (b *builder) checkFirstName(chosen *types.Selection) error {
	if chosen.Interface == "" || chosen.Interface == b.sandbox.IfName {
		return nil
	}
	return &types.AnnotationError{Annotation: types.AnnotationDefaultNetwork, Err: fmt.Errorf(
		"network %s: asks for interface %q, but the runtime names the pod's first interface %q: leave the name out",
		chosen.Ref(), chosen.Interface, b.sandbox.IfName)}
}

func (b *builder) collectSelected(ctx context.Context) {
	selections, unknown, err := types.ParseSelections(b.facts.Pod.Annotations[types.AnnotationNetworks], b.facts.Pod.Namespace)
	b.fault(err)
	b.warnUnknown(types.AnnotationNetworks, unknown)
	for i := range selections {
		if ctx.Err() != nil || b.selected > maxSelected {
			return
		}
		if err := b.maySelect(selections[i].Namespace); err != nil {
			b.faultOf(selections[i].Ref().String(), err)
			continue
		}
		b.addSelected(&selections[i], types.Origin{Field: types.AnnotationNetworks, Element: i + 1})
	}
}

// maxWarned is how many unknown keys a warning lists.
const maxWarned = 10

// warnUnknown writes one line, however many keys an annotation has.
func (b *builder) warnUnknown(annotation string, keys []string) {
	if len(keys) == 0 {
		return
	}
	listed := strings.Join(keys[:min(len(keys), maxWarned)], "; ")
	if more := len(keys) - maxWarned; more > 0 {
		listed += fmt.Sprintf("; and %d more", more)
	}
	b.warn("pod %s: annotation %s: unknown keys, ignored: %s", &b.facts.Pod, annotation, listed)
}

// addFurtherDelegates adds those after the first. Beside a clusterNetwork none counts.
func (b *builder) addFurtherDelegates() {
	if b.Config.ClusterNetwork != "" {
		return
	}
	for i := 1; i < len(b.Config.Delegates); i++ {
		b.addDelegate(i, false)
	}
}

// addDelegate adds a network that stands in the node's configuration itself.
func (b *builder) addDelegate(i int, isDefault bool) {
	field := fmt.Sprintf("delegates[%d]", i)
	conf, err := types.ParseNetConf(b.Config.Delegates[i], "")
	if err == nil && conf.Name == "" {
		conf.Name = b.Config.Name
	}
	if err != nil {
		b.nodeFault(fmt.Errorf("%s: %w", field, err))
		return
	}
	b.wanted = append(b.wanted, wanted{label: conf.Name, origin: types.Origin{Field: field}, conf: conf, isDefault: isDefault})
}

// addConfigured adds a network that a field of the node's configuration names: a path,
// a NetworkAttachmentDefinition of multusNamespace, or a file of confDir.
func (b *builder) addConfigured(field, name string) {
	w, err := b.configured(name)
	if err != nil {
		b.nodeFault(fmt.Errorf("%s: %w", field, err))
		return
	}
	w.origin, w.isDefault = types.Origin{Field: field}, field == "clusterNetwork"
	b.wanted = append(b.wanted, *w)
}

func (b *builder) configured(name string) (*wanted, error) {
	if strings.Contains(name, "/") {
		conf, err := b.loader.fromPath(name)
		if err != nil {
			return nil, err
		}
		return &wanted{label: conf.Name, conf: conf}, nil
	}
	if ref, err := types.ParseRef(name, b.Config.MultusNamespace); err == nil {
		network, err := b.facts.Network(ref)
		if err != nil {
			return nil, err
		}
		if !network.Missing {
			w, err := b.defined(network)
			if err != nil {
				return nil, fmt.Errorf("network %s: %w", ref, err)
			}
			return w, nil
		}
	}
	conf, err := b.loader.byName(name)
	if err == nil && conf == nil {
		err = fmt.Errorf("there is neither a NetworkAttachmentDefinition %s/%s nor a file in %s with the JSON name %q%s",
			b.Config.MultusNamespace, name, b.Config.ConfDir, name, b.loader.broken())
	}
	if err != nil {
		return nil, err
	}
	return &wanted{label: conf.Name, conf: conf}, nil
}

// defined resolves a NetworkAttachmentDefinition.
func (b *builder) defined(network *types.Network) (*wanted, error) {
	if network.Missing {
		hint := ""
		if network.Problem != "" {
			hint = ": " + network.Problem
		}
		return nil, fmt.Errorf("there is no NetworkAttachmentDefinition %q in namespace %q%s", network.Name, network.Namespace, hint)
	}
	if network.Problem != "" {
		code := network.Code
		if code == 0 {
			code = types.CodeInvalidConfig
		}
		return nil, types.Errorf(code, "%s", network.Problem)
	}
	conf, err := b.loader.fromDefinition(network)
	if err != nil {
		return nil, err
	}
	return &wanted{label: network.String(), ref: &network.Ref, conf: conf, resourceName: network.ResourceName, claim: network.Claim}, nil
}

func (b *builder) addSelected(s *types.Selection, from types.Origin) {
	network, err := b.facts.Network(s.Ref())
	if err != nil {
		b.fault(err)
		return
	}
	w, err := b.chosen(network, s)
	if err != nil {
		b.faultOf(s.Ref().String(), err)
		return
	}
	w.selection, w.origin, w.isDefault = s, from, from.Field == types.AnnotationDefaultNetwork
	b.wanted = append(b.wanted, *w)
}

// chosen resolves a network that the pod selects.
func (b *builder) chosen(network *types.Network, s *types.Selection) (*wanted, error) {
	if err := b.count(len(network.Config)); err != nil {
		return nil, err
	}
	w, err := b.defined(network)
	if err == nil {
		err = b.count(len(w.conf.Plugins) * asked(s))
	}
	return w, err
}

func (b *builder) addAuxiliaryChain() {
	conf, err := b.loader.auxiliaryChain(b.Config)
	if err != nil {
		b.nodeFault(fmt.Errorf("auxiliaryCNIChainName: %w", err))
		return
	}
	if conf != nil {
		b.wanted = append(b.wanted, wanted{label: conf.Name, origin: types.Origin{Field: "auxiliaryCNIChainName"}, conf: conf, chained: true})
	}
}
