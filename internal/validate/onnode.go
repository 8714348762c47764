package validate

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/types"
)

// Node is what is known of the node that the networks are for.
type Node struct {
	Name string
	MTUs map[string]int // of the node's own interfaces, by name
	// Files are its files and plugins; nil if they are not known.
	Files   plan.Node
	Plugins []string // the names of all that it has
	// Newest are the newest versions of CNI of plugins that do not know them all, by name.
	Newest map[string]string
}

// files gives the node that the configuration of Plexus is planned for.
func (o *Options) files() plan.Node {
	if o.Node != nil && o.Node.Files != nil {
		return o.Node.Files
	}
	return assumedNode{}
}

// checkPlugins finds plugins that the node does not have or cannot run, and those that do not know the
// version of CNI that the network is run in.
func (r *run) checkPlugins(n *network) {
	node := r.options.Node
	if node == nil || node.Files == nil {
		return
	}
	asked := n.conf.Version()
	for i := range n.conf.Plugins {
		plugin := &n.conf.Plugins[i]
		for _, used := range append([]types.Executable{{Key: "type", Type: plugin.Type}}, plugin.Executables...) {
			path := fmt.Sprintf("plugins[%d].%s", i, used.Key)
			newest, isOld := node.Newest[used.Type]
			if err := node.Files.CheckPlugin(used.Type); err != nil {
				r.addConfig(rulePlugin, n, path, fmt.Sprintf("node %s: %v%s", node.Name, err, node.near(used.Type)))
			} else if isOld && n.conf.Versions() == nil && isNewer(asked, newest) {
				r.addConfig(rulePluginVersion, n, path, fmt.Sprintf("cniVersion is %s, and plugin %q of node %s knows %s at most", asked, used.Type, node.Name, newest))
			}
		}
	}
}

// near names the plugin of the node that was meant, perhaps.
func (n *Node) near(plugin string) string {
	others := slices.DeleteFunc(slices.Clone(n.Plugins), func(name string) bool { return name == plugin })
	if near := types.NearestKey(plugin, others); near != "" {
		return fmt.Sprintf(" (it has %q)", near)
	}
	return ""
}

// isNewer reports whether a version of CNI is newer than another; one that cannot be read is not.
func isNewer(one, other string) bool {
	newer, err := version.GreaterThan(one, other)
	return one != "" && err == nil && newer
}

// checkOnNode finds masters that the node does not have, and interfaces that would have a larger MTU than
// theirs. Without a master, the plugin takes the interface of the node's default route.
func (r *run) checkOnNode(n *network) {
	if r.options.Node == nil {
		return
	}
	for _, plugin := range n.plugins() {
		kind, master := plugin.get("type").str(), plugin.get("master").str()
		inPod := plugin.get("linkInContainer") // then the master is not the node's
		if !slices.Contains([]string{"macvlan", "ipvlan", "vlan"}, kind) || master == "" || inPod != nil && inPod.raw == "true" {
			continue
		}
		most, there := r.options.Node.MTUs[master]
		if !there {
			r.addConfig(ruleNoMaster, n, plugin.prefix+"master", fmt.Sprintf("node %s has no interface %s", r.options.Node.Name, master))
			continue
		}
		if mtu, err := strconv.Atoi(rawOf(plugin.get("mtu"))); err == nil && mtu > most {
			r.addConfig(ruleMTU, n, plugin.prefix+"mtu", fmt.Sprintf("MTU %d is above that of %s on node %s, which is %d", mtu, master, r.options.Node.Name, most))
		}
	}
}
