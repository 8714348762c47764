package validate

import (
	"fmt"
	"slices"
	"strconv"
)

// Node is what is known of the node that the networks are for.
type Node struct {
	Name string
	MTUs map[string]int // of the node's own interfaces, by name
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
