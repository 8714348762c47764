package validate

import (
	"fmt"
	"slices"
	"strings"
)

// Rule is one kind of finding.
type Rule struct {
	ID       string
	Severity Severity
	Finds    string // what is found, in one line
	Why      string // why it is wrong
	Do       string // what mends it
}

// The rules' IDs.
const (
	ruleYAML          = "yaml"
	ruleObject        = "object"
	ruleObjectTwice   = "object-twice"
	ruleConfigJSON    = "config-json"
	ruleConfig        = "config"
	ruleVersion       = "cni-version"
	rulePluginVersion = "plugin-version"
	ruleVersionOld    = "cni-version-old"
	ruleKeyTwice      = "key-twice"
	ruleNearKey       = "plugin-key"
	ruleNameTwice     = "name-twice"
	ruleRange         = "range"
	ruleReserved      = "range-reserved"
	ruleOverlap       = "range-overlap"
	rulePerNode       = "range-per-node"
	ruleMaster        = "master-shared"
	ruleNoMaster      = "master-missing"
	rulePlugin        = "plugin-missing"
	ruleMTU           = "mtu"
	ruleDeprecated    = "deprecated"
	ruleNodeConfig    = "node-config"
	ruleAnnotation    = "annotation"
	ruleUnknownKey    = "annotation-key"
	rulePod           = "pod"
	ruleCapability    = "capability"
	ruleClaim         = "claim"
	ruleNotGiven      = "network-not-given"
	ruleConfigOnNode  = "config-on-node"
)

var rules = []Rule{
	{ruleYAML, Error, "a document that is not valid YAML or JSON, or that is too large with its aliases", "kubectl and the API server refuse it. The documents after it are examined all the same. A file of another encoding than UTF-8 is not examined, nor is a document with an anchor that contains itself.", "Mend the syntax at the place that is named; the fault may be a line above."},
	{ruleObject, Error, "an object that the API server would refuse, or a network whose name no pod can select", "Without a name, or with a value of another type, the object cannot be created. A pod selects a network by DNS-1123 labels.", "Give the field the type and form that its definition has."},
	{ruleObjectTwice, Warning, "the same network in two documents", "The one that is applied last wins, and pods get whichever that was.", "Remove one, or give it another name or namespace."},
	{ruleConfigJSON, Error, "a spec.config that is not valid JSON", "The API server takes any string, so this shows only when a pod starts. Then the pod fails.", "Mend the JSON at the place that is named."},
	{ruleConfig, Error, "a network configuration that every ADD would refuse", "The parser and the planner of Plexus give the message: an ADD gives the same.", "Change the field that is named."},
	{ruleVersion, Error, "a cniVersion that is no version of CNI", "libcni refuses the configuration.", "Use 1.0.0, or 1.1.0 where all plugins of the list speak it."},
	{ruleVersionOld, Warning, "a cniVersion of 0.1.0 or 0.2.0", "Results of these versions have one address of a family at most, and no interfaces, so the status of the pod lacks them.", "Use 1.0.0: every plugin of the last years speaks it."},
	{ruleKeyTwice, Warning, "a key twice in one object of the manifest, of the configuration or of the annotation", "Readers take the last one in silence. The first has no effect.", "Remove one of the two."},
	{ruleNearKey, Warning, "a key that a plugin does not read, and that is nearly one that it reads", "Plugins ignore keys that they do not know, so a misspelt one has no effect. The keys of the reference plugins (v1.9.1), of whereabouts and of plexus-sriov are known here; other plugins are not examined.", "Use the name in the message, or remove the key."},
	{ruleNameTwice, Warning, "one CNI name with two configurations", "Plugins keep what they know under the CNI name, such as the addresses of host-local: two networks of one name share them. A configuration without a name gets that of its object, without the namespace.", "Give each configuration a name of its own."},
	{ruleRange, Error, "a range that host-local or whereabouts refuses", "The plugin checks its ranges at each ADD, and every pod on the network fails. A range_start or range_end of whereabouts that is not in the range is ignored in silence (warning).", "Correct the subnet, the range or the gateway."},
	{ruleReserved, Warning, "a range with its gateway, network or broadcast address in it", "A pod that is given such an address breaks the network, or cannot be reached. host-local passes over the gateway of its own range (note), not over that of another network on the same wire (warning). whereabouts gives out its gateway, unless exclude has it, and never the network or broadcast address.", "Begin the range after the gateway and the network address, and end it before the broadcast address."},
	{ruleOverlap, Warning, "ranges of host-local or whereabouts of two networks on one wire that overlap", "host-local counts under the name of each network, so both give out the same addresses. whereabouts looks for overlapping ranges of one network_name, unless enable_overlapping_ranges is false; of two names each counts for itself.", "Give each network a range of its own, or both the same name and configuration."},
	{rulePerNode, Note, "host-local on a network that reaches other nodes", "host-local counts on each node for itself. Two nodes with this network give out the same addresses.", "Give each node its own range, or use an address manager for the whole cluster, such as whereabouts. If one node alone has the network, all is well."},
	{ruleMaster, Warning, "macvlan and ipvlan on one master", "The kernel lets an interface be the master of one kind. The pod of the other kind that starts second on a node fails.", "Use one kind for each master; a VLAN interface of its own is a master of its own."},
	{ruleNoMaster, Error, "a master that the node does not have", "macvlan, ipvlan and vlan need it on the node, and every pod on the network fails there. It is examined only if a node is given (--node, --from).", "Name an interface of the node, or make it there. Nodes whose interfaces have other names need a network of their own."},
	{rulePlugin, Error, "a plugin that the node does not have, or cannot run", "The ADD of every pod on the network fails there, in the same words. The plugins of ipam, and those that flannel runs, count too. It is examined only if a node is given (--node, --from).", "Correct the type if the message names a near one, or install the plugin into the folder that is named, on every node that the pods may get to."},
	{rulePluginVersion, Error, "a cniVersion that a plugin of the node does not know", "Each plugin has a CNI library built in, whose version says which versions of CNI it can know at most: before v1.0.0 of the library 0.4.0, before v1.2.0 of it 1.0.0. It refuses any newer one. It is examined only if a node is given (--node, --from), and only for plugins in which the library can be seen.", "Use an older cniVersion, or install a newer plugin."},
	{ruleMTU, Warning, "an MTU above that of the master", "macvlan and vlan refuse it, and the pod does not start. ipvlan takes it, and large packets are lost. It is examined only if a node is given (--node, --from).", "Leave mtu out, so that the interface has that of its master, or raise that of the master."},
	{ruleDeprecated, Warning, "a key or an annotation that is deprecated, or no longer read", "It was replaced. Some readers ignore it.", "Use the name in the message."},
	{ruleNodeConfig, Error, "a fault in the configuration of Plexus, or of a network that it attaches to every pod", "Every pod of the node fails.", "Correct the configuration that --config names."},
	{ruleAnnotation, Error, "an annotation of a pod that Plexus refuses", "The parser of Plexus gives the message: the ADD gives the same, and the pod does not start.", "Change the element and the key that are named."},
	{ruleUnknownKey, Warning, "an annotation of the multi-network specification or of Multus that nobody reads, or a key of the annotation that has no effect", "Unknown annotations and keys are ignored, as Multus does it. A misspelt one loses what the pod asked for, and the pod starts without it.", "Correct or remove it."},
	{rulePod, Error, "a pod that Plexus refuses together with its networks", "The planner of Plexus gives the message: the ADD gives the same. It is about isolation, interfaces, default routes and plugins that a pod may have once.", "Change the element of the annotation that is named."},
	{ruleCapability, Error, "something that a pod asks for and no plugin of the network takes", "A plugin gets it only by a capability that it declares. Port mappings, bandwidth and GUID are refused (error). Addresses and a MAC also go by CNI_ARGS, which few plugins read (warning): the ADD fails if the attachment has others.", "Add the capability to the plugin that does it, as \"capabilities\": {\"NAME\": true} with the name in the message."},
	{ruleClaim, Error, "a claim that a network or an element names (plexus-cni.io/claim) and that is not written so, that the pod does not have, or that has no such request", "The attachment gets its device from that claim alone, so the ADD fails. The pod's claims are those of its spec.resourceClaims, by the pod's name for each or by resourceClaimName. Requests are compared if the ResourceClaim or the ResourceClaimTemplate is in the files.", "Name a claim of the pod and a request of it, as CLAIM or CLAIM/REQUEST, or add the claim to spec.resourceClaims."},
	{ruleNotGiven, Note, "a network that a pod selects and that is in none of the files", "It may be in the cluster. If the name is misspelt, the pod fails. It is reported only if at least one network is in the files.", "Add its file to the command line, or correct the name."},
	{ruleConfigOnNode, Note, "a network without spec.config", "Its configuration is a file in confDir on each node, which is not examined here.", "Put the configuration into spec.config if it is the same on all nodes."},
}

// Rules gives every rule, in the order of the documentation.
func Rules() []Rule { return slices.Clone(rules) }

// RuleOf gives the rule of an ID.
func RuleOf(id string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// Explain gives the text on a rule.
func (r Rule) Explain() string {
	return r.ID + " (" + string(r.Severity) + ")\n\nFinds " + r.Finds + ".\n\nWhy: " + r.Why + "\n\nWhat to do: " + r.Do + "\n"
}

// Document gives docs/validate-rules.md.
func Document() string {
	var b strings.Builder
	b.WriteString(`# The rules of validate

Generated of the rules in internal/validate: to write it anew, run ` + "`go test ./internal/window -run ValidateRules -update`" + `.
[validate.md](validate.md) explains the command. An *error* fails when the pod starts, or is refused by a plugin. A *warning* may work, and
then not as it was meant. A *note* is what is not known here. ` + "`kubectl plexus validate --explain RULE`" + ` prints the same.

| rule | severity |
|---|---|
`)
	for _, rule := range rules {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", rule.ID, rule.ID, rule.Severity)
	}
	for _, rule := range rules {
		fmt.Fprintf(&b, "\n## %s\n\nFinds %s.\n\n%s\n\nWhat to do: %s\n", rule.ID, rule.Finds, rule.Why, rule.Do)
	}
	return b.String()
}
