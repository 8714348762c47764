package validate

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/plexus-cni/plexus/types"
)

// object is an object of Kubernetes in a file.
type object struct {
	doc      *document
	node     *yaml.Node
	kind     string
	ref      types.Ref
	template string // of Helm
}

func (o *object) String() string { return o.kind + " " + o.ref.String() }

// document is one document of a file.
type document struct {
	src   *source
	line  int     // lines of YAML's before it
	texts []*text // fields that have a text of their own
}

func (d *document) offset(n *yaml.Node) int { return d.src.offset(d.line+n.Line, n.Column) }

// text gives a scalar with the places of its bytes, nil if it is none.
func (d *document) text(n *yaml.Node, path string) *text {
	if n == nil || n.Kind != yaml.ScalarNode {
		return nil
	}
	t := newText(d.src, n, d.offset(n))
	t.path = path
	d.texts = append(d.texts, t)
	return t
}

// read finds the networks and the pods of a file.
func (r *run) read(f File) {
	src := newSource(f)
	if refused := refusedEncoding(f.Data); refused != "" {
		r.add(ruleYAML, &object{doc: &document{src: src}}, 0, "", refused)
		return
	}
	for i, part := range src.parts() {
		doc := &document{src: src, line: part.line}
		if i == maxDocuments {
			r.add(ruleYAML, &object{doc: doc}, part.at, "", fmt.Sprintf("the file has more than %d documents: those from here on are not examined", maxDocuments))
			return
		}
		r.readPart(doc, part)
	}
}

func (r *run) readPart(doc *document, part part) {
	root, err := part.parse(doc.src)
	if err != nil {
		r.syntaxFault(doc, part, err)
		return
	}
	o := &object{doc: doc, node: deref(root), template: helmTemplate(part.data)}
	if at, refused := checkAliases(root); refused != "" {
		r.add(ruleYAML, o, doc.offset(at), "", refused)
		return
	}
	switch {
	case o.node.Kind == 0 || o.node.Tag == "!!null":
	case o.node.Kind != yaml.MappingNode:
		r.add(ruleObject, o, doc.offset(o.node), "", "the document is no object of Kubernetes")
	default:
		r.readObject(o)
	}
	r.yamlKeysTwice(o, root)
}

// yamlLine is all that YAML's parser says about the place of an error.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (r *run) syntaxFault(doc *document, part part, err error) {
	message := err.Error()
	found := yamlLine.FindStringSubmatch(message)
	if found != nil {
		message = message[len(found[0]):]
	}
	at := part.faultOffset(message)
	if line, err := strconv.Atoi(strings.Join(found[min(1, len(found)):], "")); err == nil {
		at = doc.src.offset(doc.line+line, 1)
	}
	r.add(ruleYAML, &object{doc: doc, template: helmTemplate(part.data)}, at, "", "the document is not valid YAML: "+message)
}

// helmTemplate gives the file of the chart, of a document that Helm has made.
func helmTemplate(data []byte) string {
	for line := range bytes.Lines(data[:min(len(data), 1000)]) {
		if template, found := bytes.CutPrefix(line, []byte("# Source: ")); found {
			return string(bytes.TrimSpace(template))
		}
	}
	return ""
}

// readObject reads an object, or those of a list. A list may have lists in it: kubectl applies what they have.
func (r *run) readObject(o *object) {
	o.kind = scalar(get(o.node, "kind"))
	items := get(o.node, "items")
	if strings.HasSuffix(o.kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		for _, item := range items.Content {
			if item = deref(item); item.Kind == yaml.MappingNode {
				r.readItem(o, item)
			}
		}
		return
	}
	group, _, _ := strings.Cut(scalar(get(o.node, "apiVersion")), "/")
	switch {
	case o.kind == "NetworkAttachmentDefinition" && group == "k8s.cni.cncf.io":
		r.readNetwork(o)
	case (o.kind == kindClaim || o.kind == kindClaimTemplate) && group == "resource.k8s.io":
		r.readClaim(o)
	case podPaths[o.kind] != nil:
		r.readPod(o)
	}
}

// readItem reads an item of a list, which may leave out the kind that the list's kind says.
func (r *run) readItem(list *object, item *yaml.Node) {
	o := &object{doc: list.doc, node: item, template: list.template}
	if get(item, "kind") == nil && list.kind != "List" {
		kind := yaml.Node{Kind: yaml.ScalarNode, Value: strings.TrimSuffix(list.kind, "List")}
		version := yaml.Node{Kind: yaml.ScalarNode, Value: scalar(get(list.node, "apiVersion"))}
		filled := *item
		filled.Content = append([]*yaml.Node{key("kind"), &kind, key("apiVersion"), &version}, item.Content...)
		o.node = &filled
	}
	r.readObject(o)
}

func key(name string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: name} }

// name reads the name and the namespace of an object, and reports whether it has a name.
func (r *run) name(o *object) bool {
	r.checkMapping(o, "metadata")
	r.checkString(o, "metadata", "name")
	r.checkString(o, "metadata", "namespace")
	metadata := get(o.node, "metadata")
	namespace := cmp.Or(scalar(get(metadata, "namespace")), r.options.Namespace, "default")
	o.ref = types.Ref{Namespace: namespace, Name: scalar(get(metadata, "name"))}
	if o.ref.Name == "" && scalar(get(metadata, "generateName")) != "" {
		o.ref.Name = scalar(get(metadata, "generateName")) + "*"
	}
	if o.ref.Name == "" {
		r.add(ruleObject, o, o.doc.offset(o.node), "metadata.name", "is missing")
	}
	return o.ref.Name != ""
}

func (r *run) readNetwork(o *object) {
	n := &network{object: o}
	n.judged, n.badName = r.judgedName(o)
	r.readNetworkClaim(n)
	r.checkMapping(o, "spec")
	spec := get(o.node, "spec", "config")
	switch {
	case spec == nil || spec.Kind == yaml.ScalarNode && spec.Tag == "!!null":
	case spec.Kind != yaml.ScalarNode || spec.Tag != "!!str":
		n.broken = true
		hint := ""
		if spec.Kind == yaml.MappingNode {
			hint = ": write it as a block, `config: |-`"
		}
		r.add(ruleObject, o, o.doc.offset(spec), "spec.config", "must be a string with JSON in it, got "+describe(spec)+hint)
	default:
		n.config = o.doc.text(spec, ".spec.config")
	}
	r.networks, r.byRef[n.judged] = append(r.networks, n), n
}

// judgedName gives the name under which a network is examined: its own, or one that stands for it if
// no pod can select its own. Its other faults are found all the same.
func (r *run) judgedName(o *object) (ref types.Ref, bad bool) {
	stand := types.Ref{Namespace: "default", Name: fmt.Sprintf("unnamed-%d", len(r.networks))}
	if !r.name(o) {
		return stand, true
	}
	if _, err := types.ParseRef(o.ref.String(), ""); err != nil {
		at := o.node
		if name := get(o.node, "metadata", "name"); name != nil {
			at = name
		}
		r.add(ruleObject, o, o.doc.offset(at), "metadata.name", err.Error())
		return stand, true
	}
	return o.ref, false
}

// checkMapping reports a field that the API server refuses, as it is no object.
func (r *run) checkMapping(o *object, path ...string) {
	r.checkShape(o, path, "an object", func(n *yaml.Node) bool { return n.Kind == yaml.MappingNode })
}

// checkString reports a field that the API server refuses, as it is no string.
func (r *run) checkString(o *object, path ...string) {
	r.checkShape(o, path, "a string", func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!str" })
}

func (r *run) checkShape(o *object, path []string, want string, is func(*yaml.Node) bool) {
	n := get(o.node, path...)
	if n == nil || n.Tag == "!!null" || is(n) {
		return
	}
	r.add(ruleObject, o, o.doc.offset(n), strings.Join(path, "."), "must be "+want+", got "+describe(n))
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("a value of the type %s", strings.TrimPrefix(n.Tag, "!!"))
}

// podPaths are the kinds that have pods, each with the path of what becomes one.
var podPaths = map[string][]string{
	"Pod": {}, "PodTemplate": {"template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"},
	"Deployment": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
	"ReplicaSet": {"spec", "template"}, "Job": {"spec", "template"}, "ReplicationController": {"spec", "template"},
}

func (r *run) readPod(o *object) {
	path := podPaths[o.kind]
	if !r.name(o) {
		return
	}
	p := &pod{object: o, path: strings.Join(append(path, "metadata", "annotations"), "."), values: map[string]*text{}}
	p.claims = claimsOf(get(get(o.node, path...), "spec"), get(o.node, "status"))
	r.checkMapping(o, slices.Concat(path, []string{"metadata", "annotations"})...)
	annotations := get(get(o.node, path...), "metadata", "annotations")
	for i := 0; annotations != nil && annotations.Kind == yaml.MappingNode && i+1 < len(annotations.Content); i += 2 {
		r.checkAnnotationKey(p, deref(annotations.Content[i]))
	}
	for _, name := range types.ReadAnnotations {
		switch value := get(annotations, name); {
		case value == nil:
		case value.Kind != yaml.ScalarNode || value.Tag != "!!str":
			r.add(ruleObject, o, o.doc.offset(value), p.path+"."+name, "must be a string, got "+describe(value))
		default:
			p.values[name] = o.doc.text(value, "."+p.path+"["+quote(name)+"]")
		}
	}
	r.pods = append(r.pods, p)
}

// deref follows an alias.
func deref(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode && i < 10; i++ {
		n = n.Alias
	}
	return n
}

// get follows keys into mappings, nil if one is not there.
func get(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if n = entry(n, key, 0); n == nil {
			return nil
		}
	}
	return n
}

// maxMerges bounds how deep mappings may be merged into one another.
const maxMerges = 4

func entry(n *yaml.Node, key string, depth int) *yaml.Node {
	if n = deref(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var merged *yaml.Node
	for i := len(n.Content) - 2; i >= 0; i -= 2 { // of a key that is there twice, the last counts
		switch name := deref(n.Content[i]); {
		case name.Value == key:
			return deref(n.Content[i+1])
		case name.Tag == "!!merge" && merged == nil && depth < maxMerges:
			merged = mergedEntry(n.Content[i+1], key, depth+1)
		}
	}
	return merged
}

// mergedEntry finds a key in what is merged: a mapping, or a list of them, of which the first counts.
func mergedEntry(from *yaml.Node, key string, depth int) *yaml.Node {
	if from = deref(from); from == nil || from.Kind != yaml.SequenceNode {
		return entry(from, key, depth)
	}
	for _, one := range from.Content {
		if found := entry(one, key, depth); found != nil {
			return found
		}
	}
	return nil
}

func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}
