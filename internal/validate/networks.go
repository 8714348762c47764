package validate

import (
	"context"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// field is the path of a field in spec.config, in a finding.
func field(path string) string {
	if path == "" {
		return "spec.config"
	}
	return "spec.config: " + path
}

// addConfig notes a finding at a field of spec.config, or as near as the field is there.
func (r *run) addConfig(id string, n *network, path, message string) {
	r.add(id, n.object, n.place(path), field(path), message)
}

// place gives the offset in the file of a field of spec.config. The planner counts the plugins of
// a configuration that is no list too, as of a list of one.
func (n *network) place(path string) int {
	if n.json == nil {
		return n.config.start
	}
	if _, isList := n.json.find("plugins"); !isList {
		path = strings.TrimPrefix(strings.TrimPrefix(path, "plugins[0]"), ".")
	}
	last, _ := n.json.find(path)
	return n.config.place(last.at)
}

// checkNetwork examines a network by itself.
func (r *run) checkNetwork(ctx context.Context, n *network) {
	if n.config == nil || strings.TrimSpace(n.config.value) == "" {
		if n.config = nil; !n.broken {
			r.add(ruleConfigOnNode, n.object, n.doc.offset(n.node), "spec.config", "is empty: the configuration is a file of the node")
		}
		return
	}
	n.parse(r)
	if n.broken {
		return
	}
	n.faults = map[string]bool{}
	for _, f := range r.plan(ctx, alone(n.judged), assumedNode{}) {
		if f.network == n.judged.String() && !r.everyPod[f.message] {
			n.faults[f.message] = true
			r.networkFault(n, f)
		}
	}
	r.checkConf(n)
}

// alone is a pod of the network's own namespace that selects nothing else.
func alone(ref types.Ref) types.Pod {
	return types.Pod{Namespace: ref.Namespace, Name: "any", Annotations: map[string]string{types.AnnotationNetworks: ref.Name}}
}

func (n *network) nameOffset() int {
	if name := get(n.node, "metadata", "name"); name != nil {
		return n.doc.offset(name)
	}
	return n.doc.offset(n.node)
}

// parse reads the configuration, and notes what is wrong with it.
func (n *network) parse(r *run) {
	var at int
	var syntax error
	n.json, at, syntax = parseJSON(n.config.value)
	conf, err := types.ParseNetConf([]byte(n.config.value), n.judged.Name)
	switch {
	case syntax != nil:
		n.broken = true
		r.add(ruleConfigJSON, n.object, n.config.place(at), field(""), err.Error())
	case err != nil:
		n.broken = true
		for _, f := range faultsOf(err) {
			r.networkFault(n, f)
		}
	default:
		n.conf = conf
	}
}

func (r *run) networkFault(n *network, f fault) {
	id := ruleConfig
	if f.field == "cniVersion" {
		id = ruleVersion
	}
	r.addConfig(id, n, f.field, f.message)
}

// checkConf applies the rules on a configuration that the planner takes.
func (r *run) checkConf(n *network) {
	if types.IsOldVersion(n.conf.Version()) {
		r.addConfig(ruleVersionOld, n, "cniVersion", "version "+n.conf.Version()+" has results without interfaces")
	}
	r.keysTwice(n.object, n.config, n.json, field(""))
	r.checkKeyNames(n)
	r.checkRanges(n)
	r.checkWhereabouts(n)
	r.checkOnNode(n)
	r.checkPlugins(n)
}

// keysTwice finds keys that an object of JSON has twice.
func (r *run) keysTwice(o *object, t *text, v *value, field string) {
	seen := map[string]bool{}
	for i := range v.members {
		m := &v.members[i]
		if seen[m.key] {
			r.add(ruleKeyTwice, o, t.place(m.at), field, "key "+quote(m.key)+" is there twice: only this one counts")
		}
		seen[m.key] = true
		r.keysTwice(o, t, m.value, field)
	}
	for _, item := range v.items {
		r.keysTwice(o, t, item, field)
	}
}
