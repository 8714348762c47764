package validate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/plexus-cni/plexus/types"
)

// element is one element of an annotation: a network, and what the pod asks of it.
type element struct {
	types.Selection
	annotation string
	text       *text
	index      int    // from 0
	at         int    // in the text
	json       *value // nil in the short form
}

// place gives the offset in the file of a key of the element, or of the element.
func (e *element) place(path string) int {
	if e.json == nil {
		return e.text.place(e.at)
	}
	last, _ := e.json.find(path)
	return e.text.place(last.at)
}

// checkPod examines a pod together with its networks.
func (r *run) checkPod(ctx context.Context, p *pod) {
	if len(p.values) == 0 {
		return
	}
	elements := r.elements(p)
	for _, f := range r.plan(ctx, p.known(), assumedNode{}) {
		if !r.isKnown(f) {
			r.podFault(p, elements, f)
		}
	}
	for i := range elements {
		r.checkKeys(p, &elements[i])
		r.checkSelected(p, &elements[i])
		r.checkClaim(p, &elements[i])
	}
}

// known is the pod as the planner gets it.
func (p *pod) known() types.Pod {
	pod := types.Pod{Namespace: p.ref.Namespace, Name: p.ref.Name, Annotations: map[string]string{}}
	for key, t := range p.values {
		pod.Annotations[key] = t.value
	}
	return pod
}

// isKnown reports whether a fault is reported elsewhere, or is of a stand-in.
func (r *run) isKnown(f fault) bool {
	if f.network == "" || f.annotation != "" || f.key != "" {
		return r.everyPod[f.message]
	}
	if n := r.lookup(refOf(f.network)); n != nil && n.faults[f.message] {
		return true
	}
	return r.everyPod[f.message] || f.field != "" && r.isAssumed(f.network)
}

// elements finds the elements of both annotations in the file, whether they are right or not.
func (r *run) elements(p *pod) []element {
	var all []element
	for _, annotation := range types.ReadAnnotations {
		if t := p.values[annotation]; t != nil {
			all = append(all, r.elementsOf(annotation, t, p.ref.Namespace)...)
		}
	}
	return all
}

func (r *run) elementsOf(annotation string, t *text, namespace string) []element {
	if annotation == types.AnnotationDefaultNetwork {
		namespace = r.config.MultusNamespace
	}
	var all []element
	add := func(raw string, at int, json *value) {
		e := element{annotation: annotation, text: t, index: len(all), at: at, json: json}
		if selections, _, err := types.ParseSelections(raw, namespace); err == nil && len(selections) == 1 {
			e.Selection = selections[0]
		}
		all = append(all, e)
	}
	if !strings.ContainsAny(t.value, `[{"`) {
		at := 0
		for raw := range strings.SplitSeq(t.value, ",") {
			space := len(raw) - len(strings.TrimLeft(raw, " \t\r\n"))
			add(raw, at+space, nil)
			at += len(raw) + 1
		}
		return all
	}
	list, _, err := parseJSON(t.value)
	if err != nil {
		return nil
	}
	for _, item := range list.items {
		add("["+item.raw+"]", item.at, item)
	}
	return all
}

// podFault notes a fault at the element of the annotation that it is of, and at the key of it.
func (r *run) podFault(p *pod, elements []element, f fault) {
	id, path := rulePod, f.key
	switch {
	case f.capability != "":
		id = ruleCapability
	case f.annotation != "" && f.network == "":
		id, path = ruleAnnotation, f.field
	}
	e := chooseElement(elements, f)
	if e == nil {
		at, annotation := p.annotationOffset(f)
		r.add(id, p.object, at, p.path+"."+annotation, f.message)
		return
	}
	r.add(id, p.object, e.place(path), p.field(e, path), f.message)
}

// field is the path of a key of an element, which counts from 0.
func (p *pod) field(e *element, path string) string {
	return strings.TrimSuffix(fmt.Sprintf("%s.%s: [%d].%s", p.path, e.annotation, e.index, path), ".")
}

// chooseElement gives the element of a fault: the one that it names, else the last one of its
// network, if possible one that has the key: an earlier one has what the later one wants too.
func chooseElement(elements []element, f fault) *element {
	var best *element
	for i := range elements {
		e := &elements[i]
		if f.annotation != "" && e.annotation != f.annotation {
			continue
		}
		if f.element >= 0 && f.annotation != "" {
			if e.index == f.element {
				return e
			}
			continue
		}
		if f.network == "" || e.Ref().String() != f.network {
			continue
		}
		if best == nil || f.key == "" || e.json == nil || e.json.get(f.key) != nil {
			best = e
		}
	}
	return best
}

// annotationOffset gives the place of an annotation as a whole, or of what is wrong in its JSON.
func (p *pod) annotationOffset(f fault) (offset int, annotation string) {
	annotation = f.annotation
	if p.values[annotation] == nil {
		annotation = types.ReadAnnotations[0]
	}
	t := p.values[annotation]
	if t == nil {
		return p.doc.offset(p.node), annotation
	}
	if _, at, err := parseJSON(t.value); err != nil && strings.ContainsAny(t.value, `[{"`) {
		return t.place(at), annotation
	}
	return t.place(0), annotation
}

// checkKeys finds the keys of an element that have no effect. It asks the parser about each.
func (r *run) checkKeys(p *pod, e *element) {
	if e.json == nil {
		return
	}
	r.keysTwice(p.object, e.text, e.json, p.field(e, ""))
	for i := range e.json.members {
		m := &e.json.members[i]
		one := fmt.Sprintf(`[{"name": "any", %s: %s}]`, quote(m.key), m.value.raw)
		_, unknown, err := types.ParseSelections(one, p.ref.Namespace)
		switch {
		case err == nil && len(unknown) > 0:
			r.add(ruleUnknownKey, p.object, e.text.place(m.at), p.field(e, m.key), "key "+quote(m.key)+" is unknown, and ignored")
		case strings.EqualFold(m.key, "interfaceRequest"):
			r.add(ruleDeprecated, p.object, e.text.place(m.at), p.field(e, m.key), `key "interfaceRequest" is deprecated: use "interface"`)
		}
	}
}

// checkSelected finds what an element asks of its network in vain, and networks that are not here.
func (r *run) checkSelected(p *pod, e *element) {
	n := r.lookup(e.Ref())
	switch {
	case e.Name == "":
	case n == nil && r.options.Complete:
		r.addAs(Error, ruleNotGiven, p.object, e.place("name"), p.field(e, "name"), "network "+e.Ref().String()+" is not in the cluster")
	case n == nil && len(r.networks) > 0:
		r.add(ruleNotGiven, p.object, e.place("name"), p.field(e, "name"), "network "+e.Ref().String()+" is in none of the files")
	case n != nil && n.conf != nil:
		r.checkArgs(p, e, n.conf)
	}
}

// Plugins that read an address or a MAC from CNI_ARGS, where Plexus puts them too.
var (
	readIPArg  = []string{"host-local", "static", "whereabouts", "calico-ipam", "plexus-vhostuser"}
	readMACArg = []string{"bridge", "macvlan", "tuning", "sriov", "plexus-sriov", "plexus-vhostuser", "ovs"}
)

// checkArgs finds addresses that only a capability would hand to the plugins that do not look in CNI_ARGS.
func (r *run) checkArgs(p *pod, e *element, conf *types.NetConf) {
	for _, asked := range []struct {
		key     string
		given   bool
		readers []string
	}{
		{"ips", len(e.IPs) > 0, readIPArg},
		{"mac", e.MAC != "", readMACArg},
	} {
		if asked.given && !conf.HasCapability(asked.key) && !slices.ContainsFunc(asked.readers, func(plugin string) bool { return reaches(conf, plugin) }) {
			message := fmt.Sprintf("%s: the pod asks for it, but no plugin of network %s declares the capability %q, nor is known to read CNI_ARGS", asked.key, e.Ref(), asked.key)
			r.addAs(Warning, ruleCapability, p.object, e.place(asked.key), p.field(e, asked.key), message)
		}
	}
}

func reaches(conf *types.NetConf, plugin string) bool {
	return conf.Runs(plugin) || slices.ContainsFunc(conf.Plugins, func(p types.PluginConf) bool { return p.Type == plugin })
}

// oldAnnotations are those that nobody reads any more, each with what replaced it.
var oldAnnotations = map[string]string{
	"kubernetes.v1.cni.cncf.io/networks":        types.AnnotationNetworks,
	"k8s.v1.cni.cncf.io/networks-status":        types.AnnotationNetworkStatus + ", which Plexus writes",
	"kubernetes.v1.cni.cncf.io/networks-status": types.AnnotationNetworkStatus + ", which Plexus writes",
}

func (r *run) checkAnnotationKey(p *pod, key *yaml.Node) {
	if use, old := oldAnnotations[key.Value]; old {
		r.add(ruleDeprecated, p.object, p.doc.offset(key), p.path+"."+key.Value, fmt.Sprintf("annotation %s is not read: use %s", key.Value, use))
		return
	}
	if key.Value == types.AnnotationClaim {
		r.add(ruleUnknownKey, p.object, p.doc.offset(key), p.path+"."+key.Value,
			fmt.Sprintf("annotation %s is not read of a pod: it is one of networks, and a key of an element of %s", key.Value, types.AnnotationNetworks))
		return
	}
	if domain, _, _ := strings.Cut(key.Value, "/"); slices.Contains(annotations, key.Value) || !isOfNetworks(domain) {
		return
	}
	r.add(ruleUnknownKey, p.object, p.doc.offset(key), p.path+"."+key.Value,
		fmt.Sprintf("annotation %s is not read: those of a pod are %s", key.Value, strings.Join(types.ReadAnnotations, " and ")))
}

// annotations are those that a pod may have: Plexus reads some, and writes one.
var annotations = append([]string{types.AnnotationNetworkStatus}, types.ReadAnnotations...)

// isOfNetworks reports whether only annotations about networks of a pod are in a domain.
func isOfNetworks(domain string) bool {
	return strings.HasSuffix(domain, "cni.cncf.io") || strings.HasSuffix(domain, "multus-cni.io")
}
